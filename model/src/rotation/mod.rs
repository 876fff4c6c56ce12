//! When an authority is made, when it signs, when it goes: one plan, computed from the replicated state and the time.
//!
//! The leader carries out what is due, and people are shown the same plan beforehand, so that nothing happens that the
//! plan did not say. What must hold whoever asks is checked once more where a command is applied, by the same rules.

mod bounds;
mod outside;
mod plan;
#[cfg(test)]
mod tests;
mod timing;

use minicbor::{Decode, Encode};

pub use bounds::Bound;
pub use plan::{Action, Step, Window};
pub use timing::CLOCK_TOLERANCE;

use crate::authority::{Authority, AuthorityKind, CertificateRequest, KeyId, Slot};
use crate::caller::Caller;
use crate::command::{AuthorityRef, Epochs, Settings};
use crate::recipient::Recipients;
use crate::time::UnixTime;

/// Somebody asked that the active authority of a kind be replaced. Gone once it is. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RotationRequest {
    /// Of which kind.
    #[n(0)]
    pub kind: AuthorityKind,
    /// The log index of the request.
    #[n(1)]
    pub index: u64,
    /// Cluster time of the request.
    #[n(2)]
    pub at: UnixTime,
    /// Who asked.
    #[n(3)]
    pub by: Caller,
    /// Why, for people.
    #[n(4)]
    pub reason: String,
    /// Keys prepared before the request are not to be used.
    #[n(5)]
    pub emergency: bool,
    /// Revoke the replaced authority this many seconds after it stopped signing.
    #[n(6)]
    pub revoke_after_secs: Option<u32>,
}

/// An authority that is no more. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PastAuthority {
    /// Its name.
    #[n(0)]
    pub authority: AuthorityRef,
    /// The log index at which it went.
    #[n(1)]
    pub index: u64,
    /// Cluster time at which it went.
    #[n(2)]
    pub at: UnixTime,
    /// Taken away while what it signed could still be in use.
    #[n(3)]
    pub revoked: bool,
    /// Who took it away.
    #[n(4)]
    pub by: Caller,
    /// When it would have ended.
    #[n(5)]
    pub not_after: UnixTime,
}

/// All authorities of the trust domain, with what their plan depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// What holds for the whole cluster.
    pub settings: Settings,
    /// Every authority, by kind and then by id.
    pub authorities: Vec<Authority>,
    /// Rotations that were asked for and are not done.
    pub requests: Vec<RotationRequest>,
    /// How often each kind has changed.
    pub epochs: Epochs,
    /// The latest of those that are no more, the oldest first.
    pub past: Vec<PastAuthority>,
    /// For whom keys are wrapped, and where roots are made.
    pub recipients: Recipients,
    /// Keys that wait for a certificate of an outside CA, the oldest first.
    pub certificate_requests: Vec<CertificateRequest>,
}

impl Hierarchy {
    /// The authorities of a kind.
    pub fn of(&self, kind: AuthorityKind) -> impl Iterator<Item = &Authority> {
        self.authorities.iter().filter(move |authority| authority.kind == kind)
    }

    /// The authority that signs.
    #[must_use]
    pub fn active(&self, kind: AuthorityKind) -> Option<&Authority> {
        self.of(kind).find(|authority| authority.slot == Slot::Active)
    }

    /// One authority.
    #[must_use]
    pub fn find(&self, authority: &AuthorityRef) -> Option<&Authority> {
        self.of(authority.kind).find(|one| one.id == authority.id)
    }

    /// The rotation asked for, if there is one.
    #[must_use]
    pub fn request(&self, kind: AuthorityKind) -> Option<&RotationRequest> {
        self.requests.iter().find(|request| request.kind == kind)
    }

    /// How often the authorities of a kind have changed.
    #[must_use]
    pub fn epoch(&self, kind: AuthorityKind) -> u64 {
        self.epochs.get(&kind).copied().unwrap_or(0)
    }

    /// The issuing CAs whose certificates `root` signed. One whose issuer is not known counts for every root.
    pub fn under<'a>(&'a self, root: &'a KeyId) -> impl Iterator<Item = &'a Authority> {
        self.of(AuthorityKind::X509Issuing)
            .filter(move |authority| authority.life.issuer.is_empty() || authority.life.issuer == *root)
    }

    /// Whether the roots come from elsewhere, or will: the leader then makes none of its own.
    #[must_use]
    pub fn is_from_outside(&self, now: UnixTime) -> bool {
        let counts = |root: &Authority| match root.slot {
            Slot::Active => true,
            Slot::Prepared => root.not_after > now,
            Slot::Retiring => false,
        };
        self.of(AuthorityKind::X509Root).any(|root| root.is_outside() && counts(root))
    }

    /// Whether verifiers know another root by the same trust anchor, so that this one cannot be taken from them alone.
    #[must_use]
    pub fn shares_anchor(&self, root: &Authority) -> bool {
        root.is_outside() && self.of(root.kind).any(|other| other.id != root.id && other.anchor() == root.anchor())
    }

    /// So many seconds after `authority` stopped signing it is revoked, if that was asked for and has an effect.
    pub(crate) fn revoked_after(&self, authority: &Authority) -> Option<u32> {
        authority.life.revoke_after_secs.filter(|_| !self.shares_anchor(authority))
    }

    /// Whether the key of `root` is where new roots are made, as far as is known.
    pub(crate) fn is_in_place(&self, root: &Authority) -> bool {
        let home = &self.recipients.roots;
        home.is_empty() || Recipients::holds(home, root)
    }

    /// Whether the active issuing CA is under another root than the active one.
    fn is_misplaced(&self, kind: AuthorityKind) -> bool {
        kind == AuthorityKind::X509Issuing && self.active(kind).is_some_and(|active| !self.is_under_active_root(active))
    }

    /// Whether `issuing` was signed by the active root, as far as is known.
    pub(crate) fn is_under_active_root(&self, issuing: &Authority) -> bool {
        let root = self.active(AuthorityKind::X509Root);
        issuing.life.issuer.is_empty() || root.is_none_or(|root| root.id == issuing.life.issuer)
    }
}
