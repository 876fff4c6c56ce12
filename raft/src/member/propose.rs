//! Proposals: at the leader directly, elsewhere forwarded to it in batches.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{ClientWriteError, RaftError};
use signet_model::stored::to_bytes;
use signet_model::time::UnixTime;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tonic::Code;

use super::{Leadership, Member, news};
use crate::error::ProposeError;
use crate::peer::{Lane, proto};
use crate::types::{Order, Outcome, Proposal};

/// Where a proposal came to lie, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) index: u64,
    pub(crate) outcome: Outcome,
}

/// Why a proposal was not placed by one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotHere {
    /// It was not proposed: the node does not lead, or cannot be reached. The leader it knows.
    NotLeader(Option<u64>),
    /// It was not proposed: too many wait.
    Overloaded,
    /// It was not proposed: the disk is nearly full. The sentence for the caller.
    NoSpace(String),
    /// It may or may not take effect.
    Unknown,
}

/// A proposal on its way to the leader.
pub(crate) struct Forward {
    order: Bytes,
    leader: u64,
    deadline: Instant,
    reply: oneshot::Sender<Result<Placed, NotHere>>,
}

impl Member {
    /// Proposes here or through the leader, and returns when it is applied here.
    ///
    /// Tries again only while it is certain that nothing was proposed.
    pub(crate) async fn propose(&self, order: Order, timeout: Duration) -> Result<Placed, ProposeError> {
        let deadline = Instant::now() + timeout;
        let mut leadership = self.leadership();
        let mut encoded = None;
        loop {
            if let Some(detail) = self.disk.refusal() {
                return Err(ProposeError::NoSpace(detail));
            }
            let leader = leadership.borrow_and_update().leader;
            let attempt = match leader {
                Some(leader) if leader == self.id => {
                    let here = timeout_at(deadline, self.propose_here(order.clone())).await;
                    here.unwrap_or(Err(NotHere::Unknown))
                }
                Some(leader) => {
                    let order = encoded.get_or_insert_with(|| Bytes::from(to_bytes(&order))).clone();
                    self.forward(order, leader, deadline).await
                }
                None => Err(NotHere::NotLeader(None)),
            };
            match attempt {
                Ok(placed) => {
                    let applied = timeout_at(deadline, self.state.progress.reached(placed.index)).await;
                    return if applied == Ok(true) { Ok(placed) } else { Err(ProposeError::Unknown) };
                }
                Err(NotHere::Unknown) => return Err(ProposeError::Unknown),
                Err(NotHere::Overloaded) => return Err(ProposeError::Overloaded),
                Err(NotHere::NoSpace(detail)) => return Err(ProposeError::NoSpace(detail)),
                Err(NotHere::NotLeader(_)) => {
                    let pause = Instant::now() + RETRY;
                    if pause >= deadline {
                        return Err(ProposeError::NoQuorum);
                    }
                    news(&mut leadership, pause).await;
                }
            }
        }
    }

    /// Proposes if this node leads, and returns when it is applied here.
    pub(crate) async fn propose_here(&self, order: Order) -> Result<Placed, NotHere> {
        if let Some(detail) = self.disk.refusal() {
            return Err(NotHere::NoSpace(detail));
        }
        let _slot = self.slots.try_acquire().map_err(|_| NotHere::Overloaded)?;
        let proposal = Proposal { stamp: self.clocks.stamp(), order };
        match self.raft.client_write(proposal).await {
            Ok(written) => Ok(Placed { index: written.log_id.index, outcome: written.data }),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(other))) => {
                Err(NotHere::NotLeader(other.leader_id))
            }
            Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) | RaftError::Fatal(_)) => {
                Err(NotHere::Unknown)
            }
            // Only for changes of the membership, which are not made this way.
            Err(RaftError::APIError(
                ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_),
            )) => Err(NotHere::Unknown),
        }
    }

    async fn forward(&self, order: Bytes, leader: u64, deadline: Instant) -> Result<Placed, NotHere> {
        let (reply, answer) = oneshot::channel();
        let forward = Forward { order, leader, deadline, reply };
        self.forwards.try_send(forward).map_err(|_| NotHere::Overloaded)?;
        // The batch it travels in keeps to the deadline, a little later than this.
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(NotHere::Unknown),
        }
    }
}

