//! What a backup says of itself.
//!
//! Change log of the stored form:
//! - 2026-11-22: version 1.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use signet_model::time::UnixTime;

use crate::encoding::{StoredLogId, StoredMembershipForm};
use crate::identity::cluster_text;
use crate::state::{SnapshotFile, StateRows};
use crate::types::{PeerNode, StoredMembership};

/// The head of a backup. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct BackupManifest {
    /// The oldest program that can read it: the version of the state's stored form.
    #[n(0)]
    pub min_reader: u32,
    /// The cluster it is of.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub cluster: [u8; 16],
    /// The node that made it.
    #[n(2)]
    pub node: u64,
    /// The last entry that is in it.
    #[n(3)]
    pub last_log_id: StoredLogId,
    /// Who was a member there.
    #[n(4)]
    pub membership: StoredMembershipForm,
    /// Cluster time there.
    #[n(5)]
    pub cluster_time: UnixTime,
    /// The clock of the node that made it.
    #[n(6)]
    pub made_at: UnixTime,
    /// The version of the program that made it.
    #[n(7)]
    pub program: String,
    /// What the operator knows the cluster by: its trust domain.
    #[n(8)]
    pub label: String,
    /// The log's hash chain at the last entry, where it is known.
    #[cbor(n(9), with = "minicbor::bytes")]
    pub chain: Option<Vec<u8>>,
    /// Its files, in the order in which they follow.
    #[n(10)]
    pub files: Vec<SnapshotFile>,
    /// The clusters that this one was made from.
    #[n(11)]
    pub lineage: Vec<Lineage>,
}

/// A cluster that another one was made from. Stored form, here and in the state.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Lineage {
    /// How.
    #[n(0)]
    pub kind: LineageKind,
    /// The older cluster.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub cluster: [u8; 16],
    /// Its last entry that came over.
    #[n(2)]
    pub last_log_id: StoredLogId,
    /// Cluster time there.
    #[n(3)]
    pub cluster_time: UnixTime,
    /// The first node of the newer cluster.
    #[n(4)]
    pub node: u64,
    /// The newer cluster.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub became: [u8; 16],
}

/// How a cluster was made from another one. Stored form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum LineageKind {
    /// From a backup.
    #[n(0)]
    Restored,
    /// From a survivor's data directory.
    #[n(1)]
    Recovered,
}

/// What a snapshot file holds, as its head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The cluster, 32 hexadecimal digits.
    pub cluster_id: String,
    /// The trust domain, or what else the cluster is known by.
    pub label: String,
    /// The node that made it.
    pub node_id: u64,
    /// By that node's clock.
    pub made_at: UnixTime,
    /// The version of the program that made it.
    pub program: String,
    /// The last log entry that is in it.
    pub last_log: LogPlace,
    /// Cluster time there.
    pub cluster_time: UnixTime,
    /// Who voted.
    pub voters: Vec<u64>,
    /// Every member and its peer address.
    pub members: Vec<(u64, String)>,
    /// The log's hash chain at the last entry, 64 hexadecimal digits, where it is known.
    pub chain_hash: Option<String>,
    /// The version of the state's stored form that a program must read.
    pub min_reader: u32,
    /// How many files.
    pub files: usize,
    /// The length of the whole file.
    pub size: u64,
    /// The clusters that this one was made from, oldest first.
    pub ancestors: Vec<Ancestor>,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogPlace {
    /// The term of the leader that ordered it.
    pub term: u64,
    /// That leader.
    pub node: u64,
    /// The index.
    pub index: u64,
}

/// A cluster that another one was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ancestor {
    /// How.
    pub kind: AncestorKind,
    /// The older cluster, 32 hexadecimal digits.
    pub cluster_id: String,
    /// Its last entry that came over.
    pub last_log: LogPlace,
    /// Cluster time there.
    pub cluster_time: UnixTime,
    /// The newer cluster, 32 hexadecimal digits.
    pub became: String,
}

/// How a cluster was made from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AncestorKind {
    /// From a backup.
    Restored,
    /// From a survivor's data directory.
    Recovered,
}

impl AncestorKind {
    /// The word for it, stable for scripts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Recovered => "recovered",
        }
    }
}

impl From<StoredLogId> for LogPlace {
    fn from(id: StoredLogId) -> Self {
        Self { term: id.term, node: id.node, index: id.index }
    }
}

impl From<LogPlace> for StoredLogId {
    fn from(place: LogPlace) -> Self {
        Self { term: place.term, node: place.node, index: place.index }
    }
}

impl From<&Lineage> for Ancestor {
    fn from(lineage: &Lineage) -> Self {
        Self {
            kind: match lineage.kind {
                LineageKind::Restored => AncestorKind::Restored,
                LineageKind::Recovered => AncestorKind::Recovered,
            },
            cluster_id: cluster_text(&lineage.cluster),
            last_log: lineage.last_log_id.into(),
            cluster_time: lineage.cluster_time,
            became: cluster_text(&lineage.became),
        }
    }
}

impl BackupManifest {
    /// What it says, for people. `size` is that of the whole file.
    pub(crate) fn info(&self, size: u64) -> SnapshotInfo {
        let (voters, members) = members(&self.membership);
        SnapshotInfo {
            cluster_id: cluster_text(&self.cluster),
            label: self.label.clone(),
            node_id: self.node,
            made_at: self.made_at,
            program: self.program.clone(),
            last_log: self.last_log_id.into(),
            cluster_time: self.cluster_time,
            voters,
            members: members.into_iter().map(|(id, node)| (id, node.address)).collect(),
            chain_hash: self.chain.as_deref().map(cluster_text),
            min_reader: self.min_reader,
            files: self.files.len(),
            size,
            ancestors: self.lineage.iter().map(Into::into).collect(),
        }
    }

    /// How many bytes its files have together.
    pub(crate) fn files_len(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }

    /// Where it contradicts the rows that came with it.
    pub(crate) fn contradiction(&self, rows: &StateRows) -> Option<String> {
        let last = rows.position.last.as_ref().map(StoredLogId::from);
        if last != Some(self.last_log_id) {
            return Some(format!("its head names the log entry {:?}, its rows {last:?}", self.last_log_id));
        }
        if rows.cluster.as_deref() != Some(self.cluster.as_slice()) {
            return Some("its head and its rows are of two clusters".into());
        }
        if StoredMembershipForm::from(&rows.position.membership) != self.membership {
            return Some("its head and its rows name different members".into());
        }
        (rows.position.time != self.cluster_time).then(|| "its head and its rows stand at different times".into())
    }
}

/// The voters and members of a stored membership; none of one that cannot be.
pub(crate) fn members(form: &StoredMembershipForm) -> (Vec<u64>, Vec<(u64, PeerNode)>) {
    let Ok(stored) = StoredMembership::try_from(form.clone()) else { return (Vec::new(), Vec::new()) };
    let membership = stored.membership();
    (membership.voter_ids().collect(), membership.nodes().map(|(id, node)| (*id, node.clone())).collect())
}
