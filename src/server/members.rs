//! The cluster's members, as their operator changes and compares them.

use std::time::Duration;

use minicbor::{Decode, Encode};
use signet_api::service::{
    Call, ChangeHow, ClusterHash, Drained, KnownKey, MemberAction, MemberChange, MembersChanged, TimeReset,
};
use signet_model::authority::Slot;
use signet_model::command::{Command, Outcome};
use signet_model::refusal::{Reason, Refusal};
use signet_model::stored::{from_bytes, to_bytes};
use signet_raft::{Change, ChangeError, Role};
use tokio::time::{sleep, timeout};

use super::cluster::Cluster;
use super::{issue, ledger};
use crate::clock;

impl Cluster {
    /// Changes a member's part. The change is one of raft's own, so what came of it is kept for a retry after it was
    /// made; an attempt that ends between the two is repeated, which changes nothing that has its part already.
    pub(crate) async fn change_member(&self, call: &Call, change: MemberChange) -> Result<MembersChanged, Refusal> {
        if !change.how.dry_run && call.request.is_some() {
            let view = ledger::read(&self.node, call).await?;
            if let Some(done) = ledger::done_before(&view, call)? {
                return told_before(&done);
            }
        }
        let (node, how, wait) = (change.node, raft_change(change.how), ledger::timeout(call));
        let (word, changed) = match change.action {
            MemberAction::Promote => ("promote", self.node.promote(node, how, wait).await),
            MemberAction::Demote => ("demote", self.node.demote(node, how, wait).await),
            MemberAction::Remove { .. } => ("remove", self.node.remove(node, how, wait).await),
        };
        let changed = changed.map_err(not_changed)?;
        let known_keys = match change.action {
            MemberAction::Remove { .. } => self.known_keys(),
            MemberAction::Promote | MemberAction::Demote => Vec::new(),
        };
        let mut answer = MembersChanged {
            membership: changed.membership,
            voters: changed.voters,
            learners: changed.learners,
            warnings: changed.warnings,
            known_keys,
        };
        if change.action == (MemberAction::Remove { keep_keys: false }) && !change.how.dry_run {
            self.replace_keys(call, node, &mut answer).await;
        }
        if !change.how.dry_run {
            tracing::info!(caller = %call.caller, change = word, node, force = change.how.force, membership = answer.membership, "the membership was changed");
            self.keep_for_retries(call, &answer).await;
        }
        Ok(answer)
    }

    /// Asks for new keys in the place of those that the removed node knows. It is removed whether or not this works.
    async fn replace_keys(&self, call: &Call, node: u64, answer: &mut MembersChanged) {
        // The key of the removal is for the removal.
        let call = Call { request: None, ..call.clone() };
        match self.rotation.rotate_issuing_keys(&call, &format!("node {node} was removed")).await {
            Ok(bounds) => {
                for key in &mut answer.known_keys {
                    let bound =
                        bounds.iter().find(|it| it.authority.kind.name() == key.kind && it.authority.id == key.id);
                    key.replaced_secs = bound.map(|it| (it.signs_until.secs(), it.accepted_until.secs()));
                }
            }
            Err(cause) => {
                tracing::error!(%cause, node, "the keys that the removed node knows were not replaced");
                answer.warnings.push(format!(
                    "the keys that the node knows could not be replaced ({cause}): do it now with signet authority rotate --emergency"
                ));
            }
        }
    }

    /// What every member holds in memory, and a removed one with it.
    fn known_keys(&self) -> Vec<KnownKey> {
        let slot = |slot: Slot| match slot {
            Slot::Prepared => "prepared",
            Slot::Active => "active",
            Slot::Retiring => "retiring",
        };
        let live = self.live.current();
        let issuing = live.iter().flat_map(|live| &live.issuing);
        let known = issuing.map(|it| KnownKey {
            kind: it.kind.name().to_owned(),
            id: it.id.clone(),
            slot: slot(it.slot).to_owned(),
            replaced_secs: None,
        });
        known.collect()
    }

