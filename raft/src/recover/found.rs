//! Founding a new cluster of one on a state that is there already.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use openraft::EntryPayload;
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _};
use signet_model::time::UnixTime;

use crate::backup::{Lineage, LineageKind};
use crate::encoding::entry_to_body;
use crate::identity::{Phase, Record, cluster_text};
use crate::log::{Anchor, Chain, LogStore};
use crate::open::lock;
use crate::peer::PeerKey;
use crate::state::{Generation, Rewrite, StateRows, rewrite};
use crate::types::{LeaderId, LogEntry, LogId, Membership, PeerNode, StoredMembership, Vote};

/// A cluster of one that was just made.
#[derive(Debug, Clone)]
pub(crate) struct NewCluster {
    pub(crate) cluster_id: String,
    pub(crate) node_id: u64,
    pub(crate) index: u64,
    pub(crate) voided_join_tokens: u64,
    pub(crate) cluster_time: UnixTime,
}

/// Turns `data_dir`, which holds the first generation of a state and perhaps a peer key, and nothing else, into the only
/// member of a new cluster.
///
/// - The cluster gets a new id, so that no member of the old one is heard here, nor hears this one.
/// - The node gets an id that no node of the old cluster ever had, so that what is kept by node (the issuance journals'
///   positions) cannot be mixed up.
/// - The log goes on where the state ends, with an entry that makes this node the only voter; indexes are not given twice.
/// - Join tokens that could be used cannot any more; used ones stay used.
///
/// The identity is written last: what a crash leaves is refused at the next start.
pub(crate) async fn found_anew(data_dir: &Path, kind: LineageKind) -> Result<NewCluster, String> {
    let text = |cause: &dyn std::fmt::Display| cause.to_string();
    let _lock = lock(data_dir).map_err(|cause| text(&cause))?;
    let pin = PeerKey::open(data_dir).map_err(|cause| text(&cause))?.pin();
    let root = data_dir.join("state");
    Generation::point(&root, FIRST_GENERATION).map_err(|cause| text(&cause))?;
    let generation = Generation::open(&root, FIRST_GENERATION).map_err(|cause| text(&cause))?;
    let rows = StateRows::read(&generation.db).map_err(|cause| text(&cause))?;
    let end = rows.position.last.ok_or("the state is empty")?;
    let old = rows.cluster.as_deref().and_then(|cluster| cluster.try_into().ok());
    let old: [u8; 16] = old.ok_or("the state is not marked as a cluster's")?;

    let mut cluster = [0; 16];
    aws_lc_rs::rand::fill(&mut cluster).map_err(|cause| text(&cause))?;
    let node = rows.last_node + 1;
    // Not dialled by anybody: the node registers its own address when it runs.
    let peer = PeerNode { address: NO_ADDRESS.to_owned(), pin };
    let leader = LeaderId { term: end.leader_id.term + 1, node_id: node };
    let at = LogId { leader_id: leader, index: end.index + 1 };
    let voters = vec![BTreeSet::from([node])];
    let membership = Membership::new(voters, BTreeMap::from([(node, peer.clone())])).map_err(|cause| text(&cause))?;

    let mut lineage = rows.lineage.clone();
    let last_log_id = (&end).into();
    lineage.push(Lineage { kind, cluster: old, last_log_id, cluster_time: rows.position.time, node, became: cluster });
    let stored = StoredMembership::new(Some(at), membership.clone());
    // The chain goes on; where it is not known, it begins anew.
    let before = rows.position.chain.unwrap_or(Chain::START);
    let first = LogEntry { log_id: at, payload: EntryPayload::Membership(membership) };
    let chain = before.next(&entry_to_body(&first));
    let new = Rewrite { cluster, node, peer: peer.clone(), at, chain, membership: stored, lineage };
    rewrite(&generation.db, &rows, &new)?;
    drop(generation);

    begin_log(data_dir, &cluster, (end, before), first).await?;
    let told = vec![(node, peer)];
    let record = Record { cluster, node, pin, phase: Phase::Member, told, told_end: at.index + 1 };
    record.save(data_dir).map_err(|cause| text(&cause))?;
    Ok(NewCluster {
        cluster_id: cluster_text(&cluster),
        node_id: node,
        index: at.index,
        voided_join_tokens: rows.tokens.0,
        cluster_time: rows.position.time,
    })
}

/// A log that begins behind `end` with `first`.
async fn begin_log(data_dir: &Path, cluster: &[u8], end: (LogId, Chain), first: LogEntry) -> Result<(), String> {
    let anchor = Arc::new(Anchor::default());
    anchor.set(Some(end));
    let mut log = LogStore::open(data_dir).map_err(|cause| cause.to_string())?;
    log.follow(anchor);
    log.set_cluster(cluster);
    let vote = Vote { leader_id: first.log_id.leader_id, committed: false };
    log.save_vote(&vote).await.map_err(|cause| cause.to_string())?;
    log.purge(end.0).await.map_err(|cause| cause.to_string())?;
    log.blocking_append([first]).await.map_err(|cause| cause.to_string())
}

const FIRST_GENERATION: u64 = 1;
/// A name that cannot exist (RFC 6761 §6.4).
const NO_ADDRESS: &str = "unregistered.invalid:1";
