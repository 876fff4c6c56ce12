//! What is acknowledged is on disk, and in order.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;

use super::cluster::until;
use super::gate::Gate;
use super::storage::{append, entry};
use super::storage_model::scratch;
use crate::log::LogStore;
use crate::types::{TypeConfig, Vote};

fn is_done(future: std::pin::Pin<&mut impl Future>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[tokio::test]
async fn entries_are_acknowledged_when_they_are_on_disk_and_in_order() {
    let dir = scratch();
    let mut log = LogStore::open(dir.path()).unwrap();
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    append(&mut log, vec![entry(0, "put a 1")]).await;
    let gate = Gate::shut(dir.path());
    let mut acknowledged = FuturesUnordered::new();
    for index in 1..20 {
        let (done, finished) = TypeConfig::oneshot();
        log.append([entry(index, "put a 1")], IOFlushed::signal(done)).await.unwrap();
        acknowledged.push(async move {
            finished.await.unwrap().unwrap();
            index
        });
    }
    // Also registers who is to be woken, which gives the order below.
    assert!(matches!(acknowledged.poll_next_unpin(&mut Context::from_waker(Waker::noop())), Poll::Pending));
    until("the log's thread waits for its disk", async || gate.is_waited_at()).await;
    let early = acknowledged.poll_next_unpin(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(early, Poll::Pending), "acknowledged before it was on disk: {early:?}");
    gate.open();
    let order: Vec<u64> = acknowledged.collect().await;
    assert_eq!(order, (1..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_vote_is_answered_when_it_is_on_disk() {
    let dir = scratch();
    let mut log = LogStore::open(dir.path()).unwrap();
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    let gate = Gate::shut(dir.path());
    let vote = Vote::new(2, 1);
    let mut saved = pin!(log.save_vote(&vote));
    assert!(!is_done(saved.as_mut()), "answered before it was on disk");
    until("the log's thread waits for its disk", async || gate.is_waited_at()).await;
    assert!(!is_done(saved.as_mut()), "answered before it was on disk");
    gate.open();
    saved.await.unwrap();
}