    /// Also writes down, in the log, who asked. The change stands whether or not this is done: the node that was asked
    /// may be the one that was removed.
    async fn keep_for_retries(&self, call: &Call, answer: &MembersChanged) {
        let Some(request) = &call.request else { return };
        let command = Command::Remember { answer: to_bytes(&Kept::from(answer)).into() };
        let short = Call { timeout: Some(KEEP.min(ledger::timeout(call))), ..call.clone() };
        if let Err(cause) = ledger::propose_once(&self.node, &short, command, request.clone()).await {
            tracing::info!(%cause, "what came of the change is not kept: a retry would make it again, which changes nothing");
        }
    }

    pub(crate) async fn transfer_leader(&self, call: &Call, to: Option<u64>, how: ChangeHow) -> Result<u64, Refusal> {
        if how.dry_run || how.if_membership.is_some() {
            let leader = self.check_transfer(call, to, how).await?;
            if how.dry_run {
                return Ok(leader);
            }
        }
        let leader = self.node.transfer_leadership(to, ledger::timeout(call)).await.map_err(not_changed)?;
        tracing::info!(caller = %call.caller, ?to, leader, "leadership was transferred");
        Ok(leader)
    }

    /// Whether there is somebody to lead, as far as can be known before. Answers who leads now.
    async fn check_transfer(&self, call: &Call, to: Option<u64>, how: ChangeHow) -> Result<u64, Refusal> {
        let status = self.status(ledger::timeout(call).min(LOOK)).await;
        let Some(leader) = status.leader.filter(|_| !status.stale) else {
            return Err(not_changed(ChangeError::NoQuorum));
        };
        if let Some(expected) = how.if_membership.filter(|expected| *expected != status.membership) {
            return Err(not_changed(ChangeError::Stale { expected, found: status.membership }));
        }
        let fit = |node: &signet_api::service::NodeStatus| {
            node.voter && node.id != leader && !node.draining && node.role != Role::Unreachable.as_str()
        };
        match to {
            Some(to) if to == leader => Ok(leader),
            Some(to) => match status.nodes.iter().find(|node| node.id == to) {
                None => Err(not_changed(ChangeError::UnknownNode { node: to })),
                Some(node) if fit(node) => Ok(leader),
                Some(_) => Err(precondition(format!(
                    "node {to} cannot lead now: it must vote, answer and not be drained; see `signet cluster members`"
                ))),
            },
            None if status.nodes.iter().any(fit) => Ok(leader),
            None => {
                Err(precondition("no other voter answers and is not drained; see `signet cluster members`".to_owned()))
            }
        }
    }

    /// Drains this node, or undoes that, and waits until somebody else leads.
    pub(crate) async fn drain(&self, call: &Call, undo: bool, dry_run: bool) -> Result<Drained, Refusal> {
        let node = self.node.identity().ok_or_else(issue::not_initialized)?.node_id;
        if !dry_run {
            tracing::info!(caller = %call.caller, undo, "drain");
            if undo {
                self.node.undrain();
            } else {
                self.node.drain();
            }
        }
        let gone = async {
            while !undo && !dry_run && self.node.local_status().leader.is_none_or(|leader| leader == node) {
                sleep(POLL).await;
            }
        };
        // Where nobody else can lead, this node has to, drained or not.
        let _ = timeout(ledger::timeout(call).min(HAND_OVER), gone).await;
        let status = self.node.local_status();
        Ok(Drained { node, drained: status.draining, leader: status.leader })
    }

    pub(crate) async fn hash(&self, call: &Call, at: Option<u64>) -> Result<ClusterHash, Refusal> {
        let hash = self.node.hash(at, ledger::timeout(call).min(LOOK)).await.map_err(ledger::not_read)?;
        let nodes = hash.nodes.into_iter().map(|(node, hash)| (node, hash.map(|hash| hash.to_vec())));
        Ok(ClusterHash { index: hash.index, nodes: nodes.collect(), agree: hash.agree })
    }

