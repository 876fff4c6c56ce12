//! What must hold at every step, looked at from inside.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt as _;
use openraft::async_runtime::WatchReceiver as _;
use openraft::storage::RaftLogStorage as _;
use openraft::{EntryPayload, RaftLogReader as _, ServerState};
use signet_model::rows::{Rows as _, Space};

use super::disk::Disk;
use super::world::World;
use crate::ApplyContext;
use crate::encoding::entry_to_bytes;
use crate::log::LogStore;
use crate::node::Node;
use crate::types::{LogEntry, LogId};

/// What was seen so far of all nodes.
#[derive(Default)]
pub(crate) struct Checks {
    /// Every entry ever seen in a log: what it holds, and what came before it.
    entries: BTreeMap<LogId, (u64, Option<LogId>)>,
    /// What is committed, by index.
    pub(crate) committed: BTreeMap<u64, LogId>,
    /// What was applied, by index: cluster time, command, outcome.
    pub(crate) applied: BTreeMap<u64, (u64, String, String)>,
    /// Where each client's operation was applied.
    pub(crate) places: BTreeMap<u64, u64>,
    /// Cluster time and rows of the state, by the end of what was applied.
    times: BTreeMap<u64, u64>,
    states: BTreeMap<u64, u64>,
    /// Which incarnation of a node led under which vote.
    reigns: BTreeMap<(u64, u64), (usize, u64)>,
    /// Memberships by the index of their entry.
    pub(crate) memberships: BTreeMap<u64, Vec<BTreeSet<u64>>>,
    /// Who came in with which join token.
    joined: BTreeMap<String, u64>,
    pub(crate) snapshots: u64,
    pub(crate) leaders: u64,
}

/// What was seen of one process.
#[derive(Default)]
pub(crate) struct Seen {
    log_end: Option<LogId>,
    applied_end: u64,
    time: u64,
    vote: Option<crate::types::Vote>,
    leads: Option<(u64, u64)>,
    snapshot: Option<LogId>,
    dumped_at: u64,
}

/// A node to look at.
pub(crate) struct Looked<'a> {
    pub(crate) at: usize,
    pub(crate) incarnation: u64,
    pub(crate) node: &'a Node,
    pub(crate) log: &'a LogStore,
    /// Each raft id's disk and log, for what is durable where.
    pub(crate) disks: &'a BTreeMap<u64, std::sync::Arc<Disk>>,
}

impl Checks {
    /// Told by each node's state machine.
    pub(crate) fn applied(&mut self, world: &World, node: usize, at: ApplyContext, command: &str, outcome: &str) {
        let now = (at.at.millis(), command.to_owned(), outcome.to_owned());
        let known = self.applied.entry(at.index).or_insert_with(|| now.clone());
        if *known != now {
            world.violated(format_args!("n{node} applies {now:?} at {}, another node applied {known:?}", at.index));
        }
        let op = super::machine::Command::parse(command).0;
        let place = *self.places.entry(op).or_insert(at.index);
        if place != at.index {
            world.violated(format_args!("operation {op} was applied at {place} and again at {}", at.index));
        }
    }

    /// Told of each newcomer that was let in.
    pub(crate) fn joined(&mut self, world: &World, token: &str, id: u64) {
        let first = *self.joined.entry(token.to_owned()).or_insert(id);
        if first != id {
            world.violated(format_args!("nodes {first} and {id} came in with one join token"));
        }
    }

    /// Looks at one running node.
    pub(crate) fn look(&mut self, world: &World, looked: &Looked<'_>, seen: &mut Seen) {
        let Some(member) = looked.node.member() else { return };
        self.look_at_log(world, looked, seen);
        self.look_at_state(world, looked, seen);
        let metrics = member.raft.metrics();
        let metrics = metrics.borrow_watched();
        let at = looked.at;
        if seen.vote.is_some_and(|before| metrics.vote < before) {
            world.violated(format_args!("n{at}'s vote goes back from {:?} to {}", seen.vote, metrics.vote));
        }
        seen.vote = Some(metrics.vote);
        if metrics.snapshot != seen.snapshot {
            seen.snapshot = metrics.snapshot;
            self.snapshots += 1;
            world.trace(format_args!("n{at} snapshot {:?}", seen.snapshot));
        }
        let reign = (metrics.vote.leader_id.term, metrics.vote.leader_id.node_id);
        let leads = (metrics.state == ServerState::Leader && metrics.vote.committed).then_some(reign);
        if leads.is_some() && leads != seen.leads {
            self.leaders += 1;
            world.trace(format_args!("n{at} leads in {}", metrics.vote));
            let reigned = *self.reigns.entry(reign).or_insert((at, looked.incarnation));
            if reigned != (at, looked.incarnation) {
                world.violated(format_args!("n{at} leads in {} and another process did before", metrics.vote));
            }
            self.leader_has_everything(world, looked);
        }
        seen.leads = leads;
    }

    fn look_at_log(&mut self, world: &World, looked: &Looked<'_>, seen: &mut Seen) {
        let mut log = looked.log.clone();
        let state = log.get_log_state().now_or_never().unwrap().unwrap();
        let last = state.last_log_id;
        if last == seen.log_end {
            return;
        }
        let from = seen.log_end.map_or(0, |id| id.index).min(last.map_or(0, |id| id.index)).saturating_sub(32);
        seen.log_end = last;
        let entries = log.try_get_log_entries(from..u64::MAX).now_or_never().unwrap().unwrap();
        let mut before = None;
        for entry in &entries {
            self.entry(world, looked.at, entry, before);
            before = Some(entry.log_id);
        }
    }

