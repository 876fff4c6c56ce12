//! Why something was not done: a stable code for programs, a sentence for people.

use std::fmt;

use minicbor::{Decode, Encode};

/// A request that was not carried out. Nothing was changed.
///
/// `detail` names the field and the fix; it never holds a secret or the body of a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Encode, Decode)]
#[error("{detail}")]
pub struct Refusal {
    /// What kind of refusal: programs match on this.
    #[n(0)]
    pub reason: Reason,
    /// What was wrong and what to do about it.
    #[n(1)]
    pub detail: String,
}

impl Refusal {
    /// A refusal for `reason`, explained by `detail`.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    /// A field of the request is not as it must be.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Reason::InvalidArgument, detail)
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])+ $number:literal $name:ident = $code:literal,)+) => {
        /// The kinds of refusal. Each has a stable code, also printed by the command line and counted in metrics.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
        #[cbor(index_only)]
        pub enum Reason {
            $($(#[$doc])+ #[n($number)] $name,)+
        }

        impl Reason {
            /// Every reason there is, for tables and documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }
        }
    };
}

reasons! {
    /// A field of the request is malformed or missing. Permanent: the caller corrects it.
    0 InvalidArgument = "invalid_argument",
    /// No such entry, bundle or key.
    1 NotFound = "not_found",
    /// It exists already, or a similar one does.
    2 AlreadyExists = "already_exists",
    /// The caller is known and may not do this.
    3 PermissionDenied = "permission_denied",
    /// The caller did not prove who it is.
    4 Unauthenticated = "unauthenticated",
    /// The system is not in a state for this, and the caller must change that first.
    5 FailedPrecondition = "failed_precondition",
    /// Another change came first; the caller reads again and retries.
    6 Conflict = "conflict",
    /// A limit was reached. Retry after a pause.
    7 ResourceExhausted = "resource_exhausted",
    /// No leader could be reached in time. Retry, here or at another node.
    8 NoQuorum = "no_quorum",
    /// This node's issuance lease has ended, because it lost touch with the leader. Retry at another node.
    9 LeaseExpired = "lease_expired",
    /// This node could not yet unwrap the key that is needed. Retry at another node.
    10 Sealed = "sealed",
    /// This node belongs to no cluster yet.
    11 NotInitialized = "not_initialized",
    /// The caller's deadline passed before the answer was known; a change may still take effect.
    12 DeadlineExceeded = "deadline_exceeded",
    /// Known to the protocol, not offered by this server.
    13 Unimplemented = "unimplemented",
    /// A fault of ours; the log has the cause.
    14 Internal = "internal",
    /// A join token that is unknown, used, or expired.
    15 JoinTokenRefused = "join_token_refused",
    /// The node is stopping. Retry at another node.
    16 ShuttingDown = "shutting_down",
    /// The idempotency key was used for another request. Permanent: the caller makes a new key.
    17 IdempotencyKeyReused = "idempotency_key_reused",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
