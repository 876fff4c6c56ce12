//! Property tests of log and state against plain models. `SIGNET_CASES` sets the number of cases of both together: four
//! fifths are the log's, which is quicker.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use signet_model::rows::{Rows, Space};
use signet_model::time::UnixTime;

use super::machine::Words;
use super::storage::append;
use crate::encoding::entry_to_body;
use crate::log::{Anchor, Chain, LogStore};
use crate::state::StateStore;
use crate::types::{LeaderId, LogEntry, LogId, Order, Proposal, Vote};

/// A directory in memory where the machine has such a thing: what is tested here is not the disk.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn check<S: Strategy>(name: &str, fifths: u32, strategy: S, test: impl Fn(S::Value)) {
    let all: u32 = std::env::var("SIGNET_CASES").map_or(100, |cases| cases.parse().unwrap());
    let cases = all.div_ceil(5) * fifths;
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let outcome = TestRunner::new(config).run(&strategy, |value| {
        test(value);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    println!("{name}: property cases: {cases}");
}

pub(crate) fn command(term: u64, index: u64, text: &str) -> LogEntry {
    let order = Order::Application(Bytes::copy_from_slice(text.as_bytes()));
    LogEntry {
        log_id: LogId { leader_id: LeaderId { term, node_id: 1 }, index },
        payload: EntryPayload::Normal(Proposal { stamp: UnixTime::from_millis(index * 7), order }),
    }
}

#[derive(Debug, Clone)]
enum LogStep {
    Append {
        count: usize,
        size: usize,
    },
    Vote,
    /// Positions are in hundredths of what the log holds.
    Truncate(usize),
    Purge(usize),
    /// A snapshot was installed that reaches so far behind the log's end.
    Leap(usize),
    Reopen,
}

fn log_step() -> impl Strategy<Value = LogStep> {
    prop_oneof![
        5 => (1..6_usize, 0..3000_usize).prop_map(|(count, size)| LogStep::Append { count, size }),
        1 => Just(LogStep::Vote),
        2 => (0..100_usize).prop_map(LogStep::Truncate),
        2 => (0..100_usize).prop_map(LogStep::Purge),
        1 => (0..9_usize).prop_map(LogStep::Leap),
        3 => Just(LogStep::Reopen),
    ]
}

/// What a log is: a list that begins somewhere, with the hash before its beginning.
#[derive(Clone)]
pub(crate) struct PlainLog {
    pub(crate) purged: Option<LogId>,
    pub(crate) before: Chain,
    pub(crate) entries: Vec<LogEntry>,
    pub(crate) vote: Option<Vote>,
}

impl PlainLog {
    pub(crate) fn new() -> Self {
        Self { purged: None, before: Chain::START, entries: Vec::new(), vote: None }
    }

    pub(crate) fn begin(&self) -> u64 {
        self.purged.map_or(0, |id| id.index + 1)
    }

    pub(crate) fn last(&self) -> Option<LogId> {
        self.entries.last().map(|entry| entry.log_id).or(self.purged)
    }

    pub(crate) fn end(&self) -> u64 {
        self.begin() + self.entries.len() as u64
    }

    pub(crate) fn truncate(&mut self, keep: usize) {
        self.entries.truncate(keep);
    }

    pub(crate) fn purge(&mut self, count: usize) {
        for entry in self.entries.drain(..count) {
            self.before = self.before.next(&entry_to_body(&entry));
            self.purged = Some(entry.log_id);
        }
    }

    /// How `log` differs, if it does.
    pub(crate) async fn difference(&self, log: &mut LogStore) -> Option<String> {
        let state = log.get_log_state().await.unwrap();
        let (purged, last) = (state.last_purged_log_id, state.last_log_id);
        if (purged, last) != (self.purged, self.last()) {
            return Some(format!("from {purged:?} to {last:?} instead of {:?} to {:?}", self.purged, self.last()));
        }
        if log.read_vote().await.unwrap() != self.vote {
            return Some(format!("vote {:?} instead of {:?}", log.read_vote().await.unwrap(), self.vote));
        }
        let entries = match log.try_get_log_entries(0..u64::MAX).await {
            Ok(entries) => entries,
            Err(cause) => return Some(cause.to_string()),
        };
        if entries != self.entries {
            return Some("other entries".to_owned());
        }
        let mut chain = self.before;
        let hashes: Vec<_> = std::iter::once(chain)
            .chain(self.entries.iter().map(|entry| {
                chain = chain.next(&entry_to_body(entry));
                chain
            }))
            .collect();
        let first = self.begin();
        for (index, hash) in (first..).zip(hashes.iter().skip(1)) {
            if log.chain_at(index).unwrap() != Some(*hash) {
                return Some(format!("another hash at {index}"));
            }
        }
        if self.purged.is_some() && log.chain_at(first - 1).unwrap() != hashes.first().copied() {
            return Some("another hash where it was purged".to_owned());
        }
        None
    }
}

async fn walk_log(steps: Vec<LogStep>) {
    let dir = scratch();
    let anchor = Arc::new(Anchor::default());
    let open = || {
        let log = LogStore::open(dir.path()).unwrap();
        log.follow(Arc::clone(&anchor));
        log
    };
    let (mut log, mut model, mut term) = (open(), PlainLog::new(), 1);
    // A log without a vote does not open: raft always votes first.
    model.vote = Some(Vote::new(term, 1));
    log.save_vote(&Vote::new(term, 1)).await.unwrap();
    for step in steps {
        let len = model.entries.len();
        match step.clone() {
            LogStep::Append { count, size } => {
                let new: Vec<_> = (model.end()..).take(count).map(|at| command(term, at, &"x".repeat(size))).collect();
                model.entries.extend(new.iter().cloned());
                append(&mut log, new).await;
            }
            LogStep::Vote => {
                term += 1;
                model.vote = Some(Vote::new(term, 1));
                log.save_vote(&Vote::new(term, 1)).await.unwrap();
            }
            LogStep::Truncate(part) => {
                model.truncate(len * part / 100);
                log.truncate_after(model.last()).await.unwrap();
                term += 1;
            }
            LogStep::Purge(part) => {
                model.purge(len * part / 100);
                if let Some(purged) = model.purged {
                    log.purge(purged).await.unwrap();
                }
            }
            LogStep::Leap(behind) => {
                let (end, count) = (model.end(), behind + 1);
                model.entries.extend((end..).take(count).map(|at| command(term, at, "only in the snapshot")));
                model.purge(model.entries.len());
                anchor.set(model.purged.map(|id| (id, model.before)));
                log.purge(model.purged.unwrap()).await.unwrap();
            }
            LogStep::Reopen => {
                drop(log);
                log = open();
            }
        }
        // Purging is not waited for; a vote is, and comes behind it.
        log.save_vote(&model.vote.unwrap()).await.unwrap();
        if let Some(difference) = model.difference(&mut log).await {
            panic!("after {step:?}: {difference}");
        }
    }
}

#[test]
fn the_log_is_a_list_whatever_is_done_to_it() {
    check("log", 4, vec(log_step(), 1..25), |steps| {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(walk_log(steps));
    });
}

#[derive(Debug, Clone)]
enum StateStep {
    Apply(Vec<(u8, u8)>),
    /// Applied elsewhere only, until a snapshot comes.
    Miss(Vec<(u8, u8)>),
    Snapshot,
    Install,
    Reopen,
}

fn state_step() -> impl Strategy<Value = StateStep> {
    let puts = || vec((0..12_u8, any::<u8>()), 1..8);
    prop_oneof![
        4 => puts().prop_map(StateStep::Apply),
        2 => puts().prop_map(StateStep::Miss),
        1 => Just(StateStep::Snapshot),
        2 => Just(StateStep::Install),
        2 => Just(StateStep::Reopen),
    ]
}

/// What a state is: a map, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlainState {
    pub(crate) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) last: Option<LogId>,
    pub(crate) chain: Chain,
    pub(crate) time: UnixTime,
}