    /// Two logs with an entry of one id hold the same up to there.
    fn entry(&mut self, world: &World, at: usize, entry: &LogEntry, before: Option<LogId>) {
        let hash = hash(&entry_to_bytes(entry));
        let known = self.entries.entry(entry.log_id).or_insert((hash, before));
        if known.0 != hash {
            world.violated(format_args!("n{at} has another entry {} than it was before", entry.log_id));
        }
        match (known.1, before) {
            (Some(known), Some(before)) if known != before => {
                world.violated(format_args!("n{at}: before {} is {before}, elsewhere {known}", entry.log_id));
            }
            (None, Some(before)) => known.1 = Some(before),
            _ => {}
        }
    }

    fn look_at_state(&mut self, world: &World, looked: &Looked<'_>, seen: &mut Seen) {
        let at = looked.at;
        let view = looked.node.inner.state.view();
        let (end, time) = (view.end(), view.cluster_time().millis());
        if end < seen.applied_end || time < seen.time {
            world.violated(format_args!(
                "n{at} goes back from {} at {} to {end} at {time}",
                seen.applied_end, seen.time
            ));
        }
        if end == seen.applied_end {
            return;
        }
        let known = *self.times.entry(end).or_insert(time);
        if known != time {
            world.violated(format_args!("n{at} has cluster time {time} at {end}, another node {known}"));
        }
        let mut log = looked.log.clone();
        let entries = log.try_get_log_entries(seen.applied_end..end).now_or_never().unwrap().unwrap();
        for entry in &entries {
            self.commit(world, looked, entry);
        }
        (seen.applied_end, seen.time) = (end, time);
        if world.now() >= seen.dumped_at + DUMP_PAUSE {
            seen.dumped_at = world.now();
            self.same_state(world, at, looked.node);
        }
    }

    fn commit(&mut self, world: &World, looked: &Looked<'_>, entry: &LogEntry) {
        let (at, index) = (looked.at, entry.log_id.index);
        if let Some(known) = self.committed.get(&index) {
            if *known != entry.log_id {
                world.violated(format_args!("n{at} has committed {} where another node has {known}", entry.log_id));
            }
            return;
        }
        self.committed.insert(index, entry.log_id);
        if let EntryPayload::Membership(membership) = &entry.payload {
            let joint = membership.get_joint_config().clone();
            if let Some((_, before)) = self.memberships.last_key_value()
                && !before.iter().any(|old| joint.iter().any(|new| old.symmetric_difference(new).count() <= 1))
            {
                world.violated(format_args!("memberships {before:?} and {joint:?} have no common quorum"));
            }
            self.memberships.insert(index, joint);
        }
        // The membership under which it was committed is the newest one in the leader's log, or the one before.
        let mut configs: Vec<_> = self.memberships.values().rev().take(2).cloned().collect();
        if let Some(member) = looked.node.member() {
            let metrics = member.raft.metrics();
            configs.push(metrics.borrow_watched().membership_config.membership().get_joint_config().clone());
        }
        let durable = |id: &u64| {
            looked.disks.get(id).is_some_and(|disk| {
                let key = entry_key(index);
                !disk.holds(&key) && disk.has_beyond(&key) || disk.is_durable(&key)
            })
        };
        let quorum = |voters: &BTreeSet<u64>| voters.iter().filter(|id| durable(id)).count() * 2 > voters.len();
        if !configs.iter().any(|joint| joint.iter().all(quorum)) {
            world
                .violated(format_args!("entry {index} is applied by n{at} but not durable on a quorum of {configs:?}"));
        }
    }

    fn leader_has_everything(&self, world: &World, looked: &Looked<'_>) {
        let mut log = looked.log.clone();
        for (index, id) in self.committed.iter().rev().take(64) {
            let held = log.try_get_log_entries(*index..index + 1).now_or_never().unwrap().unwrap();
            let purged = log.get_log_state().now_or_never().unwrap().unwrap().last_purged_log_id;
            let covered = purged.is_some_and(|purged| *index <= purged.index);
            if !covered && held.first().map(|entry| entry.log_id) != Some(*id) {
                world.violated(format_args!("n{} leads without the committed entry {id}", looked.at));
                return;
            }
        }
    }

    /// States that have applied the same hold the same.
    pub(crate) fn same_state(&mut self, world: &World, at: usize, node: &Node) {
        let view = node.inner.state.view();
        let mut text = Vec::new();
        for (key, value) in view.scan(Space::Meta, b"", None, usize::MAX) {
            text.extend_from_slice(&key);
            text.push(b'=');
            text.extend_from_slice(&value);
            text.push(b'\n');
        }
        for id in node.inner.state.roster().borrow().keys() {
            text.extend_from_slice(&id.to_be_bytes());
        }
        let hash = hash(&text);
        let known = *self.states.entry(view.end()).or_insert(hash);
        if known != hash {
            world.violated(format_args!("n{at}'s state at {} is not that of another node", view.end()));
        }
    }
}

/// The row key of an entry in the log. Stored form.
pub(crate) fn entry_key(index: u64) -> Vec<u8> {
    let mut key = vec![b'e'];
    key.extend_from_slice(&index.to_be_bytes());
    key
}

fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

const DUMP_PAUSE: u64 = 200;
