//! Why a call failed, as the caller's program sees it.

use signet_model::refusal::Reason;

/// A call that failed: a stable code for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// A code of [`Reason`], or one of the client's own: `unreachable` (no connection), `protocol` (an answer that makes
    /// no sense), `unknown`.
    pub code: String,
    /// What went wrong.
    pub message: String,
}

impl ClientError {
    /// The reason behind the code, if the server gave one.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        crate::status::reason_of(&self.code)
    }
}
