//! What runs beside the requests: lease, keys, certificate, journal, joining.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use signet_api::tls::Tls;
use signet_model::state;
use signet_raft::{JoinError, Node};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use super::config::Config;
use super::issue::Issuer;
use super::journal::{self, Journal};
use super::{disk, identity, keyring, lease, memory, rotation};

/// Starts everything that runs until `stop`.
pub(super) fn start(
    tasks: &TaskTracker,
    config: &Config,
    node: &Node,
    issuer: &Arc<Issuer>,
    tls: &Arc<Tls>,
    stop: &CancellationToken,
) {
    let (the_issuer, the_stop) = (issuer.clone(), stop.clone());
    tasks.spawn(async move { keyring::keep(&the_issuer.keys, &the_issuer.live, the_stop).await });
    tasks.spawn(rotation::report(node.clone(), issuer.live.clone(), issuer.keys.clone(), stop.clone()));

    let (the_issuer, the_node, the_stop) = (issuer.clone(), node.clone(), stop.clone());
    tasks.spawn(async move {
        let live = the_issuer.live.clone();
        let length = move || live.current().map(|live| Duration::from_secs(live.settings.lease_secs.into()));
        lease::keep(&the_issuer.lease, &the_node, length, the_stop).await;
    });

    tasks.spawn(disk::keep(issuer.disk.clone(), node.clone(), stop.clone()));
    tasks.spawn(memory::keep(stop.clone()));

    let (dir, names) = (config.data_dir.join(journal::DIR), config.https.clone());
    let (issuer, node, tls, stop) = (issuer.clone(), node.clone(), tls.clone(), stop.clone());
    let more = tasks.clone();
    tasks.spawn(async move {
        let Some((journal, id)) = open_journal(&dir, &node, &stop).await else { return };
        more.spawn(journal::commit(journal.clone(), node, id, stop.clone()));
        // Set once: this is the only place.
        let _ = issuer.journal.set(journal);
        identity::keep(issuer, tls, names, id, stop).await;
    });
}

/// Opens the journal once this node is a member and its state is no longer behind: positions that were replicated must
/// never be given again.
async fn open_journal(dir: &Path, node: &Node, stop: &CancellationToken) -> Option<(Journal, u64)> {
    while !stop.is_cancelled() {
        if let Some(identity) = node.identity()
            && node.barrier(BARRIER).await.is_ok()
        {
            let committed = state::committed_position(&node.view(), identity.node_id);
            let opened = match committed {
                Ok(committed) => Journal::open(dir, committed).map_err(|cause| cause.to_string()),
                Err(cause) => Err(cause.to_string()),
            };
            match opened {
                Ok(journal) => return Some((journal, identity.node_id)),
                Err(cause) => tracing::error!("this node does not issue: {cause}"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(RETRY) => {}
        }
    }
    None
}

/// Joins by the token in `file`, if there is one and this node is not a member yet; says so while it waits otherwise.
pub(super) async fn join(node: &Node, file: Option<&Path>) -> anyhow::Result<()> {
    if let Some(identity) = node.identity() {
        tracing::info!(node = identity.node_id, cluster = %identity.cluster_id, "this node is a member");
        return of_this_cluster(node, file).await;
    }
    let Some(file) = file else {
        tracing::info!(
            "waiting: this node belongs to no cluster; make one with `signet cluster init`, or start the node again with --join-token-file"
        );
        return Ok(());
    };
    let text = std::fs::read_to_string(file)
        .map(Zeroizing::new)
        .with_context(|| format!("cannot read the join token file {}", file.display()))?;
    loop {
        match node.join(&text).await {
            Ok(identity) => {
                tracing::info!(node = identity.node_id, cluster = %identity.cluster_id, "joined");
                return Ok(());
            }
            Err(cause @ (JoinError::Unreachable(_) | JoinError::Unfinished { .. })) => {
                tracing::warn!("{cause}; trying again");
                tokio::time::sleep(RETRY_JOIN).await;
            }
            Err(cause) => return Err(cause).with_context(|| format!("join token file {}", file.display())),
        }
    }
}

/// A token says which cluster the operator meant. A member needs it no more, so it may be used, expired or gone; but one
/// of another cluster means that this is not the data directory they think.
async fn of_this_cluster(node: &Node, file: Option<&Path>) -> anyhow::Result<()> {
    let Some(text) = file.and_then(|file| std::fs::read_to_string(file).map(Zeroizing::new).ok()) else {
        return Ok(());
    };
    match node.join(&text).await {
        Err(cause @ JoinError::OtherCluster { .. }) => Err(cause.into()),
        Ok(_) | Err(_) => Ok(()),
    }
}

const BARRIER: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(100);
const RETRY_JOIN: Duration = Duration::from_secs(1);
