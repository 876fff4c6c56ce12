//! What a node stops doing while the disk of its data directory fills up, in an order that keeps it away from a failed
//! write: a write that fails ends the process.
//!
//! The rooms above measure, and tell by [`Node::set_disk`]; nothing is measured here.

use tokio::sync::watch;

use crate::node::Node;

/// How much room is left, and so what this node still does. Each state does less than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum DiskState {
    /// Everything.
    #[default]
    Ample,
    /// Everything; the operator is told.
    Low,
    /// It does not lead if another can, and makes no snapshots.
    HandOver,
    /// It takes no changes from callers, here or as the leader from other nodes.
    Refuse,
    /// It takes no log entries from the leader either. It keeps voting for others: the vote is one small file.
    Stop,
}

impl DiskState {
    /// Every state, from the best to the worst.
    pub const ALL: [Self; 5] = [Self::Ample, Self::Low, Self::HandOver, Self::Refuse, Self::Stop];

    /// The word for it, stable for scripts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ample => "ok",
            Self::Low => "low",
            Self::HandOver => "hand_over",
            Self::Refuse => "refuse",
            Self::Stop => "stop",
        }
    }

    /// The state that has this word.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl Node {
    /// Says how much room the disk has left. `detail` names directory, free space and fix; callers whose proposals are
    /// refused read it.
    pub fn set_disk(&self, state: DiskState, detail: &str) {
        self.inner.disk.set(state, detail);
    }
}

/// The state of the disk, as the node was last told.
#[derive(Debug)]
pub(crate) struct Disk {
    told: watch::Sender<(DiskState, String)>,
}

impl Default for Disk {
    fn default() -> Self {
        Self { told: watch::Sender::new((DiskState::Ample, String::new())) }
    }
}

impl Disk {
    pub(crate) fn set(&self, state: DiskState, detail: &str) {
        let new = (state, detail.to_owned());
        self.told.send_if_modified(|before| std::mem::replace(before, new.clone()) != new);
    }

    pub(crate) fn state(&self) -> DiskState {
        self.told.borrow().0
    }

    /// Why no proposal is taken, if none is.
    pub(crate) fn refusal(&self) -> Option<String> {
        let told = self.told.borrow();
        (told.0 >= DiskState::Refuse).then(|| told.1.clone())
    }

    /// Why no entries are taken from the leader, if none are.
    pub(crate) fn stop(&self) -> Option<String> {
        let told = self.told.borrow();
        (told.0 >= DiskState::Stop).then(|| told.1.clone())
    }
}
