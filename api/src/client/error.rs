//! Why a call failed, as the caller's program sees it.

use std::error::Error;

use signet_model::refusal::{Reason, Refusal};
use tonic::{Code, Status};

use crate::proto::types;
use crate::{status, tls};

/// A call that failed: a stable code for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// A code of [`Reason`], or one of the client's own: `unreachable` (no connection, or it broke), `protocol` (an answer
    /// that makes no sense), `unknown`.
    pub code: String,
    /// What went wrong.
    pub message: String,
}

impl ClientError {
    /// The reason behind the code, if the server gave one.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        status::reason_of(&self.code)
    }

    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }

    /// No connection, or it broke before there was an answer.
    pub(super) fn unreachable(what: &str, cause: &(dyn Error + 'static)) -> Self {
        Self::new("unreachable", format!("{what}: {}", chain(cause)))
    }

    /// The server answered something that makes no sense.
    pub(super) fn protocol(what: impl std::fmt::Display) -> Self {
        Self::new("protocol", format!("the server's answer makes no sense: {what}"))
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Reason::InvalidArgument.code(), message)
    }

    /// The refusal of one item of a batch; none when it went well.
    pub(super) fn of_item(item: Option<types::Status>) -> Option<Self> {
        let item = item.unwrap_or_default();
        if item.code == 0 {
            return None;
        }
        let code = if item.signet_reason.is_empty() { of_grpc(Code::from_i32(item.code)) } else { &item.signet_reason };
        Some(Self::new(code, item.message))
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        if let Some(code) = status::code_of(&status) {
            return Self::new(&code, status.message());
        }
        match status.source() {
            Some(cause) => Self::unreachable("the connection failed", cause),
            None => Self::new(of_grpc(status.code()), status.message()),
        }
    }
}

impl From<Refusal> for ClientError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.reason.code(), refusal.detail)
    }
}

/// The code for a status of a server that gives none of ours.
fn of_grpc(code: Code) -> &'static str {
    match code {
        Code::InvalidArgument | Code::OutOfRange => Reason::InvalidArgument.code(),
        Code::NotFound => Reason::NotFound.code(),
        Code::AlreadyExists => Reason::AlreadyExists.code(),
        Code::PermissionDenied => Reason::PermissionDenied.code(),
        Code::Unauthenticated => Reason::Unauthenticated.code(),
        Code::FailedPrecondition => Reason::FailedPrecondition.code(),
        Code::Aborted => Reason::Conflict.code(),
        Code::ResourceExhausted => Reason::ResourceExhausted.code(),
        Code::DeadlineExceeded => Reason::DeadlineExceeded.code(),
        Code::Unimplemented => Reason::Unimplemented.code(),
        Code::Internal | Code::DataLoss => Reason::Internal.code(),
        Code::Unavailable => "unreachable",
        Code::Ok | Code::Cancelled | Code::Unknown => "unknown",
    }
}

/// The error with its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let words = tls::explain(cause).unwrap_or_else(|| cause.to_string());
        if !text.ends_with(&words) {
            let separator = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{separator}{words}");
        }
        next = cause.source();
    }
    text
}
