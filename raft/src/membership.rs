//! What callers may ask to be changed about the membership, and what they hear.

use minicbor::{Decode, Encode};

/// How a change of the membership is to be made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Change {
    /// The membership that the caller has seen ([`ClusterStatus::membership`](crate::ClusterStatus)): the change is
    /// refused if it is another one by now.
    #[n(0)]
    pub expected_membership: Option<u64>,
    /// Skips the checks of health. What would lose the quorum is refused all the same.
    #[n(1)]
    pub force: bool,
    /// Only says what would happen.
    #[n(2)]
    pub dry_run: bool,
}

/// The membership after a change, or as it would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Changed {
    /// The log index of the membership in force; after a dry run the one before the change.
    #[n(0)]
    pub membership: u64,
    /// Who votes.
    #[n(1)]
    pub voters: Vec<u64>,
    /// Who replicates and does not vote.
    #[n(2)]
    pub learners: Vec<u64>,
    /// What the operator should know.
    #[n(3)]
    pub warnings: Vec<String>,
}

/// Why a membership or leadership was not changed. Sent between peers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Encode, Decode)]
pub enum ChangeError {
    /// This node belongs to no cluster yet.
    #[n(0)]
    #[error("this node belongs to no cluster yet")]
    NotMember,
    /// No leader with a quorum was found in time. Nothing was changed. Retry.
    #[n(1)]
    #[error("no leader with a quorum was reached in time; nothing was changed")]
    NoQuorum,
    /// No such member.
    #[n(2)]
    #[error("the cluster has no node {node}; `signet cluster members` lists those it has")]
    UnknownNode {
        /// What was named.
        #[n(0)]
        node: u64,
    },
    /// The membership is not the one that the caller expects any more. Nothing was changed.
    #[n(3)]
    #[error("the membership has changed: it is {found} now, not {expected}; look at it again before you change it")]
    Stale {
        /// What the caller named.
        #[n(0)]
        expected: u64,
        /// What is in force.
        #[n(1)]
        found: u64,
    },
    /// Too few healthy voters would be left for a quorum. Not even by force. Nothing was changed.
    #[n(4)]
    #[error("this would lose the quorum: {detail}")]
    WouldLoseQuorum {
        /// Who is healthy and how many are needed.
        #[n(0)]
        detail: String,
    },
    /// A node is not as healthy as the change wants it. Nothing was changed, or a newcomer has become a learner.
    #[n(5)]
    #[error("not now: {detail}")]
    NotHealthy {
        /// Which node, what is wrong with it, and what to do.
        #[n(0)]
        detail: String,
    },
    /// Another change is under way. Retry.
    #[n(6)]
    #[error("another change of the membership is under way; try again")]
    InProgress,
    /// Nobody would vote any more.
    #[n(7)]
    #[error("this is the last voter; a cluster without voters can do nothing")]
    LastVoter,
    /// The change may or may not have taken effect.
    #[n(8)]
    #[error("the outcome is not known: look at `signet cluster status` before you try again")]
    Unknown,
    /// The node is stopping.
    #[n(9)]
    #[error("the node is stopping")]
    ShuttingDown,
}
