//! The plan: what is to be done to the authorities, and when.

use std::time::Duration;

use super::timing::CLOCK_TOLERANCE;
use super::{Hierarchy, RotationRequest};
use crate::authority::{Authority, AuthorityKind, KeyId, Slot};
use crate::time::UnixTime;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Remove one that was prepared and is not wanted.
    Discard,
    /// Remove one of which nothing is valid any more.
    Retire,
    /// Remove one though what it signed may still be in use.
    Revoke,
    /// Mark it, so that agents ask anew for what it signed.
    Taint,
    /// Let it sign in the place of the one that does.
    Activate,
    /// Make a new one and publish it.
    Prepare,
    /// Have an outside CA sign a new one: only a person can.
    Import,
}

impl Action {
    /// The word for it, stable for scripts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discard => "discard",
            Self::Retire => "retire",
            Self::Revoke => "revoke",
            Self::Taint => "taint",
            Self::Activate => "activate",
            Self::Prepare => "prepare",
            Self::Import => "import",
        }
    }
}

/// One thing that is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// To an authority of this kind.
    pub kind: AuthorityKind,
    /// What.
    pub action: Action,
    /// To which; `None`: one that is not made yet.
    pub id: Option<KeyId>,
    /// Not before this.
    pub due: UnixTime,
    /// For an activation: from here on also when a voter that is alive has not unwrapped the key.
    pub deadline: Option<UnixTime>,
    /// Why, for people.
    pub why: &'static str,
}

/// When an authority is to begin to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Not before: verifiers might not know it.
    pub due: UnixTime,
    /// From here on without the voters that have not unwrapped it.
    pub deadline: UnixTime,
}

impl Hierarchy {
    /// Everything that is to be done, now or later, in the order of time. What is due may be done at once, in this order;
    /// after each step the plan is to be made anew.
    #[must_use]
    pub fn plan(&self, now: UnixTime) -> Vec<Step> {
        let mut steps = Vec::new();
        self.plan_roots(now, &mut steps);
        for kind in AuthorityKind::IN_MEMORY {
            self.plan_in_memory(*kind, now, &mut steps);
        }
        for authority in self.authorities.iter().filter(|authority| authority.slot == Slot::Retiring) {
            self.plan_end(authority, now, &mut steps);
        }
        // What is not made yet comes after its making.
        let unmade = |step: &Step| step.id.is_none() && step.action == Action::Activate;
        steps.sort_by(|a, b| {
            (a.due, unmade(a), a.action, a.kind, &a.id).cmp(&(b.due, unmade(b), b.action, b.kind, &b.id))
        });
        steps
    }

    /// When `prepared` may begin to sign in the place of the active one of its kind.
    #[must_use]
    pub fn window(&self, prepared: &Authority, now: UnixTime) -> Option<Window> {
        let active = self.active(prepared.kind)?;
        Some(self.window_of(active, prepared.published_at(), now))
    }

    /// Whether a key that is to be made is made also when it cannot be wrapped for every recipient now. At first it waits
    /// for those that are away; when that has lasted for a sixth of the active key's life, or the old key must go, it does
    /// not, as long as one is there.
    #[must_use]
    pub fn goes_on_without(&self, step: &Step, now: UnixTime) -> bool {
        let Some(active) = self.active(step.kind) else { return true };
        let late = now >= self.renewal(active).after(active.lifetime() / 6);
        let emergency = self.request(step.kind).is_some_and(|request| request.emergency);
        late || emergency || active.not_after <= now
    }

    fn plan_in_memory(&self, kind: AuthorityKind, now: UnixTime, steps: &mut Vec<Step>) {
        let Some(active) = self.active(kind) else { return };
        let mut candidate: Option<&Authority> = None;
        for prepared in self.in_order_of_making(kind) {
            match self.unfit(prepared, now) {
                Some(why) => steps.push(step(prepared, Action::Discard, now, why)),
                None => candidate = candidate.or(Some(prepared)),
            }
        }
        if candidate.is_none() && self.is_bound_by_root(active, now) {
            return;
        }
        let why = self.why(active, now);
        let published_at = if let Some(prepared) = candidate {
            prepared.published_at()
        } else {
            let due = if self.is_urgent(active, now) { now } else { self.renewal(active).max(now) };
            steps.push(Step { kind, action: Action::Prepare, id: None, due, deadline: None, why });
            due
        };
        let window = self.window_of(active, published_at, now);
        steps.push(Step {
            kind,
            action: Action::Activate,
            id: candidate.map(|prepared| prepared.id.clone()),
            due: window.due,
            deadline: Some(window.deadline),
            why,
        });
    }

