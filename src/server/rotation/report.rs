//! Each node tells the others which keys it could sign with.

use std::sync::Arc;
use std::time::Duration;

use signet_model::caller::Caller;
use signet_model::command::{AuthorityRef, Command};
use signet_raft::Node;
use tokio_util::sync::CancellationToken;

use crate::server::keyring::Keys;
use crate::server::ledger;
use crate::server::live::LiveState;

/// Reports what this node has unwrapped, once for each key, until `stop`.
pub(in crate::server) async fn keep(node: Node, live: Arc<LiveState>, keys: Arc<Keys>, stop: CancellationToken) {
    let (mut changes, mut held) = (live.watch(), keys.watch());
    loop {
        changes.mark_unchanged();
        held.mark_unchanged();
        let mut again = None;
        let unreported = unreported(&node, &live, &keys);
        if let Some((id, authorities)) = unreported {
            let command = Command::ReportUnwrapped { node: id, authorities };
            if let Err(refusal) = ledger::propose_as(&node, Caller::Node { node: id }, command, PATIENCE).await {
                tracing::debug!(%refusal, "not reported which keys this node holds");
                again = Some(RETRY);
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            changed = held.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(again.unwrap_or(Duration::MAX)), if again.is_some() => {}
        }
    }
}

fn unreported(node: &Node, live: &LiveState, keys: &Keys) -> Option<(u64, Vec<AuthorityRef>)> {
    let (id, live) = (node.identity()?.node_id, live.current()?);
    let mut held = keys.held();
    held.retain(|key| {
        let authority = live.issuing.iter().find(|one| one.kind == key.kind && one.id == key.id);
        authority.is_some_and(|authority| !authority.life.unwrapped_by.contains(&id))
    });
    (!held.is_empty()).then_some((id, held))
}

const PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(500);
