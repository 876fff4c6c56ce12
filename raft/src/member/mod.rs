//! A node that belongs to a cluster: its raft core and what it does for its callers and for other members.

mod ask;
mod change;
mod cluster;
mod confirm;
mod find;
mod hash;
mod judge;
mod keeper;
mod outcast;
mod pace;
mod promote;
mod propose;
mod reads;
mod shed;
mod snapshots;
mod steward;
mod time;
mod transfer;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::{Config, ServerState, SnapshotPolicy};
use signet_model::time::UnixTime;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout_at};

pub use ask::{Answers, AskError, NoAnswers};
pub(crate) use change::{Done, Part, Turn, Wanted};
pub(crate) use keeper::{Chores, keep};
pub(crate) use promote::Promotion;
pub(crate) use propose::{NotHere, to_wire as outcome_to_wire};
pub(crate) use snapshots::Policy;

use crate::blocking::blocking;
use crate::config::{NodeConfig, Timings};
use crate::disk::Disk;
use crate::identity::Record;
use crate::log::{Counters, Flushes, LogDisk, LogPeek, LogStore};
use crate::peer::{Clocks, Directory, Links, Network, Tls};
use crate::state::{Machine, StateStore};
use crate::status::{LocalStatus, Peer, Role};
use crate::types::{PeerNode, TypeConfig};

/// openraft's handle.
pub(crate) type Raft = openraft::Raft<TypeConfig, Machine>;

/// A member of a cluster.
pub(crate) struct Member {
    pub(crate) id: u64,
    cluster_id: String,
    pub(crate) raft: Raft,
    pub(crate) state: Arc<StateStore>,
    pub(crate) log_peek: LogPeek,
    pub(crate) directory: Arc<Directory>,
    pub(crate) links: Arc<Links>,
    leadership: watch::Receiver<Leadership>,
    pub(crate) clocks: Arc<Clocks>,
    pub(crate) flushes: Arc<Flushes>,
    draining: watch::Receiver<bool>,
    /// Chores that come back in intervals do it at whole multiples from here, so that they wake a thread together.
    started: Instant,
    leader_heard: Mutex<Heard>,
    /// A member that has not answered for this long is not healthy.
    patience: Duration,
    stabilisation: Duration,
    pub(crate) version: String,
    pub(crate) answers: Arc<dyn Answers>,
    pub(crate) disk: Arc<Disk>,
    log: Arc<Counters>,
    log_disk: Weak<LogDisk>,
    /// Room for proposals that wait for their commit here.
    slots: Semaphore,
    forwards: mpsc::Sender<propose::Forward>,
    reads: mpsc::Sender<reads::Waiter>,
    /// What in the leader's log this program cannot read: it stops.
    pub(crate) unreadable: watch::Sender<Option<String>>,
    /// One change of the membership at a time.
    changing: tokio::sync::Mutex<()>,
}

/// A leader's heartbeat.
#[derive(Debug, Clone, Copy)]
struct Heard {
    at: Instant,
    /// The next one comes after twice the interval.
    quiet: bool,
}

/// Who leads, as far as this node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leadership {
    pub(crate) term: u64,
    pub(crate) leader: Option<u64>,
    pub(crate) role: Role,
}

/// What a member is made of.
pub(crate) struct Parts {
    pub(crate) record: Record,
    pub(crate) log: LogStore,
    pub(crate) state: Arc<StateStore>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) tls: Arc<Tls>,
    pub(crate) disk: Arc<Disk>,
    /// Whether this node is to give up leadership.
    pub(crate) draining: watch::Receiver<bool>,
}

