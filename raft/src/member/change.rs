//! What an operator wants changed: any node takes it, the leader does it, one change at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use minicbor::{Decode, Encode};
use openraft::ChangeMembers;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::raft::Precondition;
use signet_model::stored::{from_bytes, to_bytes};
use signet_model::time::UnixTime;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::Code;

use super::judge::{Roll, judge};
use super::transfer::NotMoved;
use super::{Member, NotHere, news};
use crate::membership::{Change, ChangeError, Changed};
use crate::peer::{Lane, proto};
use crate::types::{LogId, Order, OrderOutcome, PeerNode, StoredMembership, TypeConfig};

/// What is wanted. Sent between peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Wanted {
    /// A node shall have this part from now on.
    #[n(0)]
    Part {
        #[n(0)]
        node: u64,
        #[n(1)]
        part: Part,
        #[n(2)]
        change: Change,
    },
    /// Another node shall lead: this one, or whichever is fittest.
    #[n(1)]
    Lead {
        #[n(0)]
        to: Option<u64>,
    },
    /// Cluster time shall be what the members' clocks say.
    #[n(2)]
    ResetTime,
}

/// A member's part. Sent between peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub(crate) enum Part {
    #[n(0)]
    Voter,
    #[n(1)]
    Learner,
    /// None: it is a member no more.
    #[n(2)]
    Removed,
}

