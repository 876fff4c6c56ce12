//! What rotation waits for, so that somebody can act long before it matters.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use signet_model::authority::AuthorityKind;
use signet_model::refusal::Refusal;
use signet_model::rotation::Step;
use signet_model::time::UnixTime;

use crate::clock;

/// A step that is due and cannot be done, if there is one. Known to the leader alone.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<Option<Waits>>);

#[derive(Debug, Clone)]
struct Waits {
    kind: AuthorityKind,
    action: &'static str,
    /// Boot clock.
    since: Duration,
    problem: String,
}

impl Waiting {
    pub(super) fn waits(&self, step: &Step, now: UnixTime, refusal: &Refusal) {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let late = now.since(step.due);
        let since = waits.as_ref().map_or_else(|| clock::boottime().saturating_sub(late), |waits| waits.since);
        *waits = Some(Waits { kind: step.kind, action: step.action.name(), since, problem: refusal.to_string() });
    }

    pub(super) fn ends(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// For how long a step has been due and could not be done.
    pub(crate) fn lasts(&self) -> Option<Duration> {
        let waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waits.as_ref().map(|waits| clock::boottime().saturating_sub(waits.since))
    }

    /// The same as a sentence.
    pub(crate) fn note(&self) -> Option<String> {
        let lasts = self.lasts()?.as_secs() / 60;
        let waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waits.as_ref().map(|Waits { kind, action, problem, .. }| {
            format!(
                "rotation has been waiting for {lasts} min to {action} {kind}: {problem}. `signet authority show` says when the active one ends"
            )
        })
    }
}
