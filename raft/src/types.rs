//! openraft's types as this room uses them, and what a log entry carries.

use std::fmt;

use bytes::Bytes;
use minicbor::{Decode, Encode};
use signet_model::time::UnixTime;

openraft::declare_raft_types!(
    /// How this room uses openraft.
    pub(crate) TypeConfig:
        D = Proposal,
        R = Outcome,
        NodeId = u64,
        Node = PeerNode,
);

pub(crate) type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
pub(crate) type LogId = openraft::LogId<LeaderId>;
pub(crate) type Vote = openraft::Vote<LeaderId>;
pub(crate) type LogEntry = openraft::Entry<LeaderId, openraft::EntryPayload<Proposal, u64, PeerNode>>;
pub(crate) type Membership = openraft::Membership<u64, PeerNode>;
pub(crate) type StoredMembership = openraft::StoredMembership<LeaderId, u64, PeerNode>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<LeaderId, u64, PeerNode>;

/// The SHA-256 of a node's public key (SubjectPublicKeyInfo, DER).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct Pin(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a member is reached and recognised. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct PeerNode {
    /// `host:port`.
    #[n(0)]
    pub address: String,
    /// Its public key.
    #[n(1)]
    pub pin: Pin,
}

/// What a log entry carries besides its place: an order with the leader's time stamp.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proposal {
    /// The leader's clock when it took the proposal.
    pub stamp: UnixTime,
    /// What to do.
    pub order: Order,
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Commands may hold what a log line must not.
        match &self.order {
            Order::Application(command) => write!(f, "application command of {} bytes", command.len()),
            Order::CreateJoinToken { .. } => f.write_str("create join token"),
            Order::ConsumeJoinToken { .. } => f.write_str("consume join token"),
            Order::SetAddress { node, .. } => write!(f, "set address of node {node}"),
            Order::Forget { node } => write!(f, "forget node {node}"),
            Order::ResetTime { to } => write!(f, "reset cluster time to {} ms", to.millis()),
            Order::RaiseFeatureLevel { to, .. } => write!(f, "raise the feature level to {to}"),
        }
    }
}

/// What a log entry asks for. Change log of the stored form: 2026-11-22 orders 0 to 5; order 8.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Order {
    /// A command of the rooms above; opaque here.
    #[n(0)]
    Application(#[cbor(n(0), with = "shared_bytes")] Bytes),
    /// Makes a join token known.
    #[n(1)]
    CreateJoinToken {
        /// What names it; made from its secret.
        #[cbor(n(0), with = "minicbor::bytes")]
        hash: [u8; 32],
        /// How long it lives from the cluster time at which this is applied, in milliseconds.
        #[n(1)]
        ttl_millis: u64,
        /// Who asked for it (stored form of the caller).
        #[cbor(n(2), with = "minicbor::bytes")]
        caller: Vec<u8>,
        /// Verifies that a newcomer has the secret.
        #[cbor(n(3), with = "minicbor::bytes")]
        verifier: [u8; 32],
        /// With it a member proves to the newcomer that the cluster knows the token.
        #[cbor(n(4), with = "minicbor::bytes")]
        member_key: [u8; 32],
    },
    /// Uses a join token up and registers the newcomer. The same newcomer may ask again.
    #[n(2)]
    ConsumeJoinToken {
        /// What names the token.
        #[cbor(n(0), with = "minicbor::bytes")]
        hash: [u8; 32],
        /// The newcomer.
        #[n(1)]
        node: PeerNode,
    },
    /// A member is reached by another address from now on.
    #[n(3)]
    SetAddress {
        /// The member.
        #[n(0)]
        node: u64,
        /// Its `host:port`.
        #[n(1)]
        address: String,
    },
    /// A newcomer that never became a learner is a member no more.
    #[n(4)]
    Forget {
        /// The newcomer.
        #[n(0)]
        node: u64,
    },
    /// Cluster time goes back to this time if it is more than the tolerance ahead of it. The only order that does.
    #[n(5)]
    ResetTime {
        /// What the members' clocks say.
        #[n(0)]
        to: UnixTime,
    },
    /// More may be proposed from now on, if nothing has changed since its proposer looked.
    #[n(8)]
    RaiseFeatureLevel {
        /// The level that was in force.
        #[n(0)]
        from: u32,
        /// The level that is to be.
        #[n(1)]
        to: u32,
        /// The log index of the membership that was in force.
        #[n(2)]
        membership: u64,
    },
}

/// What became of an applied entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    /// Cluster time at which it was applied.
    pub at: UnixTime,
    /// The state machine's answer, or the stored form of an [`OrderOutcome`].
    pub body: Bytes,
}

/// The answer to one of the room's own orders. Sent between peers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum OrderOutcome {
    /// The token is known from now on.
    #[n(0)]
    TokenCreated {
        /// When it expires.
        #[n(0)]
        expires_at: UnixTime,
    },
    /// The newcomer is registered under this id.
    #[n(1)]
    Registered {
        /// Its id.
        #[n(0)]
        node: u64,
    },
    /// No such token.
    #[n(2)]
    UnknownToken,
    /// Another node used the token.
    #[n(3)]
    UsedToken,
    /// The token's time has passed.
    #[n(4)]
    ExpiredToken,
    /// Done.
    #[n(5)]
    Done,
    /// No such member.
    #[n(6)]
    UnknownNode,
    /// The newcomer's key is that of a node that was removed.
    #[n(7)]
    RemovedKey,
    /// The node is a learner or a voter.
    #[n(8)]
    StillMember,
    /// Cluster time was reset.
    #[n(9)]
    TimeReset {
        /// What it was before.
        #[n(0)]
        before: UnixTime,
    },
    /// Cluster time is not ahead by more than the tolerance: nothing was changed.
    #[n(10)]
    TimeIsRight {
        /// What it is.
        #[n(0)]
        now: UnixTime,
    },
    /// Not done: what its proposer saw is no more.
    #[n(12)]
    Changed,
}

/// `Bytes` as a CBOR byte string.
pub(crate) mod shared_bytes {
    use bytes::Bytes;

    pub(crate) fn encode<C, W: minicbor::encode::Write>(
        value: &Bytes,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.bytes(value)?.ok()
    }

    pub(crate) fn decode<C>(decoder: &mut minicbor::Decoder<'_>, _: &mut C) -> Result<Bytes, minicbor::decode::Error> {
        decoder.bytes().map(Bytes::copy_from_slice)
    }
}
