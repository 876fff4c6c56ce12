//! Recipients.

use signet_model::recipient::{BackendState, NodeBackends};
use signet_model::time::UnixTime;

use crate::proto::authority as wire;
use crate::service::{RecipientShown, RecipientsShown};

/// For the wire.
pub(crate) fn from_shown(shown: RecipientsShown) -> wire::RecipientState {
    let recipient = |one: RecipientShown| wire::Recipient {
        id: one.id,
        added_at: one.added_at.millis(),
        added_by: one.added_by,
        roots: one.roots,
        keys: one.keys,
    };
    let backend = |one: BackendState| wire::Backend { name: one.name, recipient: one.recipient, problem: one.problem };
    let node = |one: NodeBackends| wire::NodeBackends {
        node: one.node,
        at: one.at.millis(),
        backends: one.backends.into_iter().map(backend).collect(),
    };
    wire::RecipientState {
        version: shown.version,
        keys: shown.keys,
        recipients: shown.recipients.into_iter().map(recipient).collect(),
        nodes: shown.nodes.into_iter().map(node).collect(),
        changed: shown.changed,
    }
}

/// From the wire.
pub(crate) fn shown(state: wire::RecipientState) -> RecipientsShown {
    let recipient = |one: wire::Recipient| RecipientShown {
        id: one.id,
        added_at: UnixTime::from_millis(one.added_at),
        added_by: one.added_by,
        roots: one.roots,
        keys: one.keys,
    };
    let backend = |one: wire::Backend| BackendState { name: one.name, recipient: one.recipient, problem: one.problem };
    let node = |one: wire::NodeBackends| NodeBackends {
        node: one.node,
        at: UnixTime::from_millis(one.at),
        backends: one.backends.into_iter().map(backend).collect(),
    };
    RecipientsShown {
        version: state.version,
        keys: state.keys,
        recipients: state.recipients.into_iter().map(recipient).collect(),
        nodes: state.nodes.into_iter().map(node).collect(),
        changed: state.changed,
    }
}