impl Member {
    /// Starts raft and the member's tasks. To be called on the raft runtime.
    pub(crate) async fn start(parts: Parts, config: &NodeConfig) -> Result<Arc<Self>, String> {
        let Parts { record, log, state, directory, tls, disk, draining } = parts;
        let flushes = log.flushes();
        let clocks = Arc::new(Clocks::new(Arc::clone(&config.clock)));
        let links = Links::new(tls, Arc::clone(&directory), Arc::clone(&clocks), Handle::current());
        let links = Arc::new(links);
        let (ahead, end, cluster) = (Arc::clone(&state), log.last(), record.cluster);
        blocking(move || ahead.cover(end, &cluster)).await.map_err(|cause| cause.to_string())?;
        let machine = Machine::new(Arc::clone(&state), record.cluster.to_vec());
        let settings = raft_config(&config.timings, &record.cluster_id()).map_err(|cause| cause.to_string())?;
        let counters = log.counters();
        let peek = log.peek();
        let log_disk = log.watched();
        let raft = Raft::new(record.node, Arc::new(settings), Network::new(Arc::clone(&links)), log, machine);
        let raft = raft.await.map_err(|cause| cause.to_string())?;
        let (forwards, forward_queue) = mpsc::channel(FORWARDS);
        let (reads, read_queue) = mpsc::channel(READS);
        let (leadership_sender, leadership) = watch::channel(leadership(&raft));
        let member = Arc::new(Self {
            id: record.node,
            cluster_id: record.cluster_id(),
            raft,
            state,
            log_peek: peek,
            directory,
            links,
            leadership,
            clocks,
            flushes,
            draining: draining.clone(),
            started: Instant::now(),
            leader_heard: Mutex::new(Heard { at: Instant::now(), quiet: false }),
            patience: config.timings.patience(),
            stabilisation: config.timings.stabilisation,
            version: config.version.clone(),
            answers: Arc::clone(&config.answers),
            disk,
            log: counters,
            log_disk,
            slots: Semaphore::new(PROPOSALS),
            forwards,
            reads,
            unreadable: watch::Sender::new(None),
            changing: tokio::sync::Mutex::new(()),
        });
        tokio::spawn(watch_leadership(member.raft.clone(), leadership_sender));
        tokio::spawn(propose::forward(Arc::downgrade(&member), forward_queue));
        tokio::spawn(reads::serve(Arc::downgrade(&member), read_queue));
        tokio::spawn(pace::serve(Arc::downgrade(&member), config.timings.clone()));
        tokio::spawn(steward::serve(Arc::downgrade(&member), draining, config.timings.disk_stall));
        Ok(member)
    }

    /// Makes this node the only voter of a new cluster; nothing happens if it is already.
    pub(crate) async fn found(&self, node: PeerNode) -> Result<(), String> {
        if self.raft.is_initialized().await.map_err(|cause| cause.to_string())? {
            return Ok(());
        }
        let members = BTreeMap::from([(self.id, node)]);
        self.raft.initialize(members).await.map_err(|cause| cause.to_string())
    }

    /// Who leads.
    pub(crate) fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// A leader's heartbeat has come.
    pub(crate) fn hear_leader(&self, quiet: bool) {
        *self.leader_heard.lock().unwrap_or_else(PoisonError::into_inner) = Heard { at: Instant::now(), quiet };
    }

