//! By when an old authority is gone for everybody.

use std::time::Duration;

use super::plan::patience;
use super::timing::CLOCK_TOLERANCE;
use super::{Action, Hierarchy};
use crate::authority::{Authority, AuthorityKind, Slot};
use crate::command::AuthorityRef;
use crate::time::UnixTime;

/// By when an authority that is being replaced counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Which.
    pub authority: AuthorityRef,
    /// No node signs with it after this.
    pub signs_until: UnixTime,
    /// No verifier that keeps to the refresh hint accepts anything signed by it after this.
    pub accepted_until: UnixTime,
}

impl Hierarchy {
    /// For every authority that has been replaced or is being replaced on request: by when it counts for nothing, if the
    /// cluster keeps a quorum and the key backend answers.
    #[must_use]
    pub fn bounds(&self, now: UnixTime) -> Vec<Bound> {
        self.authorities.iter().filter_map(|authority| self.bound(authority, now)).collect()
    }

    fn bound(&self, authority: &Authority, now: UnixTime) -> Option<Bound> {
        let stops_within = self.settings.stops_within();
        let stopped = match authority.slot {
            Slot::Prepared => return None,
            Slot::Active if self.request(authority.kind).is_none() => return None,
            Slot::Active => self.replaced_at(authority.kind, now),
            Slot::Retiring => self.stopped_at(authority),
        };
        let signs_until = stopped.after(stops_within).min(authority.not_after);
        Some(Bound {
            authority: AuthorityRef { kind: authority.kind, id: authority.id.clone() },
            signs_until,
            accepted_until: self.accepted_until(authority, stopped),
        })
    }

    /// The latest moment at which the successor takes over.
    fn replaced_at(&self, kind: AuthorityKind, now: UnixTime) -> UnixTime {
        let plan = self.plan(now);
        let activation = plan.iter().find(|step| step.kind == kind && step.action == Action::Activate);
        activation.and_then(|step| step.deadline).map_or(now, |deadline| deadline.max(now))
    }

    fn accepted_until(&self, authority: &Authority, stopped: UnixTime) -> UnixTime {
        let ended = match authority.kind {
            AuthorityKind::X509Root => {
                let under = self.under(&authority.id).map(|issuing| issuing.not_after);
                under.fold(stopped.after(self.settings.stops_within()), UnixTime::max)
            }
            AuthorityKind::X509Issuing | AuthorityKind::JwtSvid | AuthorityKind::TransactionToken => {
                authority.not_after
            }
        }
        .after(CLOCK_TOLERANCE);
        let request = self.request(authority.kind);
        let revoke_after = match authority.slot {
            Slot::Retiring => self.revoked_after(authority),
            Slot::Prepared | Slot::Active => {
                request.and_then(|request| request.revoke_after_secs).filter(|_| !self.shares_anchor(authority))
            }
        };
        if let Some(secs) = revoke_after {
            let after = Duration::from_secs(secs.into()).max(self.settings.stops_within());
            // A root's issuing CA is replaced after the root itself.
            let issuing = self.active(AuthorityKind::X509Issuing);
            let issuing = issuing.filter(|_| authority.kind == AuthorityKind::X509Root);
            let issuing = issuing.filter(|_| self.has_active_under(&authority.id)).map_or(Duration::ZERO, patience);
            return stopped.after(issuing).after(after).after(self.settings.caches()).min(ended);
        }
        // An issuing CA goes with its root, if that goes first.
        let root = self.of(AuthorityKind::X509Root).find(|root| root.id == authority.life.issuer);
        match root.filter(|root| authority.kind == AuthorityKind::X509Issuing && root.slot == Slot::Retiring) {
            Some(root) if self.revoked_after(root).is_some() => {
                self.accepted_until(root, self.stopped_at(root)).min(ended)
            }
            Some(_) | None => ended,
        }
    }
}
