//! Each node tells the others which key backends it can use, whenever that changes.

use std::sync::Arc;

use signet_model::command::Command;
use signet_model::recipient::BackendState;
use signet_raft::Node;
use tokio_util::sync::CancellationToken;

use super::Backends;
use crate::server::live::{Live, LiveState};
use crate::server::reporting;

/// Reports until `stop`.
pub(in crate::server) async fn keep(
    node: Node,
    live: Arc<LiveState>,
    backends: Arc<Backends>,
    stop: CancellationToken,
) {
    let what = "which key backends this node can use";
    reporting::keep(node, live, backends.watch(), what, |id, live| unreported(id, live, &backends), stop).await;
}

fn unreported(id: u64, live: &Live, backends: &Backends) -> Option<Command> {
    let now = backends.states();
    let told = live.backends.iter().find(|report| report.node == id);
    // Why it fails is told with the failure; when it is worded otherwise later, that is no news.
    let news = |told: &BackendState, now: &BackendState| {
        told.name != now.name || told.recipient != now.recipient || told.is_usable() != now.is_usable()
    };
    let same = told.is_some_and(|told| {
        told.backends.len() == now.len() && !told.backends.iter().zip(&now).any(|(told, now)| news(told, now))
    });
    (!same).then_some(Command::ReportBackends { node: id, backends: now })
}
