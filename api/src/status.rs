//! The one table from refusal to status: what each [`Reason`] is in gRPC and in HTTP.

use std::collections::HashMap;

use http::StatusCode;
use prost::Message as _;
use signet_model::refusal::{Reason, Refusal};
use tonic::{Code, Status};

use crate::proto::types;

/// How a reason travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// In gRPC.
    pub grpc: Code,
    /// In HTTP.
    pub http: StatusCode,
}

/// What `reason` is on the wire.
///
/// What passes by itself is `Unavailable`, never a denial: SPIRE agents back off and keep their caches on the one, and
/// throw their identity away on the other.
#[must_use]
pub const fn mapping(reason: Reason) -> Mapping {
    let (grpc, http) = match reason {
        Reason::InvalidArgument => (Code::InvalidArgument, StatusCode::BAD_REQUEST),
        Reason::NotFound => (Code::NotFound, StatusCode::NOT_FOUND),
        Reason::AlreadyExists => (Code::AlreadyExists, StatusCode::CONFLICT),
        Reason::PermissionDenied | Reason::JoinTokenRefused => (Code::PermissionDenied, StatusCode::FORBIDDEN),
        Reason::Unauthenticated => (Code::Unauthenticated, StatusCode::UNAUTHORIZED),
        Reason::FailedPrecondition => (Code::FailedPrecondition, StatusCode::CONFLICT),
        Reason::Conflict => (Code::Aborted, StatusCode::CONFLICT),
        Reason::ResourceExhausted => (Code::ResourceExhausted, StatusCode::TOO_MANY_REQUESTS),
        Reason::NoQuorum | Reason::LeaseExpired | Reason::Sealed | Reason::NotInitialized | Reason::ShuttingDown => {
            (Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE)
        }
        Reason::DeadlineExceeded => (Code::DeadlineExceeded, StatusCode::GATEWAY_TIMEOUT),
        Reason::Unimplemented => (Code::Unimplemented, StatusCode::NOT_IMPLEMENTED),
        Reason::Internal => (Code::Internal, StatusCode::INTERNAL_SERVER_ERROR),
    };
    Mapping { grpc, http }
}

/// The refusal as a gRPC status, with its stable code in a `google.rpc.ErrorInfo` of domain `signet`.
#[must_use]
pub fn to_grpc(refusal: &Refusal) -> Status {
    let code = mapping(refusal.reason).grpc;
    let info =
        ErrorInfo { reason: refusal.reason.code().to_owned(), domain: DOMAIN.to_owned(), metadata: HashMap::new() };
    let detail = RpcStatus {
        code: code as i32,
        message: refusal.detail.clone(),
        details: vec![prost_types::Any { type_url: ERROR_INFO.to_owned(), value: info.encode_to_vec() }],
    };
    Status::with_details(code, refusal.detail.clone(), detail.encode_to_vec().into())
}

/// The stable code in the details of a gRPC status, if a Signet server put one there.
#[must_use]
pub fn code_of(status: &Status) -> Option<String> {
    let detail = RpcStatus::decode(status.details()).ok()?;
    let infos = detail.details.iter().filter(|any| any.type_url == ERROR_INFO);
    let mut infos = infos.filter_map(|any| ErrorInfo::decode(any.value.as_slice()).ok());
    infos.find(|info| info.domain == DOMAIN).map(|info| info.reason)
}

/// The reason with this stable code.
#[must_use]
pub fn reason_of(code: &str) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|reason| reason.code() == code)
}

/// The refusal of one item of a batch.
#[must_use]
pub(crate) fn to_item(refusal: Refusal) -> types::Status {
    types::Status {
        code: mapping(refusal.reason).grpc as i32,
        message: refusal.detail,
        signet_reason: refusal.reason.code().to_owned(),
    }
}

/// The status of an item that went well. Always sent: SPIRE's agents do not look whether it is there.
#[must_use]
pub(crate) fn item_ok() -> types::Status {
    types::Status { code: 0, message: "OK".to_owned(), signet_reason: String::new() }
}

const DOMAIN: &str = "signet";
const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";

/// `google.rpc.Status`
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// `google.rpc.ErrorInfo`
#[derive(Clone, PartialEq, prost::Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(map = "string, string", tag = "3")]
    metadata: HashMap<String, String>,
}
