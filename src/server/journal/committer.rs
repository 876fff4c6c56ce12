//! Sends durable records on to the replicated log, in batches.

use std::time::Duration;

use signet_model::caller::Caller;
use signet_model::command::{Command, Outcome, Proposal};
use signet_model::stored::{from_bytes, to_bytes};
use signet_raft::Node;
use tokio_util::sync::CancellationToken;

use super::Journal;

/// Commits until `stop`, and then what is still waiting, for as long as there is a quorum.
pub(crate) async fn commit(journal: Journal, node: Node, id: u64, stop: CancellationToken) {
    loop {
        let stopping = stop.is_cancelled();
        match commit_one(&journal, &node, id).await {
            // A full batch: there may be more. Otherwise gather for a while.
            Ok(sent) if sent >= FULL => {}
            Ok(0) if stopping => return,
            Ok(0) => {
                tokio::select! {
                    () = journal.backlog.grown.notified() => gather(&stop).await,
                    () = stop.cancelled() => {}
                }
            }
            Ok(_) => gather(&stop).await,
            Err(cause) if stopping => {
                tracing::warn!(%cause, waiting = journal.backlog(), "issuance records stay in this node's journal until it starts again");
                return;
            }
            Err(cause) => {
                tracing::debug!(%cause, "issuance records not replicated yet");
                gather(&stop).await;
            }
        }
    }
}

async fn gather(stop: &CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep(GATHER) => {}
        () = stop.cancelled() => {}
    }
}

/// Commits the oldest batch and returns how many records it had.
async fn commit_one(journal: &Journal, node: &Node, id: u64) -> Result<usize, String> {
    let (first, batch) = {
        let records = journal.backlog.lock();
        (records.first, records.waiting.iter().take(FULL).cloned().collect::<Vec<_>>())
    };
    let count = batch.len();
    let Some(not_after_secs) = batch.iter().map(|record| record.not_after_secs).max() else { return Ok(0) };
    let records = batch.into_iter().map(|waiting| waiting.record.into()).collect();
    let command = Command::RecordIssuance { node: id, first, records, not_after_secs };
    let proposal = Proposal { caller: Caller::Node { node: id }, command, request: None };
    let applied = node.propose(to_bytes(&proposal), TIMEOUT).await.map_err(|cause| cause.to_string())?;
    match from_bytes(&applied.outcome).map_err(|cause| cause.to_string())? {
        Outcome::Recorded { next } => {
            journal.backlog.forget(next);
            Ok(count)
        }
        Outcome::Refused(refusal) => Err(refusal.to_string()),
        Outcome::Done | Outcome::Entries(_) | Outcome::Policy { .. } | Outcome::Remembered { .. } => {
            Err("an answer to another command".to_owned())
        }
    }
}

impl super::Backlog {
    /// Drops what is replicated: everything before `next`.
    pub(super) fn forget(&self, next: u64) {
        let mut records = self.lock();
        while records.first < next && records.waiting.pop_front().is_some() {
            records.first += 1;
        }
    }
}

/// Records in one command at most.
const FULL: usize = 1_024;
const GATHER: Duration = Duration::from_millis(200);
const TIMEOUT: Duration = Duration::from_secs(5);