    pub(crate) async fn reset_time(&self, call: &Call, dry_run: bool) -> Result<TimeReset, Refusal> {
        if dry_run {
            let view = ledger::read(&self.node, call).await?;
            return Ok(TimeReset { before_millis: view.cluster_time().millis(), after_millis: clock::now().millis() });
        }
        let (before, after) = self.node.reset_cluster_time(ledger::timeout(call)).await.map_err(not_changed)?;
        tracing::warn!(caller = %call.caller, before = before.millis(), after = after.millis(), "cluster time was set back");
        Ok(TimeReset { before_millis: before.millis(), after_millis: after.millis() })
    }
}

/// A [`MembersChanged`] as it is kept for a retry. Stored form.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
struct Kept {
    #[n(0)]
    membership: u64,
    #[n(1)]
    voters: Vec<u64>,
    #[n(2)]
    learners: Vec<u64>,
    #[n(3)]
    warnings: Vec<String>,
    #[n(4)]
    known_keys: Vec<KeptKey>,
}

/// Kind, id, slot, and until when it signs and is accepted. Stored form.
type KeptKey = (String, String, String, Option<(u64, u64)>);

impl From<&MembersChanged> for Kept {
    fn from(it: &MembersChanged) -> Self {
        let key = |key: &KnownKey| (key.kind.clone(), key.id.clone(), key.slot.clone(), key.replaced_secs);
        Self {
            membership: it.membership,
            voters: it.voters.clone(),
            learners: it.learners.clone(),
            warnings: it.warnings.clone(),
            known_keys: it.known_keys.iter().map(key).collect(),
        }
    }
}

impl From<Kept> for MembersChanged {
    fn from(kept: Kept) -> Self {
        let key = |(kind, id, slot, replaced_secs)| KnownKey { kind, id, slot, replaced_secs };
        Self {
            membership: kept.membership,
            voters: kept.voters,
            learners: kept.learners,
            warnings: kept.warnings,
            known_keys: kept.known_keys.into_iter().map(key).collect(),
        }
    }
}

fn told_before(outcome: &Outcome) -> Result<MembersChanged, Refusal> {
    let Outcome::Remembered { answer } = outcome else { return Err(ledger::unexpected(outcome)) };
    Ok(from_bytes::<Kept>(answer).map_err(ledger::damaged)?.into())
}

fn raft_change(how: ChangeHow) -> Change {
    Change { expected_membership: how.if_membership, force: how.force, dry_run: how.dry_run }
}

fn not_changed(error: ChangeError) -> Refusal {
    let reason = match &error {
        ChangeError::NotMember => return issue::not_initialized(),
        ChangeError::NoQuorum => Reason::NoQuorum,
        ChangeError::UnknownNode { .. } => Reason::NotFound,
        ChangeError::Stale { .. } | ChangeError::InProgress => Reason::Conflict,
        ChangeError::WouldLoseQuorum { .. } | ChangeError::NotHealthy { .. } | ChangeError::LastVoter => {
            Reason::FailedPrecondition
        }
        ChangeError::Unknown => Reason::DeadlineExceeded,
        ChangeError::ShuttingDown => Reason::ShuttingDown,
    };
    Refusal::new(reason, error.to_string())
}

fn precondition(detail: String) -> Refusal {
    Refusal::new(Reason::FailedPrecondition, detail)
}

/// For looking at the members.
const LOOK: Duration = Duration::from_secs(2);
/// For keeping what came of a change.
const KEEP: Duration = Duration::from_secs(2);
const HAND_OVER: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_a_retry_is_told_as_it_was() {
        let key =
            KnownKey { kind: "jwt-svid".into(), id: "k".into(), slot: "active".into(), replaced_secs: Some((5, 9)) };
        let changed = MembersChanged {
            membership: 7,
            voters: vec![1, 2],
            learners: vec![3],
            warnings: vec!["w".into()],
            known_keys: vec![key],
        };
        let answer = to_bytes(&Kept::from(&changed));
        assert_eq!(answer[..7], [0x85, 7, 0x82, 1, 2, 0x81, 3], "the stored form never changes");
        assert_eq!(told_before(&Outcome::Remembered { answer: answer.into() }).unwrap(), changed);
    }
}
