//! Between openraft's messages and the wire's.

use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, StreamAppendError, StreamAppendResult, VoteRequest, VoteResponse};
use tonic::Status;

use super::proto;
use crate::encoding::{entry_from_bytes, entry_to_bytes};
use crate::state::Roster;
use crate::types::{LeaderId, LogId, PeerNode, Pin, TypeConfig, Vote};

impl From<&LogId> for proto::LogId {
    fn from(id: &LogId) -> Self {
        Self { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
    }
}

impl From<proto::LogId> for LogId {
    fn from(id: proto::LogId) -> Self {
        Self { leader_id: LeaderId { term: id.term, node_id: id.node }, index: id.index }
    }
}

impl From<&Vote> for proto::Ballot {
    fn from(vote: &Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
    }
}

impl From<proto::Ballot> for Vote {
    fn from(ballot: proto::Ballot) -> Self {
        Self { leader_id: LeaderId { term: ballot.term, node_id: ballot.node }, committed: ballot.committed }
    }
}

/// How the refusal of an entry begins that this program does not know.
pub(crate) const UNREADABLE: &str = "an entry cannot be read";

/// The vote in a message, which must be there.
pub(crate) fn ballot(ballot: Option<proto::Ballot>) -> Result<Vote, Status> {
    ballot.map(Into::into).ok_or_else(|| Status::invalid_argument("the vote is missing"))
}

pub(crate) fn vote_request_to_wire(
    request: &VoteRequest<TypeConfig>,
    envelope: proto::Envelope,
    pre_vote: bool,
) -> proto::VoteRequest {
    proto::VoteRequest {
        envelope: Some(envelope),
        vote: Some((&request.vote).into()),
        last_log_id: request.last_log_id.as_ref().map(Into::into),
        leadership_transfer: request.leadership_transfer,
        pre_vote,
    }
}

pub(crate) fn vote_request_from_wire(request: proto::VoteRequest) -> Result<VoteRequest<TypeConfig>, Status> {
    let mut asked = VoteRequest::new(ballot(request.vote)?, request.last_log_id.map(Into::into));
    asked.leadership_transfer = request.leadership_transfer;
    Ok(asked)
}

pub(crate) fn vote_reply_to_wire(reply: &VoteResponse<TypeConfig>) -> proto::VoteReply {
    proto::VoteReply {
        vote: Some((&reply.vote).into()),
        last_log_id: reply.last_log_id.as_ref().map(Into::into),
        granted: reply.vote_granted,
    }
}

pub(crate) fn vote_reply_from_wire(reply: proto::VoteReply) -> Result<VoteResponse<TypeConfig>, Status> {
    Ok(VoteResponse::new(ballot(reply.vote)?, reply.last_log_id.map(Into::into), reply.granted))
}

pub(crate) fn append_to_wire(
    request: &AppendEntriesRequest<TypeConfig>,
    envelope: proto::Envelope,
) -> proto::AppendRequest {
    proto::AppendRequest {
        envelope: Some(envelope),
        vote: Some((&request.vote).into()),
        prev_log_id: request.prev_log_id.as_ref().map(Into::into),
        leader_commit: request.leader_commit.as_ref().map(Into::into),
        entries: request.entries.iter().map(|entry| Bytes::from(entry_to_bytes(entry))).collect(),
        median_low_millis: 0,
        median_high_millis: 0,
        quiet: false,
    }
}

pub(crate) fn append_from_wire(request: proto::AppendRequest) -> Result<AppendEntriesRequest<TypeConfig>, Status> {
    let entries: Result<Vec<_>, _> = request.entries.iter().map(|bytes| entry_from_bytes(bytes)).collect();
    Ok(AppendEntriesRequest {
        vote: ballot(request.vote)?,
        prev_log_id: request.prev_log_id.map(Into::into),
        entries: entries.map_err(|cause| Status::invalid_argument(format!("{UNREADABLE}: {cause}")))?,
        leader_commit: request.leader_commit.map(Into::into),
    })
}

pub(crate) fn append_result_to_wire(result: &StreamAppendResult<TypeConfig>) -> proto::AppendReply {
    use proto::append_reply::Outcome;

    let outcome = match result {
        Ok(upto) => Outcome::Accepted(proto::Accepted { upto: upto.as_ref().map(Into::into) }),
        Err(StreamAppendError::Conflict(id)) => Outcome::Conflict(id.into()),
        Err(StreamAppendError::HigherVote(vote)) => Outcome::HigherVote(vote.into()),
    };
    proto::AppendReply { outcome: Some(outcome), clock_millis: 0 }
}

pub(crate) fn append_result_from_wire(reply: proto::AppendReply) -> Result<StreamAppendResult<TypeConfig>, Status> {
    use proto::append_reply::Outcome;

    match reply.outcome {
        Some(Outcome::Accepted(accepted)) => Ok(Ok(accepted.upto.map(Into::into))),
        Some(Outcome::Conflict(id)) => Ok(Err(StreamAppendError::Conflict(id.into()))),
        Some(Outcome::HigherVote(vote)) => Ok(Err(StreamAppendError::HigherVote(vote.into()))),
        None => Err(Status::invalid_argument("the outcome is missing")),
    }
}

/// A roster as it is sent.
pub(crate) fn members_to_wire(roster: &Roster) -> Vec<proto::Member> {
    let member = |(id, node): (&u64, &PeerNode)| proto::Member {
        id: *id,
        address: node.address.clone(),
        pin: Bytes::copy_from_slice(&node.pin.0),
    };
    roster.iter().map(member).collect()
}

/// A roster that was sent.
pub(crate) fn members_from_wire(members: &[proto::Member]) -> Result<Roster, Status> {
    let member = |member: &proto::Member| {
        let pin = member.pin.as_ref().try_into().map_err(|_| Status::invalid_argument("a pin is not 32 bytes"))?;
        Ok((member.id, PeerNode { address: member.address.clone(), pin: Pin(pin) }))
    };
    members.iter().map(member).collect()
}
