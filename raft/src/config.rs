//! What a node is told when it is opened.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use signet_model::time::UnixTime;

use crate::member::Answers;

/// How a node is opened.
#[derive(Clone)]
pub struct NodeConfig {
    /// Where log, state, identity and peer key are kept. Made if it is missing.
    pub data_dir: PathBuf,
    /// Where to listen for peers. Port 0 takes a free port the first time and keeps to it afterwards if it can.
    pub peer_listen: SocketAddr,
    /// The `host:port` by which peers reach this node; the bound address if `None`.
    pub peer_advertise: Option<String>,
    /// More `host:port` addresses at which members may be found, tried when one is not where it is registered: for when
    /// all nodes have moved at once.
    pub contacts: Vec<String>,
    /// The version of this program, shown in status.
    pub version: String,
    /// Raft's timings.
    pub timings: Timings,
    /// How log and state are kept.
    pub storage: Storage,
    /// The wall clock: it stamps log entries when this node leads.
    pub clock: Arc<dyn Fn() -> UnixTime + Send + Sync>,
    /// Who answers what other members ask this one by [`Node::ask`](crate::Node::ask).
    pub answers: Arc<dyn Answers>,
}

impl fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeConfig")
            .field("data_dir", &self.data_dir)
            .field("peer_listen", &self.peer_listen)
            .field("peer_advertise", &self.peer_advertise)
            .field("contacts", &self.contacts)
            .field("version", &self.version)
            .field("timings", &self.timings)
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}

/// How log and state are kept: memory, and when a snapshot is made besides [`Timings::snapshot_every`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// A snapshot is made after this long, if there are `snapshot_min` new log entries. Each node waits a little longer
    /// than the one before it, so that not all are busy with it at once.
    pub snapshot_after: Duration,
    /// So few new entries are not worth a snapshot however old the last one is.
    pub snapshot_min: u64,
    /// Memory for what is read often from the state's files, their indexes and filters included, in bytes.
    pub state_cache: usize,
    /// Memory for what was applied and is not in a file yet, in bytes; the state takes up to twice as much.
    pub state_buffer: usize,
    /// The same for the log.
    pub log_buffer: usize,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            snapshot_after: Duration::from_secs(15 * 60),
            snapshot_min: 1000,
            state_cache: 64 << 20,
            state_buffer: 64 << 20,
            log_buffer: 16 << 20,
        }
    }
}

/// How fast a cluster notices things, and how much it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timings {
    /// How often the leader says that it lives.
    pub heartbeat: Duration,
    /// The shortest silence after which a follower stands for election.
    pub election_min: Duration,
    /// The longest. Also the leader's lease.
    pub election_max: Duration,
    /// After this long without an answer from a quorum the leader stops accepting proposals and steps down.
    pub quorum_loss_probe: Duration,
    /// A snapshot is made after this many log entries since the last one.
    pub snapshot_every: u64,
    /// How many log entries are kept behind a snapshot, for followers that lag a little.
    pub log_kept: u64,
    /// So long a learner must have been in touch and nearly up to date before it becomes a voter.
    pub stabilisation: Duration,
    /// A leader whose disk has not finished one flush for so long lets another voter lead.
    pub disk_stall: Duration,
}

impl Timings {
    /// For nodes on one local network: failover well under half a second.
    #[must_use]
    pub const fn lan() -> Self {
        Self {
            heartbeat: Duration::from_millis(30),
            election_min: Duration::from_millis(75),
            election_max: Duration::from_millis(150),
            quorum_loss_probe: Duration::from_millis(300),
            snapshot_every: 100_000,
            log_kept: 50_000,
            stabilisation: Duration::from_millis(500),
            disk_stall: Duration::from_millis(500),
        }
    }

    /// For nodes in different places, up to 50 ms apart: failover in about two seconds.
    #[must_use]
    pub const fn wan() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(500),
            election_max: Duration::from_millis(1000),
            quorum_loss_probe: Duration::from_millis(2000),
            stabilisation: Duration::from_millis(2000),
            disk_stall: Duration::from_millis(2000),
            ..Self::lan()
        }
    }

    /// A member that has not answered its leader for this long is not healthy. Never below a second: a busy machine is no
    /// dead one.
    pub(crate) fn patience(&self) -> Duration {
        (self.election_max * 4).max(Duration::from_secs(1))
    }
}

impl FromStr for Timings {
    type Err = UnknownProfile;

    fn from_str(profile: &str) -> Result<Self, UnknownProfile> {
        match profile {
            "lan" => Ok(Self::lan()),
            "wan" => Ok(Self::wan()),
            _ => Err(UnknownProfile),
        }
    }
}

/// No timings have that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is neither \"lan\" (round trips up to 2 ms) nor \"wan\" (up to 50 ms)")]
pub struct UnknownProfile;

impl Default for Timings {
    fn default() -> Self {
        Self::lan()
    }
}

/// Holds an advertised address against `host:port`.
pub(crate) fn check_address(address: &str) -> Result<(), String> {
    let wrong =
        |what: &str| Err(format!("{address:?} {what}; write `host:port`, for example `node1.example.org:8082`"));
    let Some((host, port)) = address.rsplit_once(':') else { return wrong("has no port") };
    let literal = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || host.len() > 253 || (host.contains(':') && !literal) {
        return wrong("has no proper host");
    }
    if host.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/') {
        return wrong("has no proper host");
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(()),
        Ok(_) | Err(_) => wrong("has no proper port"),
    }
}
