//! Each node tells the others what only it knows of itself, whenever that changes.

use std::sync::Arc;
use std::time::Duration;

use signet_model::caller::Caller;
use signet_model::command::Command;
use signet_raft::Node;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ledger;
use super::live::{Live, LiveState};

/// Proposes what `unreported` finds for the node of this id, until `stop`: at once, whenever `own` or the replicated state
/// changes, and again when it could not be proposed. `what` completes "not reported …".
pub(super) async fn keep(
    node: Node,
    live: Arc<LiveState>,
    mut own: watch::Receiver<u64>,
    what: &'static str,
    unreported: impl Fn(u64, &Live) -> Option<Command>,
    stop: CancellationToken,
) {
    let mut changes = live.watch();
    loop {
        changes.mark_unchanged();
        own.mark_unchanged();
        let mut again = None;
        let id = node.identity().map(|identity| identity.node_id);
        if let (Some(id), Some(live)) = (id, live.current())
            && let Some(command) = unreported(id, &live)
            && let Err(refusal) = ledger::propose_as(&node, Caller::Node { node: id }, command, PATIENCE).await
        {
            tracing::debug!(%refusal, "not reported {what}");
            again = Some(RETRY);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            changed = own.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(again.unwrap_or(Duration::MAX)), if again.is_some() => {}
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(500);
