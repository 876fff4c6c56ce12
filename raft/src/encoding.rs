//! What is stored and sent, in our own versioned form, so that an openraft bump changes no byte on disk or wire.
//!
//! Change log of the stored form:
//! - 2026-11-22: version 1.

use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};
use openraft::EntryPayload;
use signet_model::stored::{StoredFormError, from_bytes, to_bytes, to_bytes_of};
use signet_model::time::UnixTime;

use crate::types::{
    LeaderId, LogEntry, LogId, Membership, Order, PeerNode, Proposal, SnapshotMeta, StoredMembership, Vote,
};

/// A place in the log. Stored form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct StoredLogId {
    #[n(0)]
    pub term: u64,
    #[n(1)]
    pub node: u64,
    #[n(2)]
    pub index: u64,
}

impl From<&LogId> for StoredLogId {
    fn from(id: &LogId) -> Self {
        Self { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
    }
}

impl From<StoredLogId> for LogId {
    fn from(id: StoredLogId) -> Self {
        Self { leader_id: LeaderId { term: id.term, node_id: id.node }, index: id.index }
    }
}

/// A vote. Stored form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct StoredVote {
    #[n(0)]
    pub term: u64,
    #[n(1)]
    pub node: u64,
    #[n(2)]
    pub committed: bool,
}

impl From<&Vote> for StoredVote {
    fn from(vote: &Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
    }
}

impl From<StoredVote> for Vote {
    fn from(vote: StoredVote) -> Self {
        Self { leader_id: LeaderId { term: vote.term, node_id: vote.node }, committed: vote.committed }
    }
}

/// A log entry. Stored form; also what travels between peers.
#[derive(Encode, Decode)]
struct StoredEntry {
    #[n(0)]
    id: StoredLogId,
    #[n(1)]
    payload: StoredPayload,
}

#[derive(Encode, Decode)]
enum StoredPayload {
    #[n(0)]
    Blank,
    #[n(1)]
    Order {
        #[n(0)]
        stamp: UnixTime,
        #[n(1)]
        order: Order,
    },
    #[n(2)]
    Membership(#[n(0)] MembershipForm),
}

/// Who votes and who is a member. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct MembershipForm {
    #[n(0)]
    voters: Vec<BTreeSet<u64>>,
    #[n(1)]
    nodes: BTreeMap<u64, PeerNode>,
}

impl From<&Membership> for MembershipForm {
    fn from(membership: &Membership) -> Self {
        Self {
            voters: membership.get_joint_config().clone(),
            nodes: membership.nodes().map(|(id, node)| (*id, node.clone())).collect(),
        }
    }
}

impl TryFrom<MembershipForm> for Membership {
    type Error = EncodingError;

    fn try_from(form: MembershipForm) -> Result<Self, EncodingError> {
        // openraft's default membership has no configuration at all, which its constructor takes as well.
        Self::new(form.voters, form.nodes).map_err(|cause| EncodingError::Membership(cause.to_string()))
    }
}

/// A membership with the place of its entry. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct StoredMembershipForm {
    #[n(0)]
    id: Option<StoredLogId>,
    #[n(1)]
    membership: MembershipForm,
}

impl From<&StoredMembership> for StoredMembershipForm {
    fn from(stored: &StoredMembership) -> Self {
        Self { id: stored.log_id().as_ref().map(Into::into), membership: stored.membership().into() }
    }
}

impl TryFrom<StoredMembershipForm> for StoredMembership {
    type Error = EncodingError;

    fn try_from(form: StoredMembershipForm) -> Result<Self, EncodingError> {
        Ok(Self::new(form.id.map(Into::into), form.membership.try_into()?))
    }
}

/// What a snapshot covers. Stored form; part of its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SnapshotMetaForm {
    #[n(0)]
    last_log_id: Option<StoredLogId>,
    #[n(1)]
    last_membership: StoredMembershipForm,
}

impl From<&SnapshotMeta> for SnapshotMetaForm {
    fn from(meta: &SnapshotMeta) -> Self {
        Self { last_log_id: meta.last_log_id.as_ref().map(Into::into), last_membership: (&meta.last_membership).into() }
    }
}

impl TryFrom<SnapshotMetaForm> for SnapshotMeta {
    type Error = EncodingError;

    fn try_from(form: SnapshotMetaForm) -> Result<Self, EncodingError> {
        Ok(Self { last_log_id: form.last_log_id.map(Into::into), last_membership: form.last_membership.try_into()? })
    }
}

