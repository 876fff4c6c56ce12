//! Who asked: proven at a door, carried in every command it causes.

use std::fmt;

use minicbor::{Decode, Encode};

use crate::spiffe_id::SpiffeId;

/// The proven identity behind a request. A node that forwards a request passes this on, never its own. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Caller {
    /// A local user at a node's admin socket, by the kernel's word (`SO_PEERCRED`).
    #[n(0)]
    Local {
        /// The node whose socket it was.
        #[n(0)]
        node: u64,
        /// The user id.
        #[n(1)]
        uid: u32,
        /// The process id.
        #[n(2)]
        pid: i32,
    },
    /// The holder of an X.509-SVID or JWT-SVID.
    #[n(1)]
    Spiffe {
        /// The identity.
        #[n(0)]
        id: SpiffeId,
    },
    /// A node of the cluster on its own account, for upkeep.
    #[n(2)]
    Node {
        /// The node.
        #[n(0)]
        node: u64,
    },
    /// Nobody in particular: no credential was presented.
    #[n(3)]
    Anonymous,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { node, uid, pid } => write!(f, "uid {uid} (pid {pid}) on node {node}"),
            Self::Spiffe { id } => write!(f, "{id}"),
            Self::Node { node } => write!(f, "node {node}"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}
