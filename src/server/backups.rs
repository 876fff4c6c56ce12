//! Backups of the replicated state: handed out when an operator asks, and taken on a schedule.

mod credentials;
mod folder;
mod name;
mod s3;
mod schedule;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use signet_api::service::{BackupStatus, Call, SnapshotStream};
use signet_model::refusal::{Reason, Refusal};
use signet_raft::{Node, SaveError, SavedSnapshot};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::ledger;
use super::live::LiveState;

pub(crate) use schedule::Schedule;

/// Takes snapshots.
#[derive(Debug)]
pub(crate) struct Backups {
    node: Node,
    live: Arc<LiveState>,
    /// Each holds disk space and reads the whole state.
    at_once: Arc<Semaphore>,
    /// `None` where none is configured.
    pub(crate) schedule: Option<Schedule>,
}

impl Backups {
    pub(crate) fn new(node: Node, live: Arc<LiveState>, schedule: Option<Schedule>) -> Self {
        Self { node, live, at_once: Arc::new(Semaphore::new(AT_ONCE)), schedule }
    }

    /// A snapshot for whoever asked.
    pub(crate) async fn save(&self, call: &Call) -> Result<SnapshotStream, Refusal> {
        let permit = Arc::clone(&self.at_once).try_acquire_owned().map_err(|_| {
            let detail =
                format!("{AT_ONCE} snapshots are being saved on this node already; wait for one, or ask another node");
            Refusal::new(Reason::ResourceExhausted, detail)
        })?;
        let saved = self.take(ledger::timeout(call)).await?;
        tracing::info!(caller = %call.caller, index = saved.info.last_log.index, bytes = saved.info.size, "saving a snapshot");
        Ok(SnapshotStream { total: saved.info.size, chunks: chunks(saved, permit) })
    }

    /// Begins a snapshot.
    async fn take(&self, timeout: Duration) -> Result<SavedSnapshot, Refusal> {
        let label = self.live.current().map(|live| live.settings.trust_domain.to_string()).unwrap_or_default();
        self.node.save_snapshot(&label, timeout).await.map_err(|error| match error {
            SaveError::Barrier(cause) => ledger::not_read(cause),
            SaveError::Checkpoint(cause) => {
                tracing::error!(%cause, "cannot take a checkpoint of the state");
                Refusal::new(
                    Reason::Internal,
                    format!(
                        "this node cannot take a checkpoint of its state: {cause}; check its disk, or ask another node"
                    ),
                )
            }
        })
    }

    /// Takes the scheduled ones until `stop`.
    pub(crate) async fn keep_schedule(&self, stop: CancellationToken) {
        if let Some(schedule) = &self.schedule {
            schedule.keep(self, stop).await;
        }
    }

    /// How the scheduled ones go.
    pub(crate) fn status(&self) -> BackupStatus {
        self.schedule.as_ref().map(Schedule::status).unwrap_or_default()
    }
}

fn chunks(
    saved: SavedSnapshot,
    permit: OwnedSemaphorePermit,
) -> futures::stream::BoxStream<'static, Result<bytes::Bytes, Refusal>> {
    let stream = ReceiverStream::new(saved.chunks).map(move |chunk| {
        let _held = &permit;
        chunk.map_err(|cause| {
            Refusal::new(
                Reason::Internal,
                format!("this node cannot read its own snapshot: {cause}; check its disk, or ask another node"),
            )
        })
    });
    Box::pin(stream)
}

const AT_ONCE: usize = 2;