    /// Whether a new issuing CA would end with the active one, since the root does, or could not be signed any more.
    fn is_bound_by_root(&self, active: &Authority, now: UnixTime) -> bool {
        let Some(root) = self.active(AuthorityKind::X509Root).filter(|_| active.kind == AuthorityKind::X509Issuing)
        else {
            return false;
        };
        let wanted = self.request(active.kind).is_some() || self.is_misplaced(active.kind);
        root.not_after <= now || (root.not_after <= active.not_after && !wanted)
    }

    /// A standby root is always published. The newest with enough of its life left is the one to switch to.
    fn plan_roots(&self, now: UnixTime, steps: &mut Vec<Step>) {
        let kind = AuthorityKind::X509Root;
        let Some(active) = self.active(kind) else { return };
        let standbys = self.in_order_of_making(kind);
        if self.is_from_outside(now) {
            return self.plan_outside_roots(active, &standbys, now, steps);
        }
        let fresh = |root: &Authority| root.not_after.since(now) > root.lifetime() / 2;
        let ready = standbys.iter().rfind(|root| fresh(root) && self.is_in_place(root)).copied();
        match ready {
            Some(standby) => {
                let due = standby.not_after.before(standby.lifetime() / 2).max(now);
                let why = "the standby root has reached half of its life";
                steps.push(Step { kind, action: Action::Prepare, id: None, due, deadline: None, why });
            }
            None => {
                let elsewhere = standbys.iter().any(|root| fresh(root));
                let why = if elsewhere {
                    "roots are made in another backend now"
                } else {
                    "a standby root is always published"
                };
                steps.push(Step { kind, action: Action::Prepare, id: None, due: now, deadline: None, why });
            }
        }
        let Some(newest) = ready.or_else(|| standbys.last().copied()) else { return };
        let known = newest.published_at().after(self.settings.publication(kind, true));
        for older in standbys.iter().filter(|root| root.id != newest.id) {
            let due = if fresh(newest) { known } else { now };
            steps.push(step(older, Action::Discard, due, "there is a newer standby root"));
        }
        if newest.not_after > now {
            let mut window = self.window_of(active, newest.published_at(), now);
            if !self.is_in_place(newest) {
                // It is to be replaced by one where roots are made now. Better it than none.
                window.due = window.due.max(active.not_after);
                window.deadline = window.deadline.max(window.due);
            }
            let mut activate = step(newest, Action::Activate, window.due, self.why(active, now));
            activate.deadline = Some(window.deadline);
            steps.push(activate);
        }
    }

    fn plan_end(&self, authority: &Authority, now: UnixTime, steps: &mut Vec<Step>) {
        if authority.kind == AuthorityKind::X509Root && self.has_active_under(&authority.id) {
            return;
        }
        let Some(after) = self.revoked_after(authority) else {
            let due = self.ended_at(authority);
            steps.push(step(authority, Action::Retire, due, "nothing it signed is valid any more"));
            return;
        };
        let why = "its rotation was asked for with revocation";
        if !authority.is_tainted() {
            steps.push(step(authority, Action::Taint, now, why));
        }
        let after = Duration::from_secs(after.into()).max(self.settings.stops_within());
        steps.push(step(authority, Action::Revoke, self.stopped_at(authority).after(after), why));
    }

    /// When nothing that `authority` signed, or that is under it, is valid any more.
    pub(crate) fn ended_at(&self, authority: &Authority) -> UnixTime {
        let end = if authority.kind == AuthorityKind::X509Root {
            let stopped = self.stopped_at(authority).after(self.settings.stops_within());
            self.under(&authority.id).map(|issuing| issuing.not_after).fold(stopped, UnixTime::max)
        } else {
            authority.not_after
        };
        end.after(CLOCK_TOLERANCE)
    }

