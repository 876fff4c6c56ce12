//! Snapshots on their way and their installation: what has arrived is not sent again, and nothing half done is seen.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::machine::Words;
use super::storage_model::{PlainState, scratch};
use super::storage_watermark::copy;
use crate::peer::proto::{SnapshotPart, snapshot_part::Part};
use crate::peer::{pieces, receive};
use crate::state::{SnapshotDir, StateStore};

fn open(dir: &tempfile::TempDir) -> StateStore {
    StateStore::open(dir.path(), Arc::new(Words::default())).unwrap()
}

/// A state with about a mebibyte of rows, and its snapshot.
fn source(dir: &tempfile::TempDir, model: &mut PlainState, rounds: u64) -> Arc<SnapshotDir> {
    let store = open(dir);
    for round in 0..rounds {
        let entries: Vec<_> =
            (0..32).map(|at| model.put(&format!("key{round}-{at}"), &"x".repeat(5000 + at * 7))).collect();
        store.apply(&entries).unwrap();
        store.settle();
    }
    let taken = store.checkpoint().unwrap();
    store.shelf.complete(&taken, b"c".to_vec()).unwrap()
}

/// What is sent of `snapshot`, ending with a broken connection after `limit` bytes; counts into `sent`.
fn broken_off(
    snapshot: &Arc<SnapshotDir>,
    have: Vec<u64>,
    limit: u64,
    sent: &mut u64,
) -> impl Stream<Item = Result<SnapshotPart, Status>> + Unpin + use<> {
    let all: Vec<Bytes> = futures::executor::block_on(pieces(Arc::clone(snapshot), have).map(Result::unwrap).collect());
    let mut parts = Vec::new();
    let mut left = limit;
    // In smaller pieces than they come in, so that a file is broken off in its middle.
    for piece in all.iter().flat_map(|piece| piece.chunks(30_000)) {
        if left < piece.len() as u64 {
            parts.push(Err(Status::unavailable("the connection was lost")));
            break;
        }
        left -= piece.len() as u64;
        *sent += piece.len() as u64;
        parts.push(Ok(SnapshotPart { part: Some(Part::Data(Bytes::copy_from_slice(piece))) }));
    }
    futures::stream::iter(parts)
}