/// Bytes that are not what they were taken for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodingError {
    /// Damaged, or written by a newer program.
    #[error(transparent)]
    Form(#[from] StoredFormError),
    /// Empty where something must be.
    #[error("empty record")]
    Empty,
    /// Written by a newer program.
    #[error("version {0} of the stored form is newer than this program: install the version that wrote it")]
    Version(u8),
    /// A membership that cannot be.
    #[error("impossible membership: {0}")]
    Membership(String),
}

impl From<EncodingError> for std::io::Error {
    fn from(error: EncodingError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// Puts the version before a stored form.
pub(crate) fn versioned<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&to_bytes(value));
    bytes
}

/// Reads what [`versioned`] wrote.
pub(crate) fn unversioned<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, EncodingError> {
    match bytes.split_first() {
        None => Err(EncodingError::Empty),
        Some((&VERSION, form)) => Ok(from_bytes(form)?),
        Some((&version, _)) => Err(EncodingError::Version(version)),
    }
}

/// The form in which a log entry travels between peers: version 1, in which it was also stored once.
pub(crate) fn entry_to_bytes(entry: &LogEntry) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&entry_to_body(entry));
    bytes
}

/// The stored form of a log entry without its version. The hash chain is over it: it must be the same on every node.
pub(crate) fn entry_to_body(entry: &LogEntry) -> Vec<u8> {
    let size = match &entry.payload {
        EntryPayload::Normal(Proposal { order: Order::Application(command), .. }) => command.len() + ENVELOPE,
        EntryPayload::Blank | EntryPayload::Normal(_) | EntryPayload::Membership(_) => ENVELOPE,
    };
    let payload = match &entry.payload {
        EntryPayload::Blank => StoredPayload::Blank,
        EntryPayload::Normal(Proposal { stamp, order }) => StoredPayload::Order { stamp: *stamp, order: order.clone() },
        EntryPayload::Membership(membership) => StoredPayload::Membership(membership.into()),
    };
    to_bytes_of(&StoredEntry { id: (&entry.log_id).into(), payload }, size)
}

/// A log entry from the form in which it travels.
pub(crate) fn entry_from_bytes(bytes: &[u8]) -> Result<LogEntry, EncodingError> {
    entry_of(unversioned(bytes)?)
}

/// A log entry from what [`entry_to_body`] wrote.
pub(crate) fn entry_from_body(body: &[u8]) -> Result<LogEntry, EncodingError> {
    entry_of(from_bytes(body)?)
}

fn entry_of(stored: StoredEntry) -> Result<LogEntry, EncodingError> {
    let payload = match stored.payload {
        StoredPayload::Blank => EntryPayload::Blank,
        StoredPayload::Order { stamp, order } => EntryPayload::Normal(Proposal { stamp, order }),
        StoredPayload::Membership(form) => EntryPayload::Membership(form.try_into()?),
    };
    Ok(LogEntry { log_id: stored.id.into(), payload })
}

const VERSION: u8 = 1;
/// What an entry takes besides its command.
const ENVELOPE: usize = 64;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::types::Pin;

    fn id(index: u64) -> LogId {
        LogId { leader_id: LeaderId { term: 3, node_id: 7 }, index }
    }

    #[test]
    fn every_kind_of_entry_survives_storing() {
        let nodes = BTreeMap::from([(1, PeerNode { address: "a:1".into(), pin: Pin([9; 32]) })]);
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(Proposal {
                stamp: UnixTime::from_millis(5),
                order: Order::Application(Bytes::from_static(b"x")),
            }),
            EntryPayload::Membership(Membership::new(vec![BTreeSet::from([1])], nodes).unwrap()),
        ];
        for payload in payloads {
            let entry = LogEntry { log_id: id(4), payload };
            assert_eq!(entry_from_bytes(&entry_to_bytes(&entry)).unwrap(), entry);
        }
    }

    #[test]
    fn the_stored_form_of_an_entry_never_changes() {
        let entry = LogEntry {
            log_id: id(4),
            payload: EntryPayload::Normal(Proposal {
                stamp: UnixTime::from_millis(5),
                order: Order::Application(Bytes::from_static(b"x")),
            }),
        };
        assert_eq!(entry_to_bytes(&entry), [1, 0x82, 0x83, 3, 7, 4, 0x82, 1, 0x82, 5, 0x82, 0, 0x81, 0x41, b'x']);
    }

    #[test]
    fn refuses_an_entry_of_a_newer_version() {
        let mut bytes = entry_to_bytes(&LogEntry { log_id: id(4), payload: EntryPayload::Blank });
        bytes[0] = 2;
        assert!(matches!(entry_from_bytes(&bytes), Err(EncodingError::Version(2))));
    }
}