/// Sends forwarded proposals to the leader in batches until the member is gone.
pub(crate) async fn forward(member: Weak<Member>, mut queue: mpsc::Receiver<Forward>) {
    let in_flight = Arc::new(Semaphore::new(BATCHES));
    let mut next = None;
    loop {
        // While all batches are on their way, the next one grows.
        let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await else { return };
        let first = match next.take() {
            Some(first) => first,
            None => match queue.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let (leader, mut bytes) = (first.leader, first.order.len());
        let mut batch = vec![first];
        while batch.len() < BATCH_ORDERS && bytes < BATCH_BYTES {
            match queue.try_recv() {
                Ok(item) if item.leader == leader => {
                    bytes += item.order.len();
                    batch.push(item);
                }
                Ok(other) => {
                    next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        let Some(member) = member.upgrade() else { return };
        tokio::spawn(async move {
            send(&member, leader, batch).await;
            drop(permit);
        });
    }
}

async fn send(member: &Member, leader: u64, batch: Vec<Forward>) {
    // Who has given up is not proposed for.
    let mut batch: Vec<_> = batch.into_iter().filter(|item| !item.reply.is_closed()).collect();
    let outcomes = exchange(member, leader, &batch).await;
    for (at, item) in batch.drain(..).enumerate() {
        let outcome = match &outcomes {
            Ok(outcomes) => outcomes.get(at).cloned().unwrap_or(Err(NotHere::Unknown)),
            Err(failed) => Err(failed.clone()),
        };
        let _ = item.reply.send(outcome);
    }
}

/// One batch's way to the leader and back.
async fn exchange(member: &Member, leader: u64, batch: &[Forward]) -> Result<Vec<Result<Placed, NotHere>>, NotHere> {
    let Some(deadline) = batch.iter().map(|item| item.deadline).max() else { return Ok(Vec::new()) };
    let Some(mut client) = member.links.client(leader, Lane::Calls) else { return Err(NotHere::NotLeader(None)) };
    let wait = deadline.saturating_duration_since(Instant::now());
    let request = proto::ProposeRequest {
        envelope: Some(member.directory.envelope(leader)),
        orders: batch.iter().map(|item| item.order.clone()).collect(),
        timeout_millis: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
    };
    let mut leadership = member.leadership();
    let reply = tokio::select! {
        reply = client.propose(request) => reply,
        // It hangs and another leads: what was sent may or may not be in the log.
        () = superseded(leader, &mut leadership) => return Err(NotHere::Unknown),
        () = tokio::time::sleep_until(deadline) => return Err(NotHere::Unknown),
    };
    match reply {
        Ok(reply) => Ok(reply.into_inner().outcomes.into_iter().map(from_wire).collect()),
        // Refused before it was looked at.
        Err(status) if matches!(status.code(), Code::PermissionDenied | Code::FailedPrecondition) => {
            Err(NotHere::NotLeader(None))
        }
        Err(_) => Err(NotHere::Unknown),
    }
}

/// Returns some time after `leader` is no longer believed to lead.
pub(super) async fn superseded(leader: u64, leadership: &mut watch::Receiver<Leadership>) {
    let another = |now: &Leadership| now.leader.is_some_and(|now| now != leader);
    if leadership.wait_for(another).await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(GRACE).await;
}

/// What became of one forwarded proposal, as it is sent.
pub(crate) fn to_wire(placed: Result<Placed, NotHere>) -> proto::ProposeOutcome {
    use proto::propose_outcome::Outcome as Wire;

    let outcome = match placed {
        Ok(Placed { index, outcome }) => {
            Wire::Applied(proto::Applied { index, at_millis: outcome.at.millis(), body: outcome.body })
        }
        Err(NotHere::NotLeader(leader)) => Wire::NotLeader(leader.unwrap_or(0)),
        Err(NotHere::Overloaded) => Wire::Overloaded(true),
        Err(NotHere::NoSpace(detail)) => Wire::NoSpace(detail),
        Err(NotHere::Unknown) => Wire::Unknown(true),
    };
    proto::ProposeOutcome { outcome: Some(outcome) }
}

fn from_wire(sent: proto::ProposeOutcome) -> Result<Placed, NotHere> {
    use proto::propose_outcome::Outcome as Wire;

    match sent.outcome {
        Some(Wire::Applied(applied)) => {
            let outcome = Outcome { at: UnixTime::from_millis(applied.at_millis), body: applied.body };
            Ok(Placed { index: applied.index, outcome })
        }
        Some(Wire::NotLeader(leader)) => Err(NotHere::NotLeader(Some(leader).filter(|leader| *leader != 0))),
        Some(Wire::Overloaded(_)) => Err(NotHere::Overloaded),
        Some(Wire::NoSpace(detail)) => Err(NotHere::NoSpace(detail)),
        Some(Wire::Unknown(_)) | None => Err(NotHere::Unknown),
    }
}

/// Pause before another try when the leader is not known or not reached; a change of leader ends it at once.
const RETRY: Duration = Duration::from_millis(20);
/// A replaced leader that hangs gets this long to answer after all.
const GRACE: Duration = Duration::from_millis(200);
/// Batches on their way at once: enough to hide a round trip, few enough that batches form.
const BATCHES: usize = 8;
const BATCH_ORDERS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_reaches_the_caller_of_another_node_as_it_was() {
        let refusals = [
            NotHere::NotLeader(Some(3)),
            NotHere::NotLeader(None),
            NotHere::Overloaded,
            NotHere::NoSpace("full".into()),
        ];
        for refusal in refusals {
            assert_eq!(from_wire(to_wire(Err(refusal.clone()))).unwrap_err(), refusal);
        }
    }
}
