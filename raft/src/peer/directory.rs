//! Who the members are and by which keys they are known, as far as this node can tell.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tonic::Status;

use super::cluster::with_cluster;
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
    overrides: Mutex<BTreeMap<u64, Override>>,
    /// Counts changes of the overrides.
    overridden: watch::Sender<u64>,
    removed: watch::Sender<bool>,
    /// Someone with an unknown key called: it may be a member that this node has not heard of.
    pub(crate) stranger: Notify,
}

/// Where a member is reached although the roster says otherwise. It holds for as long as the roster says that.
#[derive(Debug, Clone)]
struct Override {
    instead_of: String,
    address: String,
}

/// Hears of changes of who the members are and where they are reached.
pub(crate) struct Changes {
    roster: watch::Receiver<Arc<Roster>>,
    overridden: watch::Receiver<u64>,
}

impl Changes {
    /// Returns when something has changed since the last call; pending for ever when nothing ever will.
    pub(crate) async fn changed(&mut self) {
        tokio::select! {
            Ok(()) = self.roster.changed() => {}
            Ok(()) = self.overridden.changed() => {}
            else => std::future::pending().await,
        }
    }

    /// What has changed up to now is known.
    pub(crate) fn mark_unchanged(&mut self) {
        self.roster.mark_unchanged();
        self.overridden.mark_unchanged();
    }
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
        Self {
            me,
            cluster,
            state,
            replicated,
            vouched: Mutex::new(vouched),
            overrides: Mutex::default(),
            overridden: watch::Sender::new(0),
            removed: watch::Sender::new(false),
            stranger: Notify::new(),
        }
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
        let mut node = self.roster().get(&id).cloned()?;
        let overrides = self.overrides.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(moved) = overrides.get(&id).filter(|moved| moved.instead_of == node.address) {
            node.address.clone_from(&moved.address);
        }
        Some(node)
    }

    /// A member was met at `address`, or told it: there it is reached until the roster says something new.
    pub(crate) fn met(&self, id: u64, address: &str) {
        let (Some(registered), Some(now)) = (self.roster().get(&id).cloned(), self.peer(id)) else { return };
        if id == self.me || now.address == address {
            return;
        }
        let mut overrides = self.overrides.lock().unwrap_or_else(PoisonError::into_inner);
        if registered.address == address {
            overrides.remove(&id);
        } else {
            tracing::info!(peer = id, address, "a member is reached at another address than the registered one");
            overrides.insert(id, Override { instead_of: registered.address, address: address.to_owned() });
        }
        drop(overrides);
        self.overridden.send_modify(|count| *count += 1);
    }

    /// The members that are reached elsewhere than registered, and where.
    pub(crate) fn moved(&self) -> Roster {
        let reached = |id: &u64, node: &PeerNode| self.peer(*id).filter(|now| now.address != node.address);
        self.roster().iter().filter_map(|(id, node)| Some((*id, reached(id, node)?))).collect()
    }

    /// Whether a member holds the key.
    pub(crate) fn knows(&self, pin: Pin) -> bool {
        self.roster().values().any(|node| node.pin == pin)
    }

    /// Hears of changes from now on.
    pub(crate) fn changes(&self) -> Changes {
        let mut changes = Changes { roster: self.replicated.clone(), overridden: self.overridden.subscribe() };
        changes.mark_unchanged();
        changes
    }

    /// The status for the owner of a key that is no member's: it says so if the key's node was removed.
    pub(crate) fn refusal(&self, pin: Pin) -> Status {
        let Some(node) = self.state.removed(pin) else {
            return Status::permission_denied("this key is not a member's");
        };
        let mut status = Status::permission_denied(format!("node {node} was removed from this cluster"));
        status.metadata_mut().insert(REMOVED, node.into());
        status
    }

    /// A member's answer: it may say that this node was removed.
    pub(crate) fn heed(&self, headers: &http::HeaderMap) {
        let told = headers.get(REMOVED).and_then(|node| node.to_str().ok()?.parse().ok());
        if told == Some(self.me) {
            self.removed.send_replace(true);
        }
    }

    /// Whether this node has learnt that it was removed: a member said so, or the state does.
    pub(crate) fn is_removed(&self, own: Pin) -> bool {
        *self.removed.borrow() || (self.state.removed(own) == Some(self.me) && !self.knows(own))
    }

    /// Returns when a member has said that this node was removed.
    pub(crate) async fn told_removed(&self) {
        if self.removed.subscribe().wait_for(|removed| *removed).await.is_err() {
            std::future::pending::<()>().await;
        }
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
            return Err(with_cluster(Status::failed_precondition("this node is of another cluster"), &self.cluster));
        }
        if envelope.to != self.me {
            return Err(Status::failed_precondition(format!("this is node {}, not {}", self.me, envelope.to)));
        }
        match self.peer(envelope.from) {
            Some(node) if node.pin == pin => Ok(envelope.from),
            Some(_) => {
                self.stranger.notify_one();
                Err(Status::permission_denied(format!("this key is not the one of node {}", envelope.from)))
            }
            None => {
                self.stranger.notify_one();
                Err(self.refusal(pin))
            }
        }
    }
}

/// Tells a removed node its id in the refusal of whatever it asks.
const REMOVED: &str = "signet-removed";