    /// When `authority`, and for a root all that is under it, stopped signing for callers.
    pub(crate) fn stopped_at(&self, authority: &Authority) -> UnixTime {
        let own = authority.life.stopped_at.unwrap_or(authority.created_at);
        if authority.kind == AuthorityKind::X509Root {
            self.under(&authority.id).filter_map(|issuing| issuing.life.stopped_at).fold(own, UnixTime::max)
        } else {
            own
        }
    }

    pub(crate) fn has_active_under(&self, root: &KeyId) -> bool {
        self.under(root).any(|issuing| issuing.slot == Slot::Active)
    }

    pub(super) fn window_of(&self, active: &Authority, published_at: UnixTime, now: UnixTime) -> Window {
        let kind = active.kind;
        let urgent = self.is_urgent(active, now);
        let known = published_at.after(self.settings.publication(kind, urgent));
        let mut window = if kind == AuthorityKind::X509Root {
            let due = if urgent { known } else { known.max(self.renewal(active)) };
            Window { due, deadline: due }
        } else if urgent {
            Window { due: known, deadline: known.after(patience(active)) }
        } else {
            let due = known.max(self.renewal(active));
            Window { due, deadline: due.max(active.not_after.before(active.lifetime() / 6)) }
        };
        // Once the active one has ended nothing can be signed at all: there is nothing to wait for.
        let at_the_end = active.not_after.max(published_at);
        window.due = window.due.min(at_the_end);
        window.deadline = window.deadline.min(at_the_end).max(window.due);
        window
    }

    /// When by schedule an active authority's successor is made or, for a root, takes over.
    fn renewal(&self, active: &Authority) -> UnixTime {
        match active.kind {
            AuthorityKind::X509Root => active.not_after.before(active.lifetime() / 4),
            AuthorityKind::X509Issuing | AuthorityKind::JwtSvid | AuthorityKind::TransactionToken => {
                active.created_at.after(active.lifetime() / 2)
            }
        }
    }

    /// Whether the active authority is to be replaced as soon as can be.
    pub(super) fn is_urgent(&self, active: &Authority, now: UnixTime) -> bool {
        self.request(active.kind).is_some() || self.is_misplaced(active.kind) || active.not_after <= now
    }

    pub(super) fn why(&self, active: &Authority, now: UnixTime) -> &'static str {
        match self.request(active.kind) {
            Some(RotationRequest { emergency: true, .. }) => "an emergency rotation was asked for",
            Some(_) => "a rotation was asked for",
            None if self.is_misplaced(active.kind) => "another root signs now",
            None if active.not_after <= now => "the active one has ended",
            None if active.kind == AuthorityKind::X509Root => "by schedule, at three quarters of the active one's life",
            None => "by schedule, at half of the active one's life",
        }
    }

    /// Why a prepared key of nodes' memory is not to be used, if so.
    fn unfit(&self, prepared: &Authority, now: UnixTime) -> Option<&'static str> {
        let request = self.request(prepared.kind);
        if request.is_some_and(|request| request.emergency && prepared.life.added_at_index <= request.index) {
            Some("it was made before the emergency")
        } else if prepared.kind == AuthorityKind::X509Issuing && !self.is_under_active_root(prepared) {
            Some("it was signed by a root that no longer signs")
        } else if prepared.not_after.since(now) < prepared.lifetime() / 3 {
            Some("too little of its life is left")
        } else {
            None
        }
    }

    fn in_order_of_making(&self, kind: AuthorityKind) -> Vec<&Authority> {
        let mut prepared: Vec<&Authority> = self.of(kind).filter(|one| one.slot == Slot::Prepared).collect();
        prepared.sort_by_key(|one| (one.life.added_at_index, one.created_at));
        prepared
    }
}

pub(super) fn step(authority: &Authority, action: Action, due: UnixTime, why: &'static str) -> Step {
    Step { kind: authority.kind, action, id: Some(authority.id.clone()), due, deadline: None, why }
}

/// How long an urgent activation waits for voters that have not unwrapped the key.
pub(super) fn patience(active: &Authority) -> Duration {
    PATIENCE.min(active.lifetime() / 6)
}

const PATIENCE: Duration = Duration::from_mins(5);
