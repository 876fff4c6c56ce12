//! The leader carries out what the plan says is due. Any node may take over at any moment: every step is one command that
//! is refused when another came first, and a step that was done is not in the plan any more.

use std::sync::Arc;
use std::time::Duration;

use signet_model::authority::AuthorityKind;
use signet_model::caller::Caller;
use signet_model::command::{AuthorityRef, Command};
use signet_model::refusal::{Reason, Refusal};
use signet_model::rotation::{Action, Hierarchy, Step};
use signet_model::time::UnixTime;
use signet_raft::Role;
use tokio_util::sync::CancellationToken;

use super::Rotation;
use super::give_way::GivingWay;
use crate::clock;
use crate::server::ledger;

/// What the leader's task remembers between its looks.
#[derive(Debug, Default)]
struct Lead {
    /// When a failure was last said aloud, boot clock.
    said: Option<Duration>,
    /// When keys were last wrapped for recipients that they lacked, or that failed, boot clock.
    rewrapped: Option<Duration>,
    giving_way: GivingWay,
}

impl Rotation {
    /// Rotates until `stop`, whenever this node leads.
    pub(in crate::server) async fn lead(self: Arc<Self>, stop: CancellationToken) {
        let mut changes = self.live.watch();
        let mut lead = Lead::default();
        loop {
            changes.mark_unchanged();
            let pause = self.tick(&mut lead).await;
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Does what is due, and answers when to look again.
    async fn tick(&self, lead: &mut Lead) -> Duration {
        if self.node.local_status().role != Role::Leader || self.live.current().is_none() {
            self.waiting.ends();
            return LOOK;
        }
        for _ in 0..STEPS_AT_ONCE {
            let Ok((hierarchy, now)) = self.look(PATIENCE).await else { return RETRY };
            self.rewrap_now_and_then(lead, &hierarchy).await;
            let plan = hierarchy.plan(now);
            let (mut failed, mut waits, mut done) = (false, false, false);
            for step in plan.iter().take_while(|step| step.due <= now) {
                match self.carry_out(&hierarchy, now, step).await {
                    Ok(true) => {
                        done = true;
                        break;
                    }
                    Ok(false) => {}
                    Err(refusal) => {
                        waits = true;
                        // People are not asked every second.
                        failed |= step.action != Action::Import;
                        if refusal.reason != Reason::Conflict {
                            self.waiting.waits(step, now, &refusal);
                        }
                        lead.complain(step, &refusal);
                    }
                }
            }
            if !waits && !done {
                self.waiting.ends();
            }
            if !done {
                if self.give_way(&mut lead.giving_way, &hierarchy, failed).await {
                    return SOON;
                }
                let next = plan.iter().map(|step| step.due).find(|due| *due > now);
                let next = next.map_or(LOOK, |due| due.since(now));
                return if failed { RETRY } else { next.clamp(SOON, LOOK) };
            }
        }
        SOON
    }

    /// Wraps keys for recipients that they lack, but does not ask a backend that fails at every look.
    async fn rewrap_now_and_then(&self, lead: &mut Lead, hierarchy: &Hierarchy) {
        let now = clock::boottime();
        if lead.rewrapped.is_some_and(|last| now.saturating_sub(last) < REWRAP_AGAIN) {
            return;
        }
        if let Some(command) = self.rewrapped(hierarchy).await {
            lead.rewrapped = Some(now);
            if let Some(command) = command
                && let Err(refusal) = self.propose(command).await
            {
                tracing::debug!(%refusal, "keys were not wrapped for every recipient");
            }
        }
    }

    /// Whether the step was done; `false`: it waits for something.
    async fn carry_out(&self, hierarchy: &Hierarchy, now: UnixTime, step: &Step) -> Result<bool, Refusal> {
        let expected_epoch = hierarchy.epoch(step.kind);
        let Some(id) = &step.id else {
            match step.action {
                Action::Prepare => {}
                Action::Import => return Err(self.ask_for_chain(hierarchy, now).await),
                Action::Discard | Action::Retire | Action::Revoke | Action::Taint | Action::Activate => {
                    return Ok(false);
                }
            }
            let content = hierarchy.goes_on_without(step, now);
            let authority = self.make(hierarchy, step.kind, content, now).await?;
            let id = authority.id.clone();
            self.propose(Command::PrepareAuthority { authority, expected_epoch }).await?;
            say(step, &id);
            return Ok(true);
        };
        let authority = AuthorityRef { kind: step.kind, id: id.clone() };
        let command = match step.action {
            Action::Activate => {
                let Some(waits_for) = self.ready(hierarchy, &authority, now, step).await else { return Ok(false) };
                Command::ActivateAuthority { authority, expected_epoch, waits_for, force: false }
            }
            Action::Taint => Command::TaintAuthority { authority, expected_epoch },
            Action::Discard | Action::Revoke => Command::RevokeAuthority { authority, expected_epoch, force: false },
            Action::Retire => Command::RetireAuthority { authority, expected_epoch },
            Action::Prepare | Action::Import => return Ok(false),
        };
        self.propose(command).await?;
        say(step, id);
        Ok(true)
    }

    /// The living voters, once all of them have unwrapped the key or the deadline has come.
    async fn ready(&self, hierarchy: &Hierarchy, which: &AuthorityRef, now: UnixTime, step: &Step) -> Option<Vec<u64>> {
        if which.kind == AuthorityKind::X509Root {
            return Some(Vec::new());
        }
        let unwrapped_by = &hierarchy.find(which)?.life.unwrapped_by;
        if unwrapped_by.is_empty() {
            return None;
        }
        let voters = self.living_voters().await;
        let late = step.deadline.is_some_and(|deadline| now >= deadline);
        let missing: Vec<&u64> = voters.iter().filter(|node| !unwrapped_by.contains(node)).collect();
        if !missing.is_empty() && late {
            tracing::error!(?missing, key = %which, "the deadline has come: this key signs from now on, and the nodes that have not unwrapped it are sealed for it; see their logs");
        }
        (missing.is_empty() || late).then_some(voters)
    }

    pub(super) async fn propose(&self, command: Command) -> Result<(), Refusal> {
        let id = self.node.identity().map_or(0, |identity| identity.node_id);
        ledger::propose_as(&self.node, Caller::Node { node: id }, command, PATIENCE).await.map(drop)
    }
}

impl Lead {
    /// Says that a step failed, at most once a minute. Somebody else's change in between is nothing to speak of.
    fn complain(&mut self, step: &Step, refusal: &Refusal) {
        let now = clock::boottime();
        if refusal.reason == Reason::Conflict || self.said.is_some_and(|said| now.saturating_sub(said) < SAY_AGAIN) {
            return;
        }
        self.said = Some(now);
        tracing::error!(kind = %step.kind, action = step.action.name(), code = %refusal.reason, "rotation waits: {refusal}");
    }
}

fn say(step: &Step, id: &str) {
    tracing::info!(kind = %step.kind, key = id, action = step.action.name(), "rotation: {}", step.why);
}

/// A look costs one barrier.
const LOOK: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_millis(100);
const RETRY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);
const REWRAP_AGAIN: Duration = Duration::from_mins(1);
const STEPS_AT_ONCE: usize = 32;
const SAY_AGAIN: Duration = Duration::from_mins(1);
