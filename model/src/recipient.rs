//! Recipients: the key-encryption keys for which every key in nodes' memory is wrapped, and which node can use which.
//!
//! Change log of the stored form:
//! - 2026-11-22: [`Recipients`], [`Recipient`], [`NodeBackends`], [`BackendState`], [`Rewrapped`].

use minicbor::{Decode, Encode};

use crate::authority::{Authority, AuthorityKind, Slot, StoredKey, WrappedKey};
use crate::caller::Caller;
use crate::command::AuthorityRef;
use crate::time::UnixTime;

/// Names a key-encryption key: the same on every node that has it.
pub type RecipientId = String;

/// Who can open the wrapped keys. Stored form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Recipients {
    /// Counts changes of the list and of `roots`: what commands about it compare.
    #[n(0)]
    pub version: u64,
    /// Every one of them can open every live key alone.
    #[n(1)]
    pub list: Vec<Recipient>,
    /// The recipient in whose backend new X.509 roots are made. Empty where that is not known.
    #[n(2)]
    pub roots: RecipientId,
}

/// A key-encryption key. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Recipient {
    /// Its name.
    #[n(0)]
    pub id: RecipientId,
    /// Since when it is one.
    #[n(1)]
    pub added_at: UnixTime,
    /// Who added it; `None`: it was there when the trust domain was made.
    #[n(2)]
    pub added_by: Option<Caller>,
}

/// What a node last said of the key backends in its configuration. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NodeBackends {
    /// Which node.
    #[n(0)]
    pub node: u64,
    /// Cluster time of the report.
    #[n(1)]
    pub at: UnixTime,
    /// Its backends, in the order of its configuration.
    #[n(2)]
    pub backends: Vec<BackendState>,
}

/// One backend of one node. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BackendState {
    /// Its URI, without secrets.
    #[n(0)]
    pub name: String,
    /// Its key-encryption key; `None` while it has never been opened.
    #[n(1)]
    pub recipient: Option<RecipientId>,
    /// Why it cannot be used; empty when it can.
    #[n(2)]
    pub problem: String,
}

impl BackendState {
    /// Whether it could be used when the node last looked.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        self.problem.is_empty()
    }
}

impl NodeBackends {
    /// Whether this node can open what is wrapped for `recipient`.
    #[must_use]
    pub fn opens(&self, recipient: &str) -> bool {
        self.backends.iter().any(|one| one.is_usable() && one.recipient.as_deref() == Some(recipient))
    }
}

/// A key wrapped once more. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Rewrapped {
    /// Whose key.
    #[n(0)]
    pub authority: AuthorityRef,
    /// Its new wrapping.
    #[n(1)]
    pub wrapped: WrappedKey,
}

impl Recipients {
    /// Whether `id` is one.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.list.iter().any(|recipient| recipient.id == id)
    }

    /// Those for which the wrapped key of `authority` should be wrapped and is not.
    pub fn missing<'a>(&'a self, authority: &'a Authority) -> impl Iterator<Item = &'a RecipientId> {
        let wrapped = wrappings(authority);
        self.list
            .iter()
            .map(|recipient| &recipient.id)
            .filter(move |id| is_opened_by_nodes(authority) && !wrapped.iter().any(|wrapped| wrapped.recipient == **id))
    }

    /// Whether the key of `authority` stays in the backend of `id`. One of which only the kind of backend is known counts for
    /// every backend of that kind.
    #[must_use]
    pub fn holds(id: &str, authority: &Authority) -> bool {
        match &authority.key {
            StoredKey::InBackend { recipient: Some(recipient), .. } => recipient == id,
            StoredKey::InBackend { backend, recipient: None, .. } => {
                id.strip_prefix(backend.as_str()).is_some_and(|rest| rest.starts_with(':'))
            }
            StoredKey::Wrapped { .. } => false,
        }
    }
}

/// The wrappings of an authority's key; none for a key that stays in a backend.
#[must_use]
pub fn wrappings(authority: &Authority) -> &[WrappedKey] {
    match &authority.key {
        StoredKey::Wrapped { for_recipients } => for_recipients,
        StoredKey::InBackend { .. } => &[],
    }
}

/// Whether nodes open the key of `authority`, now or later: of those that have stopped signing they do not.
#[must_use]
pub fn is_opened_by_nodes(authority: &Authority) -> bool {
    let live = match authority.slot {
        Slot::Prepared | Slot::Active => true,
        Slot::Retiring => false,
    };
    // A key in a backend stays there, and there is nothing to open.
    live && authority.kind != AuthorityKind::X509Root && matches!(authority.key, StoredKey::Wrapped { .. })
}
