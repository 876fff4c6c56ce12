//! openraft's own suite on our stores, and what it does not ask.

use std::sync::Arc;

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::{RaftLogReader, StorageError};
use signet_model::rows::{Rows, Space};
use signet_model::time::UnixTime;

use super::machine::Words;
use crate::log::LogStore;
use crate::state::{Machine, StateStore};
use crate::types::{LeaderId, LogEntry, LogId, Order, Proposal, TypeConfig, Vote};

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Machine, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, Machine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let log = LogStore::open(dir.path()).unwrap();
        let state = StateStore::open(dir.path(), Arc::new(Words::default())).unwrap();
        Ok((dir, log, Machine::new(Arc::new(state), b"c".to_vec())))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_openrafts_own_storage_suite() {
    Suite::test_all(Builder).await.unwrap();
}

pub(crate) fn entry(index: u64, command: &str) -> LogEntry {
    LogEntry {
        log_id: LogId { leader_id: LeaderId { term: 1, node_id: 1 }, index },
        payload: EntryPayload::Normal(Proposal {
            stamp: UnixTime::from_millis(index * 10),
            order: Order::Application(Bytes::copy_from_slice(command.as_bytes())),
        }),
    }
}

pub(crate) async fn append(log: &mut LogStore, entries: Vec<LogEntry>) {
    let (done, finished) = TypeConfig::oneshot();
    log.append(entries, IOFlushed::signal(done)).await.unwrap();
    finished.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_log_comes_back_after_reopening_with_its_vote_and_without_holes() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut log = LogStore::open(dir.path()).unwrap();
        log.save_vote(&Vote::new(3, 2)).await.unwrap();
        append(&mut log, (0..10).map(|index| entry(index, "put a 1")).collect()).await;
        log.purge(entry(3, "").log_id).await.unwrap();
        log.truncate_after(Some(entry(7, "").log_id)).await.unwrap();
        append(&mut log, vec![entry(8, "put b 2")]).await;
    }
    let mut log = LogStore::open(dir.path()).unwrap();
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(3, 2)));
    let entries = log.try_get_log_entries(0..100).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.log_id.index).collect::<Vec<_>>(), [4, 5, 6, 7, 8]);
    assert_eq!(entries[4], entry(8, "put b 2"));
    assert_eq!(log.get_log_state().await.unwrap().last_purged_log_id, Some(entry(3, "").log_id));
}

#[tokio::test]
async fn refuses_a_log_whose_vote_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    {
        let mut log = LogStore::open(dir.path()).unwrap();
        log.save_vote(&Vote::new(1, 1)).await.unwrap();
        append(&mut log, vec![entry(0, "put a 1")]).await;
    }
    std::fs::remove_file(dir.path().join("vote")).unwrap();
    let error = LogStore::open(dir.path()).err().unwrap().to_string();
    assert!(error.contains("vote"), "{error}");
}

#[tokio::test]
async fn one_message_to_a_follower_is_bounded_in_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    let large = format!("put a {}", "x".repeat(400 << 10));
    append(&mut log, (0..10).map(|index| entry(index, &large)).collect()).await;
    let some = log.limited_get_log_entries(0, 10).await.unwrap();
    assert_eq!(some.len(), 3, "three entries of 400 KiB pass the limit of 1 MiB");
}

#[test]
fn a_command_sees_the_earlier_ones_of_its_batch_and_views_stay_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let machine = Arc::new(Words::default());
    let state = StateStore::open(dir.path(), machine.clone()).unwrap();
    let before = state.view();
    let outcomes = state.apply(&[entry(0, "put a 1"), entry(1, "put a 2"), entry(2, "get a")]).unwrap();
    assert_eq!(outcomes.iter().map(|outcome| outcome.body.as_ref()).collect::<Vec<_>>(), [b"".as_ref(), b"1", b"2"]);
    assert_eq!(outcomes[2].at, UnixTime::from_millis(20));
    assert_eq!(before.row(Space::Meta, b"a"), None);
    let after = state.view();
    assert_eq!(after.row(Space::Meta, b"a").unwrap(), b"2");
    assert_eq!(after.end(), 3);
    let told = machine.told.lock().unwrap();
    assert_eq!(told[0].1.len(), Space::ALL.len(), "at start, every space");
    assert_eq!(told[1], (2, [Space::Meta].into()));
}

