//! The watermark: a disk that has lost what it confirmed is noticed.

use std::fs;
use std::path::Path;

use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;

use super::storage::{append, entry};
use super::storage_model::scratch;
use crate::OpenError;
use crate::log::{LogStore, mark_from_slot};
use crate::types::Vote;

/// Copies a directory as it is, logs for people left out.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &target);
        } else if !item.file_name().to_string_lossy().starts_with("LOG") {
            fs::copy(item.path(), target).unwrap();
        }
    }
}

/// A log of ten entries under `one`, and the same with what came later under `two`.
async fn two_ages(one: &Path, two: &Path, later: impl AsyncFnOnce(&mut LogStore)) {
    {
        let mut log = LogStore::open(one).unwrap();
        log.save_vote(&Vote::new(1, 1)).await.unwrap();
        append(&mut log, (0..10).map(|index| entry(index, "put a 1")).collect()).await;
    }
    copy(one, two);
    let mut log = LogStore::open(two).unwrap();
    later(&mut log).await;
}

fn refusal(dir: &Path) -> String {
    match LogStore::open(dir) {
        Err(error @ OpenError::Regressed { .. }) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it opened"),
    }
}

/// Waits until the watermark's file covers entry `index` and the vote of `term`.
pub(crate) async fn written(log: &LogStore, dir: &Path, index: u64, term: u64) {
    super::cluster::until("the mark is written", || async {
        log.peek().write_mark();
        let bytes = fs::read(dir.join("watermark")).unwrap();
        let newest = bytes.chunks(4096).filter_map(mark_from_slot).max_by_key(|(sequence, _)| *sequence);
        let mark = newest.unwrap().1;
        mark.last.is_some_and(|id| id.index == index) && mark.vote.is_some_and(|vote| vote.term == term)
    })
    .await;
}

#[tokio::test]
async fn refuses_a_log_that_has_gone_back_to_an_older_state() {
    let (one, two) = (scratch(), scratch());
    two_ages(one.path(), two.path(), async |log| append(log, vec![entry(10, "put b 1")]).await).await;
    fs::copy(two.path().join("watermark"), one.path().join("watermark")).unwrap();
    let told = refusal(one.path());
    assert!(told.contains("watermark") && told.contains("up to entry 10") && told.contains("ends before entry 10"));
    assert!(told.contains("under a new id"), "{told}");
    LogStore::open(two.path()).unwrap();
}

#[tokio::test]
async fn what_has_gone_back_can_be_read_for_a_recovery_which_is_told_so() {
    let (one, two) = (scratch(), scratch());
    two_ages(one.path(), two.path(), async |log| append(log, vec![entry(10, "put b 1")]).await).await;
    fs::copy(two.path().join("watermark"), one.path().join("watermark")).unwrap();
    refusal(one.path());
    let (mut log, lost) = LogStore::open_survivor(one.path()).unwrap();
    assert!(lost.unwrap().contains("up to entry 10"));
    assert_eq!(log.try_get_log_entries(0..99).await.unwrap().len(), 10);
    let (_, lost) = LogStore::open_survivor(two.path()).unwrap();
    assert_eq!(lost, None);
}

#[tokio::test]
async fn refuses_a_vote_that_has_gone_back() {
    let (one, two) = (scratch(), scratch());
    two_ages(one.path(), two.path(), async |log| log.save_vote(&Vote::new(2, 3)).await.unwrap()).await;
    fs::copy(two.path().join("watermark"), one.path().join("watermark")).unwrap();
    let told = refusal(one.path());
    assert!(told.contains("the vote of term 2 for node 3"), "{told}");
}

#[tokio::test]
async fn refuses_a_log_with_another_history() {
    let (one, two) = (scratch(), scratch());
    two_ages(one.path(), two.path(), async |log| {
        log.truncate_after(Some(entry(8, "").log_id)).await.unwrap();
        append(log, vec![entry(9, "put another 1")]).await;
    })
    .await;
    fs::copy(two.path().join("watermark"), one.path().join("watermark")).unwrap();
    let told = refusal(one.path());
    assert!(told.contains("entry 9 or one before it is not the one"), "{told}");
}

#[tokio::test]
async fn refuses_a_log_whose_watermark_is_gone_or_damaged_in_both_slots() {
    let (one, two) = (scratch(), scratch());
    two_ages(one.path(), two.path(), async |_| {}).await;
    let path = one.path().join("watermark");
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    (bad[100], bad[5000]) = (9, 9);
    fs::write(&path, bad).unwrap();
    let told = LogStore::open(one.path()).err().unwrap().to_string();
    assert!(told.contains("both of its slots"), "{told}");
    fs::remove_file(&path).unwrap();
    let told = LogStore::open(one.path()).err().unwrap().to_string();
    assert!(told.contains("it is missing although the log is there"), "{told}");
    fs::write(&path, good).unwrap();
    LogStore::open(one.path()).unwrap();
}

#[tokio::test]
async fn a_truncated_log_opens_and_so_does_one_that_was_cut_off_between_mark_and_truncation() {
    let (one, two) = (scratch(), scratch());
    two_ages(one.path(), two.path(), async |log| log.truncate_after(Some(entry(3, "").log_id)).await.unwrap()).await;
    // The mark of after with the log of before.
    fs::copy(two.path().join("watermark"), one.path().join("watermark")).unwrap();
    for (dir, len) in [(one, 10), (two, 4)] {
        let mut log = LogStore::open(dir.path()).unwrap();
        assert_eq!(log.try_get_log_entries(0..99).await.unwrap().len(), len);
    }
}

#[tokio::test]
async fn the_mark_is_written_soon_after_the_last_append_without_another_one() {
    let dir = scratch();
    let mut log = LogStore::open(dir.path()).unwrap();
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    append(&mut log, vec![entry(0, "put a 1"), entry(1, "put a 1")]).await;
    written(&log, dir.path(), 1, 1).await;
}
