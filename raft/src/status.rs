//! What a node knows about itself and its cluster.

use std::fmt;
use std::time::Duration;

use crate::disk::DiskState;

/// A node's part in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Belongs to no cluster yet.
    Waiting,
    /// Orders the log.
    Leader,
    /// Votes and replicates.
    Follower,
    /// Stands for election.
    Candidate,
    /// Replicates and does not vote yet.
    Learner,
    /// Did not answer.
    Unreachable,
}

impl Role {
    /// The word for it, stable for scripts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Unreachable => "unreachable",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A member and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The node.
    pub id: u64,
    /// Its advertised peer address, `host:port`.
    pub address: String,
    /// Whether it votes.
    pub voter: bool,
}

/// What this node knows without asking anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalStatus {
    /// This node's id; `None` while waiting.
    pub id: Option<u64>,
    /// The cluster's id; `None` while waiting.
    pub cluster_id: Option<String>,
    /// Its part. A leader that hears no quorum is told as a candidate.
    pub role: Role,
    /// The term it is in.
    pub term: u64,
    /// Who it believes leads; `None` if it has not heard a leader for a while, or leads without a quorum.
    pub leader: Option<u64>,
    /// The last log index applied to its state.
    pub applied: u64,
    /// The last log index it holds.
    pub last_log: u64,
    /// Log entries made durable since the node started.
    pub log_durable_entries: u64,
    /// In so many fsyncs.
    pub log_fsyncs: u64,
    /// Whether it gives up and refuses leadership because it was told to, or is stopping.
    pub draining: bool,
    /// How far this node's clock is ahead of the median of the members' clocks, in milliseconds; `None` while unknown.
    pub clock_ahead_millis: Option<i64>,
    /// Whether its clock has been off by more than two seconds for a while: then it does not want to lead.
    pub clock_is_off: bool,
    /// The members it knows, itself included, in the order of their ids.
    pub peers: Vec<Peer>,
}

/// What every member said about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// Whether a leader with a quorum confirmed it; otherwise this is only what this node knows.
    pub confirmed: bool,
    /// Who leads.
    pub leader: Option<u64>,
    /// In which term.
    pub term: u64,
    /// The log index of the membership in force, which a change may name as the one it expects; 0 if it is not known.
    pub membership: u64,
    /// The members, in the order of their ids.
    pub nodes: Vec<NodeStatus>,
}

/// The members' logs compared at one index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterHash {
    /// Up to and including which entry.
    pub index: u64,
    /// Each member with the running hash (SHA-256) of its log there, in the order of their ids; `None` if it did not
    /// answer, has not applied that entry, or holds no hash for it any more (it lies behind its last snapshot).
    pub nodes: Vec<(u64, Option<[u8; 32]>)>,
    /// Whether all members that told a hash told the same. False means that replicas have drifted apart.
    pub agree: bool,
}

impl ClusterHash {
    pub(crate) fn new(index: u64, nodes: Vec<(u64, Option<[u8; 32]>)>) -> Self {
        let mut told = nodes.iter().filter_map(|(_, hash)| *hash);
        let first = told.next();
        let agree = told.all(|hash| Some(hash) == first);
        Self { index, nodes, agree }
    }
}

/// One member in a [`ClusterStatus`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// The node.
    pub id: u64,
    /// Its part; [`Role::Unreachable`] if it did not answer.
    pub role: Role,
    /// The last log index applied to its state; `None` if it did not answer.
    pub applied: Option<u64>,
    /// How many entries it is behind the leader's log; `None` if either is unknown.
    pub lag: Option<u64>,
    /// The version of its program; `None` if it did not answer.
    pub version: Option<String>,
    /// How much room its disk has left; `None` if it did not answer.
    pub disk: Option<DiskState>,
    /// The highest feature level that its program knows; `None` if it did not answer.
    pub supports: Option<u32>,
    /// Its advertised peer address.
    pub address: String,
    /// Whether it votes.
    pub voter: bool,
    /// How long ago the leader last heard it; zero for the leader, `None` if that is not known.
    pub last_contact: Option<Duration>,
    /// Whether it gives up and refuses leadership; `false` if it did not answer.
    pub draining: bool,
    /// How far its clock is ahead of the median of the members' clocks, in milliseconds; `None` if unknown.
    pub clock_ahead_millis: Option<i64>,
}
