//! Each node tells the others which key backends it can use, whenever that changes.

use std::sync::Arc;
use std::time::Duration;

use signet_model::caller::Caller;
use signet_model::command::Command;
use signet_model::recipient::BackendState;
use signet_raft::Node;
use tokio_util::sync::CancellationToken;

use super::Backends;
use crate::server::ledger;
use crate::server::live::LiveState;

/// Reports until `stop`.
pub(in crate::server) async fn keep(
    node: Node,
    live: Arc<LiveState>,
    backends: Arc<Backends>,
    stop: CancellationToken,
) {
    let (mut changes, mut states) = (live.watch(), backends.watch());
    loop {
        changes.mark_unchanged();
        states.mark_unchanged();
        let mut again = None;
        if let Some((id, backends)) = unreported(&node, &live, &backends) {
            let command = Command::ReportBackends { node: id, backends };
            if let Err(refusal) = ledger::propose_as(&node, Caller::Node { node: id }, command, PATIENCE).await {
                tracing::debug!(%refusal, "not reported which key backends this node can use");
                again = Some(RETRY);
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            changed = states.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(again.unwrap_or(Duration::MAX)), if again.is_some() => {}
        }
    }
}

fn unreported(node: &Node, live: &LiveState, backends: &Backends) -> Option<(u64, Vec<BackendState>)> {
    let (id, live) = (node.identity()?.node_id, live.current()?);
    let now = backends.states();
    let told = live.backends.iter().find(|report| report.node == id);
    // Why it fails is told with the failure; when it is worded otherwise later, that is no news.
    let news = |told: &BackendState, now: &BackendState| {
        told.name != now.name || told.recipient != now.recipient || told.is_usable() != now.is_usable()
    };
    let same = told.is_some_and(|told| {
        told.backends.len() == now.len() && !told.backends.iter().zip(&now).any(|(told, now)| news(told, now))
    });
    (!same).then_some((id, now))
}

const PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(500);
