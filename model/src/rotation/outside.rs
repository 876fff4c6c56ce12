//! The plan of roots that come from elsewhere. Nobody here can make their successors, so the plan says early that one is
//! wanted, and never puts a root of our own in their place.

use super::plan::step;
use super::{Action, Hierarchy, Step};
use crate::authority::{Authority, AuthorityKind};
use crate::time::UnixTime;

impl Hierarchy {
    pub(super) fn plan_outside_roots(
        &self,
        active: &Authority,
        standbys: &[&Authority],
        now: UnixTime,
        steps: &mut Vec<Step>,
    ) {
        let kind = AuthorityKind::X509Root;
        // One that ends with the active one is no successor to it.
        let succeeds = |root: &Authority| {
            root.not_after > now
                && (!active.is_outside() || root.not_after > active.not_after || active.not_after <= now)
        };
        let next = standbys.iter().rfind(|root| root.is_outside() && succeeds(root)).copied();
        let last = next.unwrap_or(active);
        let half = last.created_at.after(last.lifetime() / 2);
        let asked = next.is_none() && self.is_urgent(active, now);
        let due = if asked { now } else { half.max(now) };
        let why = if asked { self.why(active, now) } else { "half of its life: an outside CA takes its time" };
        steps.push(Step { kind, action: Action::Import, id: None, due, deadline: None, why });
        for older in standbys.iter().filter(|root| next.is_none_or(|next| next.id != root.id)) {
            if older.not_after <= now {
                steps.push(step(older, Action::Discard, now, "it has ended"));
            } else if let Some(next) = next.filter(|next| next.life.added_at_index > older.life.added_at_index) {
                let due = next.published_at().after(self.settings.publication(kind, true)).max(now);
                steps.push(step(older, Action::Discard, due, "there is a newer standby root"));
            } else if !older.is_outside() && older.life.added_at_index < active.life.added_at_index {
                steps.push(step(older, Action::Discard, now, "the root comes from elsewhere now"));
            }
        }
        if let Some(next) = next {
            let window = self.window_of(active, next.published_at(), now);
            let mut activate = step(next, Action::Activate, window.due, self.why(active, now));
            activate.deadline = Some(window.deadline);
            steps.push(activate);
        }
    }
}