#[test]
fn cluster_time_never_runs_backwards() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateStore::open(dir.path(), Arc::new(Words::default())).unwrap();
    let mut late = entry(1, "put a 2");
    late.payload = EntryPayload::Normal(Proposal {
        stamp: UnixTime::from_millis(3),
        order: Order::Application(Bytes::from_static(b"put a 2")),
    });
    let mut first = entry(0, "put a 1");
    first.payload = EntryPayload::Normal(Proposal {
        stamp: UnixTime::from_millis(50),
        order: Order::Application(Bytes::from_static(b"put a 1")),
    });
    let outcomes = state.apply(&[first, late]).unwrap();
    assert_eq!(outcomes[1].at, UnixTime::from_millis(50));
}

#[test]
fn a_scan_merges_what_is_stored_with_what_is_being_changed() {
    use signet_model::rows::RowsMut;

    let dir = tempfile::tempdir().unwrap();
    let db = rocksdb::DB::open_default(dir.path()).unwrap();
    let mut rows = crate::state::Overlay::new(&db);
    let mut model = signet_model::rows::MemoryRows::default();
    for (index, key) in ["a", "ab", "abc", "b", "ba"].iter().enumerate() {
        rows.put(Space::Entries, key.as_bytes(), vec![1]);
        model.put(Space::Entries, key.as_bytes(), vec![1]);
        if index == 2 {
            db.write(std::mem::replace(&mut rows, crate::state::Overlay::new(&db)).into_batch().0).unwrap();
        }
    }
    rows.delete(Space::Entries, b"ab");
    model.delete(Space::Entries, b"ab");
    rows.put(Space::Meta, b"a", vec![9]);
    for prefix in [b"".as_ref(), b"a", b"ab", b"b", b"x"] {
        for after in [None, Some(b"".as_ref()), Some(b"a"), Some(b"aa"), Some(b"b")] {
            for limit in [0, 1, 2, 10] {
                assert_eq!(
                    rows.scan(Space::Entries, prefix, after, limit),
                    model.scan(Space::Entries, prefix, after, limit),
                    "{prefix:?} {after:?} {limit}"
                );
            }
        }
    }
}

#[test]
fn a_snapshot_installs_as_a_new_generation_that_survives_reopening() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = StateStore::open(from.path(), Arc::new(Words::default())).unwrap();
    source.apply(&[entry(0, "put a 1"), entry(1, "put b 2")]).unwrap();
    let taken = source.checkpoint().unwrap();
    let meta = taken.meta.clone();
    let snapshot = source.shelf.complete(&taken, b"c".to_vec()).unwrap();
    {
        let target = StateStore::open(to.path(), Arc::new(Words::default())).unwrap();
        target.apply(&[entry(0, "put old 1")]).unwrap();
        let view = target.view();
        target.install(&snapshot).unwrap();
        assert_eq!(view.row(Space::Meta, b"old").unwrap(), b"1", "an older view stays readable");
        assert_eq!(target.view().row(Space::Meta, b"b").unwrap(), b"2");
        assert_eq!(target.view().row(Space::Meta, b"old"), None);
    }
    let target = StateStore::open(to.path(), Arc::new(Words::default())).unwrap();
    assert_eq!(target.position().last, meta.last_log_id);
    assert_eq!(target.view().row(Space::Meta, b"a").unwrap(), b"1");
    assert!(!to.path().join("state/1").exists(), "the old generation is gone");
    assert!(target.shelf.newest().is_some());
}
