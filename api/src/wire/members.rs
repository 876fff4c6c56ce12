//! Changes of the membership.

use crate::proto::cluster as wire;
use crate::service::{ChangeHow, ClusterHash, KnownKey, MembersChanged};

/// How a change is to be made, from the wire.
pub(crate) fn how(change: Option<wire::Change>) -> ChangeHow {
    let change = change.unwrap_or_default();
    ChangeHow { if_membership: change.if_membership, force: change.force, dry_run: change.dry_run }
}

/// How a change is to be made, for the wire.
pub(crate) fn from_how(how: ChangeHow) -> wire::Change {
    wire::Change { if_membership: how.if_membership, force: how.force, dry_run: how.dry_run }
}

/// What came of it, for the wire.
pub(crate) fn from_changed(changed: MembersChanged) -> wire::MembershipResponse {
    let key = |key: KnownKey| wire::KnownKey {
        kind: key.kind,
        id: key.id,
        slot: key.slot,
        signs_until: key.replaced_secs.map(|(signs, _)| signs),
        accepted_until: key.replaced_secs.map(|(_, accepted)| accepted),
    };
    wire::MembershipResponse {
        membership: changed.membership,
        voters: changed.voters,
        learners: changed.learners,
        warnings: changed.warnings,
        known_keys: changed.known_keys.into_iter().map(key).collect(),
    }
}

/// What came of it, from the wire.
pub(crate) fn changed(changed: wire::MembershipResponse) -> MembersChanged {
    let key = |key: wire::KnownKey| KnownKey {
        kind: key.kind,
        id: key.id,
        slot: key.slot,
        replaced_secs: key.signs_until.zip(key.accepted_until),
    };
    MembersChanged {
        membership: changed.membership,
        voters: changed.voters,
        learners: changed.learners,
        warnings: changed.warnings,
        known_keys: changed.known_keys.into_iter().map(key).collect(),
    }
}

/// The members' hashes, for the wire.
pub(crate) fn from_hash(hash: ClusterHash) -> wire::HashResponse {
    let node = |(node, hash)| wire::NodeHash { node, hash };
    wire::HashResponse { index: hash.index, nodes: hash.nodes.into_iter().map(node).collect(), agree: hash.agree }
}

/// The members' hashes, from the wire.
pub(crate) fn hash(hash: wire::HashResponse) -> ClusterHash {
    let node = |node: wire::NodeHash| (node.node, node.hash);
    ClusterHash { index: hash.index, nodes: hash.nodes.into_iter().map(node).collect(), agree: hash.agree }
}