impl PlainState {
    pub(crate) fn new() -> Self {
        Self { rows: BTreeMap::new(), last: None, chain: Chain::START, time: UnixTime::from_millis(0) }
    }

    pub(crate) fn next_index(&self) -> u64 {
        self.last.map_or(0, |id| id.index + 1)
    }

    pub(crate) fn put(&mut self, key: &str, value: &str) -> LogEntry {
        let entry = command(1, self.next_index(), &format!("put {key} {value}"));
        self.rows.insert(key.as_bytes().to_vec(), value.as_bytes().to_vec());
        self.chain = self.chain.next(&entry_to_body(&entry));
        self.last = Some(entry.log_id);
        self.time = UnixTime::from_millis(entry.log_id.index * 7);
        entry
    }

    pub(crate) fn of(store: &StateStore) -> Self {
        let position = store.position();
        let rows = store.view().scan(Space::Meta, b"", None, usize::MAX);
        Self {
            rows: rows.into_iter().collect(),
            last: position.last,
            chain: position.chain.unwrap(),
            time: position.time,
        }
    }
}

fn walk_state(steps: Vec<StateStep>) {
    let (dir, other_dir) = (scratch(), scratch());
    let open = |dir: &tempfile::TempDir| StateStore::open(dir.path(), Arc::new(Words::default())).unwrap();
    let (mut store, other) = (open(&dir), open(&other_dir));
    let (mut model, mut ahead) = (PlainState::new(), PlainState::new());
    let batch = |model: &mut PlainState, puts: Vec<(u8, u8)>| -> Vec<_> {
        puts.into_iter().map(|(key, value)| model.put(&key.to_string(), &value.to_string())).collect()
    };
    for step in steps {
        match step.clone() {
            StateStep::Apply(puts) if model == ahead => {
                let entries = batch(&mut ahead, puts);
                store.apply(&entries).unwrap();
                other.apply(&entries).unwrap();
                model = ahead.clone();
            }
            StateStep::Apply(puts) | StateStep::Miss(puts) => {
                other.apply(&batch(&mut ahead, puts)).unwrap();
            }
            StateStep::Snapshot => {
                let taken = store.checkpoint().unwrap();
                let made = store.shelf.complete(&taken, b"c".to_vec()).unwrap();
                assert_eq!(made.meta().unwrap().last_log_id, model.last);
            }
            StateStep::Install => {
                let taken = other.checkpoint().unwrap();
                let sent = other.shelf.complete(&taken, b"c".to_vec()).unwrap();
                store.install(&sent).unwrap();
                model = ahead.clone();
            }
            StateStep::Reopen => {
                drop(store);
                store = open(&dir);
            }
        }
        assert_eq!(PlainState::of(&store), model, "after {step:?}");
    }
    assert_eq!(PlainState::of(&other), ahead);
}

#[test]
fn the_state_is_a_map_whatever_is_done_to_it() {
    check("state", 1, vec(state_step(), 1..12), walk_state);
}
