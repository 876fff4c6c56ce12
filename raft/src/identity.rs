//! Which node of which cluster a data directory is.

use std::path::{Path, PathBuf};

use minicbor::{Decode, Encode};

use crate::durable;
use crate::encoding::{unversioned, versioned};
use crate::error::OpenError;
use crate::state::Roster;
use crate::types::{PeerNode, Pin};

/// Who this node is. Stored form, in the file `identity`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Record {
    /// The cluster.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub cluster: [u8; 16],
    /// The node.
    #[n(1)]
    pub node: u64,
    /// The key it was registered with.
    #[n(2)]
    pub pin: Pin,
    /// How far it has come.
    #[n(3)]
    pub phase: Phase,
    /// The members it was told when it joined.
    #[n(4)]
    pub told: Vec<(u64, PeerNode)>,
    /// As of here.
    #[n(5)]
    pub told_end: u64,
}

/// How far a node has come in becoming a member. Stored form. Change log: 2026-11-22 phases 0 to 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum Phase {
    /// It is making the cluster.
    #[n(0)]
    Founding,
    /// It is registered and does not vote yet.
    #[n(1)]
    Joining,
    /// It is, or was, a voter: its log and vote must be there.
    #[n(2)]
    Member,
    /// It was removed from the cluster and has learnt of it.
    #[n(3)]
    Removed,
}

impl Record {
    /// Reads the record in `data_dir`, if there is one.
    pub(crate) fn load(data_dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = path(data_dir);
        let damaged = |detail: String| OpenError::Damaged { path: path.clone(), detail };
        let bytes = durable::read(&path).map_err(|cause| damaged(cause.to_string()))?;
        bytes.map(|bytes| unversioned(&bytes).map_err(|cause| damaged(cause.to_string()))).transpose()
    }

    /// Makes it last.
    pub(crate) fn save(&self, data_dir: &Path) -> std::io::Result<()> {
        durable::replace(&path(data_dir), &versioned(self))
    }

    /// What is said of a node that was removed.
    pub(crate) fn removed(&self, data_dir: &Path) -> OpenError {
        OpenError::Removed { cluster_id: self.cluster_id(), node_id: self.node, path: data_dir.to_owned() }
    }

    /// The cluster's id as people see it.
    pub(crate) fn cluster_id(&self) -> String {
        cluster_text(&self.cluster)
    }

    /// The members it was told when it joined.
    pub(crate) fn told(&self) -> Roster {
        self.told.iter().cloned().collect()
    }
}

/// A cluster's id as people see it: 32 hexadecimal digits.
pub(crate) fn cluster_text(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("identity")
}