#[tokio::test]
async fn a_transfer_that_is_broken_off_again_and_again_sends_every_byte_once() {
    let (from, to) = (scratch(), scratch());
    let mut model = PlainState::new();
    let snapshot = source(&from, &mut model, 6);
    let mut store = open(&to);
    let (mut sent, mut rounds) = (0, 0);
    let dir = loop {
        rounds += 1;
        if rounds % 3 == 0 {
            // A restart of the receiver in between.
            drop(store);
            store = open(&to);
        }
        let _turn = store.shelf.incoming.turn().await;
        let partial = store.shelf.partial(snapshot.manifest.clone()).unwrap();
        let have = partial.have().unwrap();
        let mut parts = broken_off(&snapshot, have.clone(), 100_000, &mut sent);
        match receive(&partial, &have, &mut parts, &CancellationToken::new()).await {
            Ok(()) => break partial.finish(store.shelf.scratch().unwrap()).unwrap(),
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
    };
    assert!(rounds > 5, "{rounds}");
    assert_eq!(sent, snapshot.manifest.bytes());
    store.install(&dir).unwrap();
    assert_eq!(PlainState::of(&store), model);
}

#[tokio::test]
async fn a_newer_snapshot_takes_over_the_files_that_are_the_same() {
    let (from, to) = (scratch(), scratch());
    let mut model = PlainState::new();
    let first = source(&from, &mut model, 6);
    let store = open(&to);
    let mut sent = 0;
    let partial = store.shelf.partial(first.manifest.clone()).unwrap();
    let have = partial.have().unwrap();
    let mut parts = broken_off(&first, have.clone(), first.manifest.bytes() * 2 / 3, &mut sent);
    receive(&partial, &have, &mut parts, &CancellationToken::new()).await.unwrap_err();
    let second = source(&from, &mut model, 1);
    let partial = store.shelf.partial(second.manifest.clone()).unwrap();
    let have = partial.have().unwrap();
    assert!(have.iter().sum::<u64>() > first.manifest.bytes() / 3, "{have:?}");
    let mut parts = broken_off(&second, have.clone(), u64::MAX, &mut sent);
    receive(&partial, &have, &mut parts, &CancellationToken::new()).await.unwrap();
    assert!(sent < first.manifest.bytes() / 2 + second.manifest.bytes(), "{sent}");
    store.install(&partial.finish(store.shelf.scratch().unwrap()).unwrap()).unwrap();
    assert_eq!(PlainState::of(&store), model);
    let left = fs::read_dir(to.path().join("snapshots")).unwrap().map(|item| item.unwrap().path());
    assert_eq!(left.filter(|path| path.extension().is_some_and(|it| it == "part")).count(), 0);
}

#[tokio::test]
async fn a_file_that_arrives_damaged_is_refused_and_sent_again() {
    let (from, to) = (scratch(), scratch());
    let mut model = PlainState::new();
    let snapshot = source(&from, &mut model, 2);
    let store = open(&to);
    let mut damaged = false;
    for _ in 0..2 {
        let partial = store.shelf.partial(snapshot.manifest.clone()).unwrap();
        let have = partial.have().unwrap();
        let mut parts = broken_off(&snapshot, have.clone(), u64::MAX, &mut 0).map(|part| match part {
            Ok(SnapshotPart { part: Some(Part::Data(data)) }) if !damaged => {
                damaged = true;
                let mut data = data.to_vec();
                data[7] ^= 1;
                Ok(SnapshotPart { part: Some(Part::Data(data.into())) })
            }
            other => other,
        });
        match receive(&partial, &have, &mut parts, &CancellationToken::new()).await {
            Err(status) => assert_eq!(status.code(), Code::DataLoss),
            Ok(()) => {
                store.install(&partial.finish(store.shelf.scratch().unwrap()).unwrap()).unwrap();
                assert_eq!(PlainState::of(&store), model);
                return;
            }
        }
    }
    panic!("the second try did not succeed");
}

#[tokio::test]
async fn a_new_transfer_ends_one_that_hangs() {
    let (from, to) = (scratch(), scratch());
    let snapshot = source(&from, &mut PlainState::new(), 1);
    let store = Arc::new(open(&to));
    let hanging = {
        let (store, snapshot) = (Arc::clone(&store), Arc::clone(&snapshot));
        tokio::spawn(async move {
            let turn = store.shelf.incoming.turn().await;
            let partial = store.shelf.partial(snapshot.manifest.clone()).unwrap();
            let have = partial.have().unwrap();
            receive(&partial, &have, &mut futures::stream::pending(), &turn.over).await
        })
    };
    super::cluster::until("it hangs", || async { fs::read_dir(to.path().join("snapshots")).unwrap().count() == 1 })
        .await;
    let _turn = store.shelf.incoming.turn().await;
    assert_eq!(hanging.await.unwrap().unwrap_err().code(), Code::Aborted);
}

#[test]
fn a_crash_between_the_steps_of_an_installation_leaves_the_old_state_or_the_new_one() {
    let (from, to) = (scratch(), scratch());
    let mut new = PlainState::new();
    let snapshot = source(&from, &mut new, 2);
    let store = open(&to);
    let mut old = PlainState::new();
    store.apply(&[old.put("a", "1"), old.put("b", "2")]).unwrap();
    let mut images = Vec::new();
    store
        .install_in_steps(&snapshot, |step| {
            let image = scratch();
            copy(to.path(), image.path());
            images.push((step.to_owned(), image));
        })
        .unwrap();
    assert_eq!(PlainState::of(&store), new);
    let steps: Vec<_> = images.iter().map(|(step, _)| step.as_str()).collect();
    assert_eq!(steps, ["begun", "files", "opened", "pointed", "swapped", "shelved"]);
    for (step, image) in images {
        let expected = if ["begun", "files", "opened"].contains(&step.as_str()) { &old } else { &new };
        for _ in 0..2 {
            let mut store = open(&image);
            assert_eq!(&PlainState::of(&store), expected, "{step}");
            // And it can be installed again.
            if expected == &old {
                let again = scratch();
                copy(image.path(), again.path());
                store = open(&again);
                store.install(&snapshot).unwrap();
                assert_eq!(PlainState::of(&store), new, "{step}, again");
            }
        }
        let left = fs::read_dir(image.path().join("state")).unwrap().count();
        assert_eq!(left, 2, "{step}: the pointer and one generation remain");
    }
}
