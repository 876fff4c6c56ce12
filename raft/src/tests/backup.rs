//! Backups of a running cluster, and new clusters made from them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::tests::cluster::{Place, WAIT, cluster, get, put, token};
use crate::{
    Node, OpenedSnapshot, SnapshotError, SnapshotInfo, Timings, check_snapshot, inspect_snapshot, open_snapshot,
    restore_snapshot,
};
use signet_model::rows::{Rows, Space};

/// Saves a snapshot as a file.
pub(crate) async fn save(node: &Node, path: &Path) -> SnapshotInfo {
    let mut saved = node.save_snapshot("example.org", WAIT).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = saved.chunks.recv().await {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(bytes.len() as u64, saved.info.size);
    fs::write(path, bytes).unwrap();
    saved.info
}

fn hex(bytes: [u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn word(opened: &OpenedSnapshot, key: &str) -> Option<Vec<u8>> {
    opened.view().row(Space::Meta, key.as_bytes())
}

/// A node on the directory that [`Place`] would use.
fn data_dir(place: &Path) -> PathBuf {
    place.join("data")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_any_node_holds_every_write_acknowledged_before_it() {
    let places = cluster(3, Timings::lan()).await;
    let dir = tempfile::tempdir().unwrap();
    for (at, place) in places.iter().enumerate() {
        let index = put(places[(at + 1) % 3].node(), "key", &at.to_string()).await;
        let path = dir.path().join(at.to_string());
        let info = save(place.node(), &path).await;
        assert!(info.last_log.index >= index, "{info:?}");
        assert_eq!((info.voters.len(), info.node_id), (3, place.node().identity().unwrap().node_id));
        assert_eq!(inspect_snapshot(&path).unwrap(), info);
        let hash = place.node().hash(Some(info.last_log.index), WAIT).await.unwrap();
        assert!(hash.nodes.iter().any(|(_, hash)| hash.map(hex) == info.chain_hash), "{hash:?} {info:?}");
        assert_eq!(check_snapshot(&path).unwrap(), info);
        let opened = open_snapshot(&path, dir.path()).unwrap();
        assert_eq!(word(&opened, "key").unwrap(), at.to_string().as_bytes());
    }
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "scratch directories go: {left:?}");
    let shelf = data_dir(places[0].dir.path()).join("snapshots");
    let checkpoints = || fs::read_dir(&shelf).unwrap().count();
    crate::tests::cluster::until("the checkpoint to go", || async { checkpoints() == 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_with_any_byte_changed_or_cut_is_refused_by_name_and_place() {
    let places = cluster(1, Timings::lan()).await;
    put(places[0].node(), "a", "1").await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot");
    save(places[0].node(), &path).await;
    let good = fs::read(&path).unwrap();
    let bad = dir.path().join("bad");
    let step = (good.len() / 300).max(1);
    for at in (0..64).chain((64..good.len()).step_by(step)).chain(good.len() - 41..good.len()) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x20;
        fs::write(&bad, &bytes).unwrap();
        let told = check_snapshot(&bad).unwrap_err().to_string();
        assert!(told.contains("bad at byte"), "byte {at} changed: {told}");
        fs::write(&bad, &good[..at]).unwrap();
        assert!(check_snapshot(&bad).is_err(), "cut at {at}");
    }
    fs::write(&bad, [good.as_slice(), b"x"].concat()).unwrap();
    assert!(check_snapshot(&bad).is_err(), "added to");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_cluster_is_a_new_one_with_the_old_state_and_takes_no_old_token() {
    let places = cluster(2, Timings::lan()).await;
    let old = places[0].node();
    put(old, "a", "1").await;
    let unused = token(old).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot");
    let saved = save(places[1].node(), &path).await;
    put(old, "a", "later").await;

    let mut place = Place::unopened();
    let new_dir = data_dir(place.dir.path());
    let restored = restore_snapshot(&path, &new_dir, |_| Ok(())).await.unwrap();
    assert_ne!(restored.cluster_id, saved.cluster_id);
    assert_eq!((restored.node_id, restored.voided_join_tokens), (3, 1));
    assert_eq!(restored.index, saved.last_log.index + 1);

    place.start().await;
    let node = place.node();
    assert_eq!(node.identity().unwrap().cluster_id, restored.cluster_id);
    assert!(node.barrier(WAIT).await.unwrap() > restored.index, "the log goes on");
    assert_eq!(get(node, "a").unwrap(), "1");
    put(node, "b", "2").await;

    // A token of the old cluster does not let anybody in here, used or not.
    let newcomer = Place::open().await;
    let members = node.peer_address();
    assert!(!unused.contains(&members));
    let refused = newcomer.node().join(&unused).await;
    assert!(refused.is_ok(), "it is good at the old cluster, which still runs: {refused:?}");

    // Others join by a token of its own, by snapshot since the log begins late, and get fresh ids.
    let second = Place::open().await;
    let identity = second.node().join(&token(node).await).await.unwrap();
    assert_eq!((identity.cluster_id, identity.node_id), (restored.cluster_id.clone(), 4));
    assert_eq!(get(second.node(), "a").unwrap(), "1");

    // And it survives being restarted, and being backed up again.
    place.kill().await;
    place.start().await;
    place.node().barrier(WAIT).await.unwrap();
    let again = dir.path().join("again");
    let info = save(place.node(), &again).await;
    assert_eq!(info.ancestors.len(), 1);
    assert_eq!(
        (info.ancestors[0].cluster_id.as_str(), info.ancestors[0].kind.as_str()),
        (saved.cluster_id.as_str(), "restored")
    );
    let opened = open_snapshot(&again, dir.path()).unwrap();
    assert_eq!(opened.join_tokens, (0, 2), "used tokens stay used, old and new");
}

#[tokio::test(flavor = "multi_thread")]
async fn restores_into_an_empty_directory_only_and_leaves_nothing_of_a_failure() {
    let places = cluster(1, Timings::lan()).await;
    put(places[0].node(), "a", "1").await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot");
    save(places[0].node(), &path).await;
    let target = dir.path().join("target");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("mine"), "x").unwrap();
    let refused = restore_snapshot(&path, &target, |_| Ok(())).await.unwrap_err();
    assert!(matches!(refused, SnapshotError::NotEmpty { .. }), "{refused}");
    assert!(target.join("mine").exists());
    fs::remove_file(target.join("mine")).unwrap();
    restore_snapshot(&path, &target, |_| Err("the judge says no".into())).await.unwrap_err();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    let bad = dir.path().join("bad");
    fs::write(&bad, bytes).unwrap();
    restore_snapshot(&bad, &target, |_| Ok(())).await.unwrap_err();
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    restore_snapshot(&path, &target, |_| Ok(())).await.unwrap();
}
