//! The running hash over the log: what one entry's hash says, it says of every entry before it too, so that two replicas
//! are the same up to an index if their hashes there are.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use minicbor::{Decode, Encode};

use crate::types::LogId;

/// The hash of the log up to and including one entry: SHA-256 over the hash before it and the entry's body. Stored form,
/// and sent between peers.
#[derive(Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct Chain(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl Chain {
    /// Before the first entry.
    pub(crate) const START: Self = Self([0; 32]);

    /// The hash after one more entry, whose body is the stored form without its version.
    pub(crate) fn next(self, body: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&self.0);
        context.update(body);
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The hash at which the state stands, told by the state: a log that goes on behind an installed snapshot has no entries
/// to count it from.
#[derive(Debug, Default)]
pub(crate) struct Anchor(Mutex<Option<(LogId, Chain)>>);

impl Anchor {
    /// The state was loaded, or replaced by a snapshot.
    pub(crate) fn set(&self, at: Option<(LogId, Chain)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// The hash at `id`, if that is where the state stood when it was loaded or replaced.
    pub(crate) fn at(&self, id: &LogId) -> Option<Chain> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.filter(|(at, _)| at == id).map(|(_, chain)| chain)
    }
}
