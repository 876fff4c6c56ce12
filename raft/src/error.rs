//! What can go wrong, by what the caller would do about it.

use std::io;
use std::path::PathBuf;

/// A node could not be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or directory could not be used.
    #[error("cannot {action} {}: check that the path exists and that this user may use it", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// The peer listener could not be bound.
    #[error("cannot listen for peers on {address}: choose another `peer.listen`, or stop what uses it")]
    Bind {
        /// The address.
        address: String,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// `peer_advertise` is missing or not `host:port`.
    #[error("`peer.advertise` {detail}")]
    Advertise {
        /// What is wrong and what to write.
        detail: String,
    },
    /// Another process has the data directory open.
    #[error("data directory {} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// What is stored is damaged, or of a newer program.
    #[error("{} cannot be used: {detail}", path.display())]
    Damaged {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it and what to do.
        detail: String,
    },
    /// The disk has lost what it had confirmed. The node must be replaced.
    #[error(
        "{} tells that the disk has lost what it had confirmed: {detail}. Others rely on what this node forgot, so it must \
         not vote again. Check the disk, remove the node from the cluster and let it join again, under a new id, with an \
         empty data directory",
        path.display()
    )]
    Regressed {
        /// The file that tells.
        path: PathBuf,
        /// What is missing.
        detail: String,
    },
    /// Log, state and identity are not of one cluster.
    #[error("data directory {} mixes clusters: {detail}", path.display())]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// Which parts disagree.
        detail: String,
    },
    /// The cluster's feature level is higher than this program knows.
    #[error("{0}")]
    TooOld(String),
    /// This node was removed from its cluster.
    #[error(
        "node {node_id} was removed from cluster {cluster_id} and cannot come back as that node: to let this host join \
         again, empty the data directory {} and start with a new join token", path.display()
    )]
    Removed {
        /// The cluster.
        cluster_id: String,
        /// The node.
        node_id: u64,
        /// Its data directory.
        path: PathBuf,
    },
    /// Raft did not start on what is stored.
    #[error("raft did not start: {0}")]
    Raft(String),
}

/// A cluster could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// This node is a member already.
    #[error("node {node_id} is a member of cluster {cluster_id} already; nothing was changed")]
    AlreadyMember {
        /// The cluster.
        cluster_id: String,
        /// The node.
        node_id: u64,
    },
    /// This node is joining a cluster.
    #[error(
        "this node has begun to join cluster {cluster_id}; finish with the same join token, or empty the data directory"
    )]
    Joining {
        /// The cluster.
        cluster_id: String,
    },
    /// The new cluster could not be stored or started.
    #[error("cannot make a cluster: {0}")]
    Failed(String),
}

/// A node could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The text is not a join token.
    #[error("not a join token: {0}")]
    Malformed(String),
    /// The cluster does not know the token's secret.
    #[error("the cluster does not know this join token; make a new one with `signet cluster join-token`")]
    UnknownToken,
    /// The token was used before.
    #[error("this join token was used before; make a new one with `signet cluster join-token`")]
    UsedToken,
    /// The token's time has passed.
    #[error("this join token has expired; make a new one with `signet cluster join-token`")]
    ExpiredToken,
    /// The cluster's feature level is higher than this program knows.
    #[error("this program is too old for the cluster; install the version that its members run")]
    TooOld,
    /// This node is a member already.
    #[error("node {node_id} is a member of cluster {cluster_id} already; nothing was changed")]
    AlreadyMember {
        /// The cluster.
        cluster_id: String,
        /// The node.
        node_id: u64,
    },
    /// The data directory belongs to another cluster than the token.
    #[error(
        "this data directory belongs to cluster {here}, the join token to cluster {token}; use an empty data directory"
    )]
    OtherCluster {
        /// The data directory's cluster.
        here: String,
        /// The token's cluster.
        token: String,
    },
    /// Whoever answered does not hold a key the token names.
    #[error("{address} does not hold a key that the join token names: it is not a member, or someone is in between")]
    WrongFingerprint {
        /// Who was dialled.
        address: String,
    },
    /// No member could be reached, or there is no quorum. Retry.
    #[error("no member of the cluster let this node in: {0}")]
    Unreachable(String),
    /// The join was recorded but did not finish in time. Start again: it goes on where it stopped.
    #[error("node {node_id} is registered but not yet a voter: {detail}; start it again to go on")]
    Unfinished {
        /// The id that was allocated.
        node_id: u64,
        /// How far it came.
        detail: String,
    },
    /// A fault on this side.
    #[error("cannot join: {0}")]
    Failed(String),
}

/// A command was not carried out, or it is not known whether it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// No leader with a quorum was found in time. The command was not carried out. Retry, here or elsewhere.
    #[error("no leader with a quorum was reached in time; nothing was changed")]
    NoQuorum,
    /// The command was sent and its fate is not known. It may or may not take effect.
    #[error("the command's outcome is not known: it may or may not take effect")]
    Unknown,
    /// Too many commands wait. The command was not carried out. Retry after a pause.
    #[error("too many commands wait; nothing was changed")]
    Overloaded,
    /// The command is larger than the log takes. Permanent.
    #[error("the command has {size} bytes, the log takes {limit}")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The disk of this node, or of the leader, is nearly full. The command was not carried out. The text names the
    /// directory and the fix.
    #[error("{0}; nothing was changed")]
    NoSpace(String),
    /// This node belongs to no cluster yet.
    #[error("this node belongs to no cluster yet")]
    NotMember,
    /// The node is stopping, or its raft core has died. Retry elsewhere.
    #[error("the node is stopping")]
    ShuttingDown,
}

/// A read could not be made linearizable. Nothing is wrong with the state; retry, here or elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BarrierError {
    /// No leader with a quorum was found in time.
    #[error("no leader with a quorum was reached in time")]
    NoQuorum,
    /// This node has not applied in time what the leader has committed.
    #[error("this node is behind its leader")]
    Behind,
    /// This node belongs to no cluster yet.
    #[error("this node belongs to no cluster yet")]
    NotMember,
    /// The node is stopping, or its raft core has died.
    #[error("the node is stopping")]
    ShuttingDown,
}
