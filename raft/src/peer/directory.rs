//! Who the members are and by which keys they are known, as far as this node can tell.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tonic::Status;

use super::proto::Envelope;
use crate::state::{Roster, StateStore};
use crate::types::{PeerNode, Pin};

/// What this node knows of its peers.
///
/// The truth is in the replicated state. A node that was away, or is new, does not have all of it yet and must still take
/// the log from a leader it has not heard of; so a roster that a member vouched for counts until the state is as new.
pub(crate) struct Directory {
    me: u64,
    cluster: Bytes,
    state: Arc<StateStore>,
    replicated: watch::Receiver<Arc<Roster>>,
    vouched: Mutex<Vouched>,
    /// Someone with an unknown key called: it may be a member that this node has not heard of.
    pub(crate) stranger: Notify,
}

/// A roster as a member told it, as of its `end`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vouched {
    /// The members.
    pub(crate) roster: Arc<Roster>,
    /// One more than the last index that the member had applied.
    pub(crate) end: u64,
}

impl Directory {
    /// The directory of node `me`, with what it was told when it joined.
    pub(crate) fn new(me: u64, cluster: Bytes, state: Arc<StateStore>, vouched: Vouched) -> Self {
        let replicated = state.roster();
        Self { me, cluster, state, replicated, vouched: Mutex::new(vouched), stranger: Notify::new() }
    }

    /// The members.
    pub(crate) fn roster(&self) -> Arc<Roster> {
        let replicated = self.replicated.borrow().clone();
        let vouched = self.vouched.lock().unwrap_or_else(PoisonError::into_inner);
        if vouched.end > self.state.view().end() { Arc::clone(&vouched.roster) } else { replicated }
    }

    /// A member told its roster: newer ones count.
    pub(crate) fn vouch(&self, told: Vouched) {
        let mut vouched = self.vouched.lock().unwrap_or_else(PoisonError::into_inner);
        if told.end > vouched.end {
            *vouched = told;
        }
    }

    /// How to reach a member and recognise it.
    pub(crate) fn peer(&self, id: u64) -> Option<PeerNode> {
        self.roster().get(&id).cloned()
    }

    /// Whether a member holds the key.
    pub(crate) fn knows(&self, pin: Pin) -> bool {
        self.roster().values().any(|node| node.pin == pin)
    }

    /// Hears of changes of the replicated roster.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Roster>> {
        let mut changes = self.replicated.clone();
        changes.mark_unchanged();
        changes
    }

    /// This node's id.
    pub(crate) fn me(&self) -> u64 {
        self.me
    }

    /// The cluster's id.
    pub(crate) fn cluster(&self) -> Bytes {
        self.cluster.clone()
    }

    /// The envelope of a message to `to`.
    pub(crate) fn envelope(&self, to: u64) -> Envelope {
        Envelope { cluster: self.cluster.clone(), from: self.me, to }
    }

    /// Refuses a message that is not for this node, or not from the member whose key the connection proved.
    pub(crate) fn admit(&self, envelope: Option<Envelope>, pin: Pin) -> Result<u64, Status> {
        let envelope = envelope.ok_or_else(|| Status::invalid_argument("the envelope is missing"))?;
        if envelope.cluster != self.cluster {
            return Err(Status::failed_precondition("this node is of another cluster"));
        }
        if envelope.to != self.me {
            return Err(Status::failed_precondition(format!("this is node {}, not {}", self.me, envelope.to)));
        }
        match self.peer(envelope.from) {
            Some(node) if node.pin == pin => Ok(envelope.from),
            Some(_) | None => {
                self.stranger.notify_one();
                Err(Status::permission_denied(format!("this key is not the one of node {}", envelope.from)))
            }
        }
    }
}
