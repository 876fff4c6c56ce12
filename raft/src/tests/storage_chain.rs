//! Checksums and the hash chain: damage is told and never used, and replicas can compare themselves.

use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;
use rocksdb::DB;

use super::cluster::{WAIT, cluster, put, until};
use super::storage::{append, entry};
use crate::Timings;
use crate::log::{Anchor, Chain, LogStore, entry_key};

fn change_row(dir: &std::path::Path, index: u64, change: impl FnOnce(&mut Vec<u8>)) {
    let db = DB::open_default(dir.join("log")).unwrap();
    let mut row = db.get(entry_key(index)).unwrap().unwrap();
    change(&mut row);
    db.put(entry_key(index), row).unwrap();
}

async fn ten(dir: &std::path::Path) {
    let mut log = LogStore::open(dir).unwrap();
    log.save_vote(&crate::types::Vote::new(1, 1)).await.unwrap();
    append(&mut log, (0..10).map(|index| entry(index, "put a 1")).collect()).await;
}

#[tokio::test]
async fn a_changed_byte_of_an_entry_is_told_with_its_index_when_the_log_opens() {
    let dir = tempfile::tempdir().unwrap();
    ten(dir.path()).await;
    let len = { DB::open_default(dir.path().join("log")).unwrap().get(entry_key(4)).unwrap().unwrap().len() };
    for at in 0..len {
        change_row(dir.path(), 4, |row| row[at] ^= 0x10);
        let told = LogStore::open(dir.path()).err().unwrap().to_string();
        assert!(told.contains("log entry 4"), "byte {at}: {told}");
        change_row(dir.path(), 4, |row| row[at] ^= 0x10);
    }
    LogStore::open(dir.path()).unwrap();
}

#[tokio::test]
async fn an_entry_that_is_damaged_while_the_log_is_open_is_not_given_out() {
    let dir = tempfile::tempdir().unwrap();
    ten(dir.path()).await;
    let mut log = LogStore::open(dir.path()).unwrap();
    // So many behind it that the damaged one is read from disk.
    append(&mut log, (10..20_000).map(|index| entry(index, "put a 1")).collect()).await;
    log.damage(4);
    let told = log.try_get_log_entries(0..8).await.unwrap_err().to_string();
    assert!(told.contains("log entry 4") && told.contains("join again"), "{told}");
    assert_eq!(log.try_get_log_entries(0..4).await.unwrap().len(), 4);
}

#[tokio::test]
async fn an_entry_in_anothers_place_breaks_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    ten(dir.path()).await;
    let other = crate::encoding::entry_to_body(&entry(4, "put a 2"));
    change_row(dir.path(), 4, |row| *row = crate::log::write_entry(4, Some(Chain([7; 32])), &other));
    let told = LogStore::open(dir.path()).err().unwrap().to_string();
    assert!(told.contains("log entry 4") && told.contains("does not follow"), "{told}");
}

#[tokio::test]
async fn the_chain_goes_on_behind_an_installed_snapshot_and_over_a_purge() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    ten(one.path()).await;
    let mut whole = LogStore::open(one.path()).unwrap();
    append(&mut whole, (10..20).map(|index| entry(index, "put b 1")).collect()).await;
    let mut late = LogStore::open(two.path()).unwrap();
    late.save_vote(&crate::types::Vote::new(1, 1)).await.unwrap();
    let anchor = std::sync::Arc::new(Anchor::default());
    late.follow(anchor.clone());
    let at = entry(14, "").log_id;
    anchor.set(Some((at, whole.chain_at(14).unwrap().unwrap())));
    late.purge(at).await.unwrap();
    append(&mut late, (15..20).map(|index| entry(index, "put b 1")).collect()).await;
    for index in 14..20 {
        assert_eq!(late.chain_at(index).unwrap(), whole.chain_at(index).unwrap());
        assert!(late.chain_at(index).unwrap().is_some());
    }
    whole.purge(entry(16, "").log_id).await.unwrap();
    append(&mut whole, vec![entry(20, "get a")]).await;
    append(&mut late, vec![entry(20, "get a")]).await;
    assert_eq!(late.chain_at(20).unwrap(), whole.chain_at(20).unwrap());
    assert_eq!(whole.chain_at(15).unwrap(), None, "purged");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_cluster_have_the_same_hash_also_behind_a_snapshot() {
    let timings = Timings { snapshot_every: 50, log_kept: 10, ..Timings::lan() };
    let mut places = cluster(3, timings).await;
    places[2].kill().await;
    for at in 0..200 {
        put(places[0].node(), &format!("key{at}"), "1").await;
    }
    places[2].start().await;
    let node = places[2].node();
    until("it has caught up", || async { node.barrier(WAIT).await.is_ok() }).await;
    let last = put(places[1].node(), "last", "1").await;
    until("all have applied it", || async {
        let hash = node.hash(None, WAIT).await.unwrap();
        assert!(hash.agree, "{hash:?}");
        hash.index >= last && hash.nodes.len() == 3 && hash.nodes.iter().all(|(_, hash)| hash.is_some())
    })
    .await;
    let before = node.hash(Some(last), WAIT).await.unwrap();
    assert!(before.agree && before.nodes.iter().all(|(_, hash)| hash.is_some()), "{before:?}");
    assert_eq!(node.hash(Some(u64::MAX), WAIT).await.unwrap().nodes[0].1, None);
}