    /// The last that was heard of a leader.
    fn leader_heard(&self) -> Heard {
        *self.leader_heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long ago a leader was last heard; zero if this node leads. openraft goes on naming one that is dead.
    pub(crate) fn leaderless(&self) -> Duration {
        if self.leadership.borrow().role == Role::Leader {
            return Duration::ZERO;
        }
        self.leader_heard().at.elapsed()
    }

    /// As the leader: whether enough voters have answered lately.
    fn holds_quorum(&self, voters: &[u64]) -> bool {
        let answering = self.answering();
        voters.iter().filter(|voter| answering.contains(voter)).count() >= judge::quorum(voters.len())
    }

    /// The clock that stamps entries, never behind cluster time.
    pub(crate) fn cluster_time_now(&self) -> UnixTime {
        self.clocks.stamp().max(self.state.view().cluster_time())
    }

    /// Whether this node votes, and no change of the voters is half done.
    pub(crate) fn settled_voter(&self) -> bool {
        let metrics = self.raft.server_metrics();
        let membership = metrics.borrow_watched().committed_membership_config.clone();
        membership.get_joint_config().len() == 1 && membership.voter_ids().any(|id| id == self.id)
    }

    /// What this node knows without asking.
    pub(crate) fn status(&self) -> LocalStatus {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let roster = self.directory.roster();
        let peers =
            roster.iter().map(|(id, node)| Peer { id: *id, address: node.address.clone(), voter: voters.contains(id) });
        let (clock_ahead_millis, clock_is_off) = self.clocks.verdict();
        // openraft goes on leading without a quorum, and goes on naming a leader that is dead.
        let (mut role, mut leader) = (role(metrics.state), metrics.current_leader);
        if role == Role::Leader && !self.holds_quorum(&voters) {
            (role, leader) = (Role::Candidate, None);
        } else if self.leaderless() > self.patience {
            leader = None;
        }
        LocalStatus {
            id: Some(self.id),
            cluster_id: Some(self.cluster_id.clone()),
            role,
            term: metrics.current_term,
            leader,
            applied: self.state.view().end().saturating_sub(1),
            last_log: metrics.last_log_index.unwrap_or(0),
            log_durable_entries: self.log.entries.load(Ordering::Relaxed),
            log_fsyncs: self.log.fsyncs.load(Ordering::Relaxed),
            draining: *self.draining.borrow(),
            clock_ahead_millis,
            clock_is_off,
            peers: peers.collect(),
        }
    }

    /// This node's own clock.
    pub(crate) fn clock(&self) -> UnixTime {
        self.clocks.own()
    }

    /// What RocksDB says of the log.
    pub(crate) fn log_property(&self, name: &str) -> Option<String> {
        self.log_disk.upgrade()?.property(name)
    }

    /// The cluster's id, as it is sent.
    pub(crate) fn cluster(&self) -> Bytes {
        self.directory.cluster()
    }
}

/// Ticks in intervals from the member's start, `None` once it is gone.
fn chore(member: &Weak<Member>, period: Duration) -> Option<Interval> {
    let mut ticks = interval_at(member.upgrade()?.started + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    Some(ticks)
}

/// Waits for news of the leadership, but no longer than until `until`.
async fn news(leadership: &mut watch::Receiver<Leadership>, until: Instant) {
    if let Ok(Err(_)) = timeout_at(until, leadership.changed()).await {
        // Raft has ended: there will be no news, and asking again at once would never let go of the thread.
        sleep_until(until).await;
    }
}

async fn watch_leadership(raft: Raft, sender: watch::Sender<Leadership>) {
    let mut metrics = raft.server_metrics();
    while metrics.changed().await.is_ok() {
        let now = leadership(&raft);
        sender.send_if_modified(|before| std::mem::replace(before, now) != now);
    }
}

fn leadership(raft: &Raft) -> Leadership {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    Leadership { term: metrics.vote.leader_id.term, leader: metrics.current_leader, role: role(metrics.state) }
}

fn role(state: ServerState) -> Role {
    match state {
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Learner => Role::Learner,
        _ => Role::Unreachable,
    }
}

fn raft_config(timings: &Timings, cluster: &str) -> Result<Config, openraft::ConfigError> {
    let config = Config {
        cluster_name: cluster.to_owned(),
        heartbeat_interval: millis(timings.heartbeat),
        election_timeout_min: millis(timings.election_min),
        election_timeout_max: millis(timings.election_max),
        quorum_loss_probe_interval: Some(millis(timings.quorum_loss_probe)),
        enable_pre_vote: Some(true),
        // A restarted leader must not serve from a state that may be behind what its clients saw.
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        removed_leader_step_down: openraft::StepDownPolicy::After(150),
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: timings.log_kept,
        replication_lag_threshold: timings.snapshot_every.max(timings.log_kept),
        install_snapshot_timeout: 600_000,
        max_payload_entries: 2048,
        backoff: "10ms 20ms ...200ms".to_owned(),
        ..Config::default()
    };
    config.validate()
}

#[expect(clippy::cast_possible_truncation, reason = "timings are far below half a billion years")]
const fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// Proposals that wait for their commit at this node, its own and forwarded ones: some seconds' worth.
const PROPOSALS: usize = 16_384;
/// Proposals that wait to be forwarded.
const FORWARDS: usize = 8_192;
/// Readers that wait for a barrier.
const READS: usize = 16_384;
