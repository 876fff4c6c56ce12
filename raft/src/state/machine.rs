//! The state as openraft wants it.

use std::io;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder};
use tokio::time::Instant;

use super::snapshot::{SnapshotDir, Taken};
use super::store::StateStore;
use crate::blocking::blocking;
use crate::log::size;
use crate::types::{LeaderId, LogId, PeerNode, SnapshotMeta, StoredMembership, TypeConfig};

type Snapshot = openraft::Snapshot<LeaderId, u64, PeerNode, Arc<SnapshotDir>>;

/// Applies what is committed to the state.
pub(crate) struct Machine {
    store: Arc<StateStore>,
    cluster: Vec<u8>,
}

impl Machine {
    /// The machine of `store`, whose snapshots are marked as the cluster's.
    pub(crate) fn new(store: Arc<StateStore>, cluster: Vec<u8>) -> Self {
        Self { store, cluster }
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Arc<SnapshotDir>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let position = self.store.position();
        Ok((position.last, position.membership))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        // Whatever is ready together goes into one batch.
        let mut entries = std::pin::pin!(entries.ready_chunks(BATCH_ENTRIES));
        while let Some(ready) = entries.next().await {
            let mut batch = Vec::with_capacity(ready.len());
            let mut responders = Vec::with_capacity(ready.len());
            for item in ready {
                let (entry, responder) = item?;
                batch.push(entry);
                responders.push(responder);
            }
            let answered: Vec<bool> = responders.iter().map(Option::is_some).collect();
            let small = batch.iter().map(size).sum::<usize>() < LARGE_BATCH;
            let outcomes = if small && !self.store.is_slow() {
                self.store.apply_for(&batch, &answered)?
            } else {
                // Takes long, and nothing else of raft's may wait for it, elections least.
                let store = Arc::clone(&self.store);
                blocking(move || store.apply_for(&batch, &answered)).await?
            };
            for (responder, outcome) in responders.into_iter().zip(outcomes) {
                if let Some(responder) = responder {
                    responder.send(outcome);
                }
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        // Taken here, between two batches, so that it holds exactly what has been applied.
        let store = Arc::clone(&self.store);
        let checkpoint = blocking(move || store.checkpoint()).await;
        Builder { store: Arc::clone(&self.store), cluster: self.cluster.clone(), checkpoint: Some(checkpoint) }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: Arc<SnapshotDir>) -> Result<(), io::Error> {
        let (store, begun, index) = (Arc::clone(&self.store), Instant::now(), meta.last_log_id.map(|id| id.index));
        blocking(move || store.install(&snapshot)).await?;
        tracing::info!(index, took = ?begun.elapsed(), "put a received snapshot in force");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        self.store.shelf.newest().map(|dir| Ok(Snapshot { meta: dir.meta()?, snapshot: dir })).transpose()
    }
}

/// Makes a snapshot of a checkpoint.
pub(crate) struct Builder {
    store: Arc<StateStore>,
    cluster: Vec<u8>,
    checkpoint: Option<io::Result<Taken>>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = Arc<SnapshotDir>;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let taken = self.checkpoint.take().ok_or_else(|| io::Error::other("the checkpoint was used already"))?;
        let taken = taken?;
        let meta = taken.meta.clone();
        let (store, cluster) = (Arc::clone(&self.store), self.cluster.clone());
        let begun = Instant::now();
        let dir = blocking(move || store.shelf.complete(&taken, cluster)).await?;
        let (index, bytes) = (meta.last_log_id.map(|id| id.index), dir.manifest.bytes());
        tracing::info!(index, bytes, took = ?begun.elapsed(), "made a snapshot");
        Ok(Snapshot { meta, snapshot: dir })
    }
}

/// So many entries share one write at most, so that those who wait for the first do not wait for a whole backlog.
const BATCH_ENTRIES: usize = 1024;
/// A batch of so many bytes is applied on a thread of its own. Below it the way there would cost more than it saves.
const LARGE_BATCH: usize = 32 << 10;