/// What was done. Sent between peers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Done {
    #[n(0)]
    Changed(#[n(0)] Changed),
    /// Who leads now.
    #[n(1)]
    Leads(#[n(0)] u64),
    /// Cluster time before and after.
    #[n(2)]
    Time(#[n(0)] UnixTime, #[n(1)] UnixTime),
}

impl From<NotMoved> for Turn {
    fn from(why: NotMoved) -> Self {
        match why {
            NotMoved::NotLeader(leader) => Self::NotLeader(leader),
            NotMoved::Refused(why) | NotMoved::Failed(why) => Self::Refused(why),
        }
    }
}

impl From<NotHere> for Turn {
    fn from(why: NotHere) -> Self {
        match why {
            NotHere::NotLeader(leader) => Self::NotLeader(leader),
            NotHere::Overloaded => Self::Refused(ChangeError::InProgress),
            NotHere::NoSpace(detail) => Self::Refused(ChangeError::NotHealthy { detail }),
            NotHere::Unknown => Self::Refused(ChangeError::Unknown),
        }
    }
}

/// Why one node did not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing was done; ask the leader. The one it knows.
    NotLeader(Option<u64>),
    /// Final.
    Refused(ChangeError),
}

impl Member {
    /// Has `wanted` done by whoever leads.
    pub(crate) async fn ask_for(self: &Arc<Self>, wanted: Wanted, wait: Duration) -> Result<Done, ChangeError> {
        let deadline = Instant::now() + wait;
        let mut leadership = self.leadership();
        loop {
            let leader = leadership.borrow_and_update().leader;
            let turn = match leader {
                Some(leader) if leader == self.id => self.do_here(wanted, deadline).await,
                Some(leader) => self.do_at(leader, wanted, deadline).await,
                None => Err(Turn::NotLeader(None)),
            };
            match turn {
                Ok(done) => {
                    if let Done::Changed(changed) = &done {
                        // So that whoever asks this node next sees it; a node that was removed never will.
                        let _ = timeout(SETTLE, self.state.progress.reached(changed.membership)).await;
                    }
                    return Ok(done);
                }
                Err(Turn::Refused(why)) => return Err(why),
                Err(Turn::NotLeader(_)) => {
                    let pause = Instant::now() + RETRY;
                    if pause >= deadline {
                        return Err(ChangeError::NoQuorum);
                    }
                    news(&mut leadership, pause).await;
                }
            }
        }
    }

    /// As the leader. Goes on if the caller gives up: a change is not to be left half made.
    pub(crate) async fn do_here(self: &Arc<Self>, wanted: Wanted, deadline: Instant) -> Result<Done, Turn> {
        let member = Arc::clone(self);
        let doing = tokio::spawn(async move {
            match wanted {
                Wanted::Part { node, part, change } => {
                    let changed = member.change_part(node, part, change).await?;
                    Ok(Done::Changed(changed))
                }
                Wanted::Lead { to } => {
                    let wait = deadline.saturating_duration_since(Instant::now());
                    Ok(Done::Leads(member.move_leadership(to, wait).await?))
                }
                Wanted::ResetTime => member.reset_time().await,
            }
        });
        match timeout_at(deadline, doing).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) | Err(_) => Err(Turn::Refused(ChangeError::Unknown)),
        }
    }

    async fn do_at(&self, leader: u64, wanted: Wanted, deadline: Instant) -> Result<Done, Turn> {
        use proto::change_reply::Outcome;

        let Some(mut client) = self.links.client(leader, Lane::Calls) else { return Err(Turn::NotLeader(None)) };
        let wait = deadline.saturating_duration_since(Instant::now());
        let request = proto::ChangeRequest {
            envelope: Some(self.directory.envelope(leader)),
            wanted: to_bytes(&wanted).into(),
            timeout_millis: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        };
        let unknown = || Turn::Refused(ChangeError::Unknown);
        let reply = match timeout_at(deadline + SETTLE, client.change(request)).await {
            Ok(Ok(reply)) => reply.into_inner(),
            // Refused before it was looked at.
            Ok(Err(status)) if matches!(status.code(), Code::PermissionDenied | Code::FailedPrecondition) => {
                return Err(Turn::NotLeader(None));
            }
            Ok(Err(_)) | Err(_) => return Err(unknown()),
        };
        match reply.outcome {
            Some(Outcome::Done(done)) => from_bytes(&done).map_err(|_| unknown()),
            Some(Outcome::Refused(why)) => Err(Turn::Refused(from_bytes(&why).unwrap_or(ChangeError::Unknown))),
            Some(Outcome::NotLeader(leader)) => Err(Turn::NotLeader(Some(leader).filter(|leader| *leader != 0))),
            None => Err(unknown()),
        }
    }

    async fn change_part(&self, node: u64, part: Part, change: Change) -> Result<Changed, Turn> {
        let Ok(_one) = timeout(PATIENCE, self.changing.lock()).await else {
            return Err(Turn::Refused(ChangeError::InProgress));
        };
        let base = self.base().await?;
        let before = Before::of(&base);
        if let Some(expected) = change.expected_membership.filter(|expected| *expected != before.index) {
            return Err(Turn::Refused(ChangeError::Stale { expected, found: before.index }));
        }
        let registered = self.directory.peer(node);
        if registered.is_none() && !before.has(node) {
            return Err(Turn::Refused(ChangeError::UnknownNode { node }));
        }
        let after = before.after(node, part);
        let mut warnings = Vec::new();
        if after.voters != before.voters {
            warnings = self.judged(&before.voters, &after.voters, change.force).await.map_err(Turn::Refused)?;
        }
        if change.dry_run {
            return Ok(after.changed(before.index, warnings));
        }
        if node == self.id && part != Part::Voter {
            // The next leader does it, so that no leader has to lead a cluster that it is no part of.
            return Err(match self.move_leadership(None, PATIENCE).await {
                Ok(leader) => Turn::NotLeader(Some(leader)),
                // Somebody leads in a moment, perhaps this node again: then once more.
                Err(NotMoved::Failed(_)) => Turn::NotLeader(None),
                Err(why) => why.into(),
            });
        }
        let index = match part {
            Part::Voter => self.make_voter(node, registered, &before, change.force).await?,
            Part::Learner => self.make_learner(node, registered, &before).await?,
            Part::Removed => self.make_stranger(node, &before).await?,
        };
        tracing::info!(node, ?part, membership = index, "the membership was changed");
        Ok(after.changed(index, warnings))
    }

    async fn make_voter(
        &self,
        node: u64,
        registered: Option<PeerNode>,
        before: &Before,
        force: bool,
    ) -> Result<u64, Turn> {
        if before.voters.contains(&node) {
            return Ok(before.index);
        }
        let mut at = before.at;
        if !before.learners.contains(&node) {
            at = Some(self.make_known(node, registered, before).await?);
        }
        if !force {
            let steady = self.steady(node).await;
            steady.map_err(|why| {
                let detail = format!("node {node} stays a learner: {why}");
                Turn::Refused(ChangeError::NotHealthy { detail })
            })?;
        }
        let id = self.write(ChangeMembers::AddVoterIds(BTreeSet::from([node])), true, at).await?;
        Ok(id.index)
    }

    async fn make_learner(&self, node: u64, registered: Option<PeerNode>, before: &Before) -> Result<u64, Turn> {
        if before.learners.contains(&node) {
            return Ok(before.index);
        }
        if before.voters.contains(&node) {
            let id = self.write(ChangeMembers::RemoveVoters(BTreeSet::from([node])), true, before.at).await?;
            return Ok(id.index);
        }
        Ok(self.make_known(node, registered, before).await?.index)
    }

    /// Makes a node that is only registered a learner.
    async fn make_known(&self, node: u64, registered: Option<PeerNode>, before: &Before) -> Result<LogId, Turn> {
        let peer = registered.ok_or(Turn::Refused(ChangeError::UnknownNode { node }))?;
        self.write(ChangeMembers::AddNodes([(node, peer)].into()), true, before.at).await
    }

    async fn make_stranger(&self, node: u64, before: &Before) -> Result<u64, Turn> {
        let nodes = BTreeSet::from([node]);
        if before.voters.contains(&node) {
            return Ok(self.write(ChangeMembers::RemoveVoters(nodes), false, before.at).await?.index);
        }
        if before.learners.contains(&node) {
            return Ok(self.write(ChangeMembers::RemoveNodes(nodes), false, before.at).await?.index);
        }
        // Registered, and never came further.
        let placed = self.propose_here(Order::Forget { node }).await?;
        match from_bytes(&placed.outcome.body) {
            Ok(OrderOutcome::Done) => Ok(before.index),
            _ => Err(Turn::Refused(ChangeError::InProgress)),
        }
    }

    /// The membership in force, with no change half made; sure of the leadership.
    pub(super) async fn base(&self) -> Result<StoredMembership, Turn> {
        for _ in 0..2 {
            let point = self.read_point_here().await.ok_or(Turn::NotLeader(None))?;
            if !self.state.progress.reached(point.index).await {
                return Err(Turn::NotLeader(None));
            }
            let membership = self.state.position().membership;
            if membership.membership().get_joint_config().len() == 1 {
                return Ok(membership);
            }
            // Its leader fell between the two steps of a change: the second is made first.
            self.write(ChangeMembers::AddVoterIds(BTreeSet::new()), true, *membership.log_id()).await?;
        }
        Err(Turn::Refused(ChangeError::InProgress))
    }

    /// Writes a change to the log if the membership is still that of `at`, and returns when it is in force.
    pub(super) async fn write(
        &self,
        change: ChangeMembers<u64, PeerNode>,
        retain: bool,
        at: Option<LogId>,
    ) -> Result<LogId, Turn> {
        let unchanged = Precondition::<TypeConfig>::LastMembershipLogId { last_membership_log_id: at };
        let written = self.raft.change_membership_if(change, retain, [unchanged]).await;
        let refused = |why| Err(Turn::Refused(why));
        match written {
            Ok(written) => Ok(written.log_id),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(other))) => Err(Turn::NotLeader(other.leader_id)),
            Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(why))) => refused(match why {
                ChangeMembershipError::EmptyMembership(_) => ChangeError::LastVoter,
                ChangeMembershipError::LearnerNotFound(unknown) => ChangeError::UnknownNode { node: unknown.node_id },
                ChangeMembershipError::InProgress(_)
                | ChangeMembershipError::UnsupportedMembershipTransition(_)
                | ChangeMembershipError::UncommittedLeaderLog(_)
                | ChangeMembershipError::NodeMetadataChanged(_) => ChangeError::InProgress,
            }),
            Err(RaftError::APIError(ClientWriteError::PreconditionFailed(_))) => refused(ChangeError::InProgress),
            Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) | RaftError::Fatal(_)) => {
                refused(ChangeError::Unknown)
            }
        }
    }

    /// What new voters would do to the quorum. Only who has answered since this was asked counts as healthy: a node that
    /// died a moment ago must not carry a change that it can no longer agree to.
    pub(super) async fn judged(
        &self,
        voters: &BTreeSet<u64>,
        after: &BTreeSet<u64>,
        force: bool,
    ) -> Result<Vec<String>, ChangeError> {
        let began = Instant::now();
        loop {
            let asked = began.elapsed();
            let heard = self.contacts().into_iter().filter(|(_, ago)| *ago <= asked);
            let healthy: BTreeSet<u64> = heard.map(|(node, _)| node).chain([self.id]).collect();
            let all = voters.union(after).all(|node| healthy.contains(node));
            let judgement = judge(&Roll { voters: voters.clone(), healthy }, after, force);
            // A busy machine is no dead one: what would be refused is looked at for longer.
            let wait = if judgement.is_ok() { self.patience } else { self.patience * 3 };
            if all || asked >= wait {
                return judgement;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// The membership before a change, or as it would be after it.
#[derive(Debug, Clone)]
struct Before {
    at: Option<LogId>,
    index: u64,
    voters: BTreeSet<u64>,
    learners: BTreeSet<u64>,
}

impl Before {
    fn of(stored: &StoredMembership) -> Self {
        let at = *stored.log_id();
        let membership = stored.membership();
        let (voters, learners) = (membership.voter_ids().collect(), membership.learner_ids().collect());
        Self { at, index: at.map_or(0, |id| id.index), voters, learners }
    }

    fn has(&self, node: u64) -> bool {
        self.voters.contains(&node) || self.learners.contains(&node)
    }

    fn after(&self, node: u64, part: Part) -> Self {
        let mut after = self.clone();
        after.voters.remove(&node);
        after.learners.remove(&node);
        match part {
            Part::Voter => after.voters.insert(node),
            Part::Learner => after.learners.insert(node),
            Part::Removed => false,
        };
        after
    }

    fn changed(self, membership: u64, warnings: Vec<String>) -> Changed {
        let (voters, learners) = (self.voters.into_iter().collect(), self.learners.into_iter().collect());
        Changed { membership, voters, learners, warnings }
    }
}

/// So long a change waits for the one before it, and a leader for its successor.
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(20);
/// An answer is held back so long at most until this node has seen the change itself.
const SETTLE: Duration = Duration::from_secs(1);
