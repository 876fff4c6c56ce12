//! Authorities, as operators see and change them.

use signet_model::authority::{AuthorityKind, KeyId};
use signet_model::command::AuthorityRef;
use signet_model::recipient::RecipientId;
use signet_model::rotation::{Bound, Hierarchy, Step};
use signet_model::time::UnixTime;

/// A change that an operator makes to the authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorityChange {
    /// Make one and publish it.
    Prepare {
        /// Of which kind.
        kind: AuthorityKind,
    },
    /// Let a prepared one sign in the place of the active one.
    Activate {
        /// Which.
        authority: AuthorityRef,
        /// Wait neither for verifiers' caches nor for nodes that have not unwrapped it.
        force: bool,
    },
    /// Mark one that has stopped signing, so that agents ask anew for what it signed.
    Taint {
        /// Which.
        authority: AuthorityRef,
    },
    /// Remove one that does not sign from bundle and JWKS.
    Revoke {
        /// Which.
        authority: AuthorityRef,
        /// Do not wait until no node can still be signing with it.
        force: bool,
    },
    /// Have the leader replace the active ones as soon as it is safe.
    Rotate {
        /// Of which kinds.
        kinds: Vec<AuthorityKind>,
        /// For people: why.
        reason: String,
        /// Use no key that was prepared before.
        emergency: bool,
        /// Revoke the replaced ones this long after they stopped signing.
        revoke_after_secs: Option<u32>,
    },
    /// Make a root's key and the request for its certificate, unless one waits.
    RequestCertificate {
        /// The name to ask for, as RFC 4514 has it; empty for a name of ours.
        subject: String,
        /// Make one though another waits.
        another: bool,
    },
    /// Forget such a key.
    DropCertificateRequest {
        /// Which.
        id: KeyId,
    },
    /// Publish a root whose certificate was made elsewhere.
    Import {
        /// PEM: the certificate and all above it.
        chain: Vec<u8>,
        /// The key, if it is not that of a certificate request.
        key: Option<ForeignKey>,
    },
}

/// A key in a key backend that was not made by Signet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// The recipient whose backend has it.
    pub recipient: RecipientId,
    /// What the backend needs to find it: no secret.
    pub reference: Vec<u8>,
}

/// The authorities with what is planned for them.
#[derive(Debug, Clone)]
pub struct Authorities {
    /// Cluster time.
    pub now: UnixTime,
    /// All there is. The wrapped keys in it do not leave the doors.
    pub hierarchy: Hierarchy,
    /// What happens next, in order.
    pub plan: Vec<Step>,
    /// By when those that are being replaced count for nothing.
    pub bounds: Vec<Bound>,
    /// The authority that was changed, or would be.
    pub changed: Option<AuthorityRef>,
    /// Calls of key backends by the answering node in the last hour.
    pub kms_calls: u64,
    /// What operators should know, each a sentence.
    pub notes: Vec<String>,
}
