//! Each node tells the others which keys it could sign with.

use std::sync::Arc;

use signet_model::command::Command;
use signet_raft::Node;
use tokio_util::sync::CancellationToken;

use crate::server::keyring::Keys;
use crate::server::live::{Live, LiveState};
use crate::server::reporting;

/// Reports what this node has unwrapped, once for each key, until `stop`.
pub(in crate::server) async fn keep(node: Node, live: Arc<LiveState>, keys: Arc<Keys>, stop: CancellationToken) {
    let what = "which keys this node holds";
    reporting::keep(node, live, keys.watch(), what, |id, live| unreported(id, live, &keys), stop).await;
}

fn unreported(id: u64, live: &Live, keys: &Keys) -> Option<Command> {
    let mut held = keys.held();
    held.retain(|key| {
        let authority = live.issuing.iter().find(|one| one.kind == key.kind && one.id == key.id);
        authority.is_some_and(|authority| !authority.life.unwrapped_by.contains(&id))
    });
    (!held.is_empty()).then_some(Command::ReportUnwrapped { node: id, authorities: held })
}
