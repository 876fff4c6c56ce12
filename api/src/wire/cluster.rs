//! The cluster's status.

use crate::proto::cluster as wire;
use crate::proto::cluster::node::Role;
use crate::service::{ClusterStatus, NodeStatus};

/// A status for the wire.
pub(crate) fn from_status(status: ClusterStatus) -> wire::ClusterStatus {
    let node = |node: NodeStatus| wire::Node {
        id: node.id,
        role: ROLES.iter().find(|(name, _)| *name == node.role).map_or(Role::Unspecified, |(_, role)| *role) as i32,
        applied: node.applied,
        lag: node.lag,
        version: node.version,
        peer_address: node.peer_address,
        voter: node.voter,
        last_contact_millis: node.last_contact_millis,
        draining: node.draining,
        clock_ahead_millis: node.clock_ahead_millis,
        disk: node.disk,
    };
    wire::ClusterStatus {
        cluster_id: status.cluster_id,
        trust_domain: status.trust_domain,
        answered_by: status.answered_by,
        leader: status.leader,
        term: status.term,
        stale: status.stale,
        membership: status.membership,
        nodes: status.nodes.into_iter().map(node).collect(),
        notes: status.notes,
    }
}

/// A status from the wire. A role this program does not know is `unreachable`: it cannot be counted on.
pub(crate) fn status(status: wire::ClusterStatus) -> ClusterStatus {
    let node = |node: wire::Node| NodeStatus {
        id: node.id,
        role: ROLES.iter().find(|(_, role)| *role == node.role()).map_or("unreachable", |(name, _)| name),
        applied: node.applied,
        lag: node.lag,
        version: node.version,
        peer_address: node.peer_address,
        voter: node.voter,
        last_contact_millis: node.last_contact_millis,
        draining: node.draining,
        clock_ahead_millis: node.clock_ahead_millis,
        disk: node.disk,
    };
    ClusterStatus {
        cluster_id: status.cluster_id,
        trust_domain: status.trust_domain,
        answered_by: status.answered_by,
        leader: status.leader,
        term: status.term,
        stale: status.stale,
        membership: status.membership,
        nodes: status.nodes.into_iter().map(node).collect(),
        notes: status.notes,
    }
}

const ROLES: [(&str, Role); 4] = [
    ("leader", Role::Leader),
    ("follower", Role::Follower),
    ("learner", Role::Learner),
    ("unreachable", Role::Unreachable),
];
