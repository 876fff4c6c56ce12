//! The one table from refusal to status: what each [`Reason`] is in gRPC and in HTTP.

use std::collections::HashMap;
use std::time::Duration;

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
        Reason::IdempotencyKeyReused => (Code::InvalidArgument, StatusCode::UNPROCESSABLE_ENTITY),
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
        details: std::iter::once(any(ERROR_INFO, &info)).chain(retry(refusal.reason)).collect(),
    };
    Status::with_details(code, refusal.detail.clone(), detail.encode_to_vec().into())
}

/// When to come back: of an overload only, since the rest is better asked of another node at once.
fn retry(reason: Reason) -> Option<prost_types::Any> {
    let pause = prost_types::Duration { seconds: RETRY_AFTER_SECS, nanos: 0 };
    (reason == Reason::ResourceExhausted).then(|| any(RETRY_INFO, &RetryInfo { retry_delay: Some(pause) }))
}

fn any(type_url: &str, message: &impl prost::Message) -> prost_types::Any {
    prost_types::Any { type_url: type_url.to_owned(), value: message.encode_to_vec() }
}

/// How long to wait before the next attempt, if the server said so.
#[must_use]
pub fn retry_delay(status: &Status) -> Option<Duration> {
    let detail = RpcStatus::decode(status.details()).ok()?;
    let info = detail.details.iter().find(|any| any.type_url == RETRY_INFO)?;
    RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay?.try_into().ok()
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
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
/// The same as `Retry-After` of the HTTPS door.
const RETRY_AFTER_SECS: i64 = 1;

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

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}
