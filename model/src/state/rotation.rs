//! Commands about authorities. Each is checked against the whole hierarchy at its place in the log, by the rules that
//! the plan is made from, so that neither a person nor an outdated leader can do what the plan would not.

use super::authorities::{self, authority, changed, kind_number, put, remove};
use super::{Position, epoch, load, outside, recipients, settings, store};
use crate::authority::{Authority, AuthorityKind, Life, Slot};
use crate::caller::Caller;
use crate::command::{AuthorityRef, Command, Outcome, Proposal};
use crate::refusal::{Reason, Refusal};
use crate::rotation::{Hierarchy, PastAuthority, RotationRequest};
use crate::rows::{Rows, RowsMut, Space};
use crate::stored::{StoredFormError, from_bytes};

/// All authorities with what their plan depends on, or `None` before the trust domain was made.
///
/// # Errors
/// A row is damaged; the node must stop.
pub fn hierarchy(rows: &dyn Rows) -> Result<Option<Hierarchy>, StoredFormError> {
    let Some(settings) = settings(rows)? else { return Ok(None) };
    let mut hierarchy = Hierarchy {
        settings,
        authorities: Vec::new(),
        requests: Vec::new(),
        epochs: std::collections::BTreeMap::new(),
        past: Vec::new(),
        recipients: recipients::recipients(rows)?,
        certificate_requests: outside::certificate_requests(rows)?,
    };
    for kind in AuthorityKind::ALL {
        hierarchy.authorities.extend(super::authorities(rows, *kind)?);
        hierarchy.requests.extend(load::<RotationRequest>(rows, Space::Meta, &request_key(*kind))?);
        hierarchy.epochs.insert(*kind, epoch(rows, *kind)?);
    }
    for (_, value) in rows.scan(Space::Meta, PAST, None, usize::MAX) {
        hierarchy.past.push(from_bytes(&value)?);
    }
    Ok(Some(hierarchy))
}

pub(super) fn apply(
    rows: &mut dyn RowsMut,
    position: Position,
    proposal: &Proposal,
) -> Result<Outcome, StoredFormError> {
    let Some(hierarchy) = hierarchy(rows)? else {
        return Ok(refused(Reason::NotInitialized, "this cluster has no trust domain yet: run `signet cluster init`"));
    };
    let change = Change { hierarchy: &hierarchy, position, caller: &proposal.caller };
    let done = match &proposal.command {
        Command::PrepareAuthority { authority, expected_epoch } => change.prepare(rows, authority, *expected_epoch)?,
        Command::ActivateAuthority { authority, expected_epoch, waits_for, force } => {
            change.activate(rows, authority, *expected_epoch, waits_for, *force)?
        }
        Command::TaintAuthority { authority, expected_epoch } => change.taint(rows, authority, *expected_epoch)?,
        Command::RevokeAuthority { authority, expected_epoch, force } => {
            change.revoke(rows, authority, *expected_epoch, *force)?
        }
        Command::RetireAuthority { authority, expected_epoch } => change.retire(rows, authority, *expected_epoch)?,
        Command::RequestRotation { kinds, reason, emergency, revoke_after_secs } => {
            change.request(rows, kinds, reason, *emergency, *revoke_after_secs)
        }
        Command::ReportUnwrapped { node, authorities } => report(rows, *node, authorities)?,
        Command::KeepCertificateRequest { request } => outside::keep(rows, &hierarchy, request),
        Command::DropCertificateRequest { id } => outside::forget(rows, &hierarchy, id),
        Command::AddRecipient { .. }
        | Command::RemoveRecipient { .. }
        | Command::RewrapKeys { .. }
        | Command::ReportBackends { .. }
        | Command::PlaceRoots { .. }
        | Command::Establish { .. }
        | Command::CreateEntries { .. }
        | Command::UpdateEntries { .. }
        | Command::DeleteEntries { .. }
        | Command::ApplyPolicy { .. }
        | Command::RecordIssuance { .. }
        | Command::Remember { .. } => Err(Refusal::new(Reason::Internal, "not a command about authorities")),
    };
    Ok(done.map_or_else(Outcome::Refused, |()| Outcome::Done))
}

/// Either done, or refused with nothing changed; the outer error is a damaged row.
type Done = Result<Result<(), Refusal>, StoredFormError>;

/// A command about to change the hierarchy.
struct Change<'a> {
    hierarchy: &'a Hierarchy,
    position: Position,
    caller: &'a Caller,
}

/// Ends the enclosing function with the refusal, if there is one: nothing was changed yet.
macro_rules! allowed {
    ($checked:expr) => {
        match $checked {
            Ok(value) => value,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}

impl Change<'_> {
    fn prepare(&self, rows: &mut dyn RowsMut, new: &Authority, expected_epoch: u64) -> Done {
        allowed!(self.stands_at(new.kind, expected_epoch));
        allowed!(self.may_prepare(new));
        let life = Life {
            added_at_index: self.position.index,
            published_at: Some(self.position.at),
            issuer: new.life.issuer.clone(),
            ..Life::default()
        };
        let mut new = Authority { life, ..new.clone() };
        allowed!(self.hierarchy.recipients.keep_wrappings(&mut new));
        put(rows, &new);
        outside::signed(rows, self.hierarchy, &new);
        changed(rows, new.kind)?;
        Ok(Ok(()))
    }

    fn may_prepare(&self, new: &Authority) -> Result<(), Refusal> {
        let name = name(new);
        if new.slot != Slot::Prepared {
            return Err(Refusal::invalid(format!("{name}: a new authority begins as prepared")));
        }
        if self.hierarchy.find(&name).is_some() || self.hierarchy.past.iter().any(|past| past.authority == name) {
            return Err(Refusal::new(
                Reason::AlreadyExists,
                format!("{name} exists or has existed; make a new key instead"),
            ));
        }
        if self.hierarchy.of(new.kind).filter(|one| one.slot == Slot::Prepared).count() >= MAX_PREPARED {
            return Err(precondition(format!(
                "{MAX_PREPARED} {} authorities are prepared already: activate or revoke one first",
                new.kind
            )));
        }
        if new.kind == AuthorityKind::X509Issuing && !self.hierarchy.is_under_active_root(new) {
            let detail = format!("{name} was signed by a root that is not the active one; prepare it again");
            return Err(Refusal::new(Reason::Conflict, detail));
        }
        self.only_by_a_person(new)
    }

    /// No node puts a root of its own making in the place of one from elsewhere.
    fn only_by_a_person(&self, new: &Authority) -> Result<(), Refusal> {
        let own = new.kind == AuthorityKind::X509Root && !new.is_outside();
        if own && matches!(self.caller, Caller::Node { .. }) && self.hierarchy.is_from_outside(self.position.at) {
            let detail = format!(
                "{} was made here, and this trust domain's root comes from elsewhere: only a person replaces it",
                name(new)
            );
            return Err(precondition(detail));
        }
        Ok(())
    }

    fn activate(
        &self,
        rows: &mut dyn RowsMut,
        which: &AuthorityRef,
        expected_epoch: u64,
        waits_for: &[u64],
        force: bool,
    ) -> Done {
        let mut new = allowed!(self.found(which, expected_epoch)).clone();
        allowed!(self.may_activate(&new, waits_for, force));
        let request = self.hierarchy.request(which.kind);
        if let Some(mut old) = self.hierarchy.active(which.kind).cloned() {
            old.slot = Slot::Retiring;
            old.life.stopped_at = Some(self.position.at);
            old.life.revoke_after_secs = request.and_then(|request| request.revoke_after_secs);
            put(rows, &old);
        }
        new.slot = Slot::Active;
        new.life.activated_at = Some(self.position.at);
        put(rows, &new);
        if request.is_some_and(|request| !request.emergency || self.is_newer(&new, request)) {
            rows.delete(Space::Meta, &request_key(which.kind));
        }
        changed(rows, which.kind)?;
        Ok(Ok(()))
    }

    fn may_activate(&self, new: &Authority, waits_for: &[u64], force: bool) -> Result<(), Refusal> {
        let (name, now) = (name(new), self.position.at);
        match new.slot {
            Slot::Prepared => {}
            Slot::Active => return Err(precondition(format!("{name} is active already"))),
            Slot::Retiring => {
                return Err(precondition(format!("{name} has stopped signing for good; prepare a new one")));
            }
        }
        if new.not_after <= now {
            return Err(precondition(format!("{name} has ended; prepare a new one")));
        }
        self.only_by_a_person(new)?;
        if new.kind == AuthorityKind::X509Issuing && !self.hierarchy.is_under_active_root(new) {
            return Err(precondition(format!(
                "{name} was signed by a root that is not the active one; prepare a new one"
            )));
        }
        if new.kind != AuthorityKind::X509Root && new.life.unwrapped_by.is_empty() {
            return Err(precondition(format!(
                "no node has unwrapped {name} yet, so nobody could sign with it; see the nodes' logs for the reason"
            )));
        }
        let active_has_ended = self.hierarchy.active(new.kind).is_none_or(|active| active.not_after <= now);
        if force || active_has_ended {
            return Ok(());
        }
        let known = new.published_at().after(self.hierarchy.settings.publication(new.kind, true));
        if now < known {
            let wait = known.since(now).as_millis().div_ceil(1000);
            return Err(precondition(format!(
                "{name} has not been published for long enough: verifiers that still keep the bundle before it would refuse what it signs; it can be activated in {wait} s"
            )));
        }
        let missing: Vec<u64> =
            waits_for.iter().copied().filter(|node| !new.life.unwrapped_by.contains(node)).collect();
        let deadline = self.hierarchy.window(new, now).map_or(now, |window| window.deadline);
        if new.kind != AuthorityKind::X509Root && !missing.is_empty() && now < deadline {
            let wait = deadline.since(now).as_millis().div_ceil(1000);
            return Err(precondition(format!(
                "{name} has not been unwrapped by node {missing:?} (see its log for the reason); without that node it can be activated in {wait} s"
            )));
        }
        Ok(())
    }

    /// Whether `new` was made after `request`.
    fn is_newer(&self, new: &Authority, request: &RotationRequest) -> bool {
        // What a root signed is what could be known to others, never the root: any standby does.
        new.kind == AuthorityKind::X509Root || new.life.added_at_index > request.index
    }

    fn taint(&self, rows: &mut dyn RowsMut, which: &AuthorityRef, expected_epoch: u64) -> Done {
        let mut old = allowed!(self.found(which, expected_epoch)).clone();
        allowed!(self.may_taint(&old));
        old.life.tainted_at = Some(self.position.at);
        put(rows, &old);
        changed(rows, which.kind)?;
        Ok(Ok(()))
    }

    fn may_taint(&self, old: &Authority) -> Result<(), Refusal> {
        let name = name(old);
        match old.slot {
            Slot::Retiring if old.is_tainted() => Err(precondition(format!("{name} is tainted already"))),
            Slot::Retiring => self.nothing_active_under(old).and_then(|()| self.is_its_own_anchor(old)),
            Slot::Active => Err(precondition(format!(
                "{name} is active, and agents would be told to ask anew for what they would get again: activate another first"
            ))),
            Slot::Prepared => {
                Err(precondition(format!("{name} has never signed, so there is nothing to ask anew for: revoke it")))
            }
        }
    }

    fn revoke(&self, rows: &mut dyn RowsMut, which: &AuthorityRef, expected_epoch: u64, force: bool) -> Done {
        let old = allowed!(self.found(which, expected_epoch)).clone();
        allowed!(self.may_revoke(&old, force));
        self.forget(rows, &old, old.slot != Slot::Prepared)?;
        if old.kind == AuthorityKind::X509Root && old.slot == Slot::Retiring {
            // What is under it verifies nowhere any more.
            let under: Vec<&Authority> =
                self.hierarchy.under(&old.id).filter(|issuing| issuing.life.issuer == old.id).collect();
            for issuing in &under {
                self.forget(rows, issuing, true)?;
            }
            if !under.is_empty() {
                changed(rows, AuthorityKind::X509Issuing)?;
            }
        }
        changed(rows, which.kind)?;
        Ok(Ok(()))
    }

    fn may_revoke(&self, old: &Authority, force: bool) -> Result<(), Refusal> {
        let (name, now) = (name(old), self.position.at);
        match old.slot {
            Slot::Active => {
                return Err(precondition(format!("{name} is active: activate another first, then revoke this one")));
            }
            Slot::Prepared => return Ok(()),
            Slot::Retiring => {}
        }
        if old.kind == AuthorityKind::X509Issuing && now < old.not_after {
            return Err(precondition(format!(
                "{name} cannot be revoked alone, because verifiers go by its root, {}: they accept what it signed until it ends. \
                 Rotate the root (`signet authority rotate --kind x509-root --emergency`), then revoke the old root",
                old.life.issuer
            )));
        }
        self.nothing_active_under(old)?;
        if now < self.hierarchy.ended_at(old) {
            self.is_its_own_anchor(old)?;
        }
        let stopped = self.hierarchy.stopped_at(old).after(self.hierarchy.settings.stops_within());
        if now < stopped && !force {
            let wait = stopped.since(now).as_millis().div_ceil(1000);
            return Err(precondition(format!(
                "{name} stopped signing just now, and a node that is cut off may still sign with it for {wait} s; revoke it then"
            )));
        }
        Ok(())
    }

    fn retire(&self, rows: &mut dyn RowsMut, which: &AuthorityRef, expected_epoch: u64) -> Done {
        let old = allowed!(self.found(which, expected_epoch)).clone();
        allowed!(self.may_retire(&old));
        self.forget(rows, &old, false)?;
        changed(rows, which.kind)?;
        Ok(Ok(()))
    }

    fn may_retire(&self, old: &Authority) -> Result<(), Refusal> {
        let name = name(old);
        if old.slot != Slot::Retiring {
            return Err(precondition(format!("{name} is {}: only what has stopped signing retires", old.slot.name())));
        }
        self.nothing_active_under(old)?;
        let ended = self.hierarchy.ended_at(old);
        if self.position.at < ended {
            let wait = ended.since(self.position.at).as_secs() + 1;
            return Err(precondition(format!("something that {name} signed may be valid for another {wait} s")));
        }
        Ok(())
    }

    fn request(
        &self,
        rows: &mut dyn RowsMut,
        kinds: &[AuthorityKind],
        reason: &str,
        emergency: bool,
        revoke_after_secs: Option<u32>,
    ) -> Result<(), Refusal> {
        if reason.len() > MAX_REASON_BYTES {
            return Err(Refusal::invalid(format!("reason: at most {MAX_REASON_BYTES} bytes")));
        }
        if revoke_after_secs.is_some() && kinds.contains(&AuthorityKind::X509Issuing) {
            return Err(Refusal::invalid(
                "revoke_after: an issuing CA cannot be revoked alone, because verifiers go by its root: rotate x509-root with revoke_after instead",
            ));
        }
        for kind in kinds {
            // Whoever asks later adds to what was asked before, and takes nothing back.
            let before = self.hierarchy.request(*kind);
            let earlier = before.and_then(|request| request.revoke_after_secs);
            let request = RotationRequest {
                kind: *kind,
                index: self.position.index,
                at: self.position.at,
                by: self.caller.clone(),
                reason: reason.to_owned(),
                emergency: emergency || before.is_some_and(|request| request.emergency),
                revoke_after_secs: match (earlier, revoke_after_secs) {
                    (Some(earlier), Some(now)) => Some(earlier.min(now)),
                    (earlier, now) => earlier.or(now),
                },
            };
            store(rows, Space::Meta, &request_key(*kind), &request);
        }
        Ok(())
    }

    /// Removes `old` and notes that it was.
    fn forget(&self, rows: &mut dyn RowsMut, old: &Authority, revoked: bool) -> Result<(), StoredFormError> {
        remove(rows, old);
        let past = PastAuthority {
            authority: name(old),
            index: self.position.index,
            at: self.position.at,
            revoked,
            by: self.caller.clone(),
            not_after: old.not_after,
        };
        let of_kind = [PAST, &[kind_number(old.kind)]].concat();
        let key = [of_kind.as_slice(), &self.position.index.to_be_bytes(), old.id.as_bytes()].concat();
        store(rows, Space::Meta, &key, &past);
        let known = rows.scan(Space::Meta, &of_kind, None, usize::MAX);
        for (key, _) in known.iter().take(known.len().saturating_sub(PAST_OF_A_KIND)) {
            rows.delete(Space::Meta, key);
        }
        Ok(())
    }

    fn stands_at(&self, kind: AuthorityKind, expected_epoch: u64) -> Result<(), Refusal> {
        if self.hierarchy.epoch(kind) == expected_epoch {
            return Ok(());
        }
        let detail = format!("the {kind} authorities were changed meanwhile; look again and retry");
        Err(Refusal::new(Reason::Conflict, detail))
    }

    fn found(&self, which: &AuthorityRef, expected_epoch: u64) -> Result<&Authority, Refusal> {
        self.stands_at(which.kind, expected_epoch)?;
        self.hierarchy.find(which).ok_or_else(|| {
            let detail = format!("there is no authority {which}; `signet authority show` lists them");
            Refusal::new(Reason::NotFound, detail)
        })
    }

    fn is_its_own_anchor(&self, old: &Authority) -> Result<(), Refusal> {
        if self.hierarchy.shares_anchor(old) {
            return Err(precondition(format!(
                "verifiers know {} by the certificate of an outside CA that stays in the bundle for another root, so they accept what is under it until that ends; \
                 have the outside CA revoke it, or import a chain of another outside CA and rotate to that",
                name(old)
            )));
        }
        Ok(())
    }

    fn nothing_active_under(&self, old: &Authority) -> Result<(), Refusal> {
        if old.kind == AuthorityKind::X509Root && self.hierarchy.has_active_under(&old.id) {
            return Err(precondition(format!(
                "the active issuing CA is under {}: activate an issuing CA under the active root first",
                name(old)
            )));
        }
        Ok(())
    }
}

/// Notes that `node` could sign with these. What is gone meanwhile is passed over.
fn report(rows: &mut dyn RowsMut, node: u64, authorities: &[AuthorityRef]) -> Done {
    for which in authorities {
        if let Some(mut authority) = authority(rows, which)?
            && let Err(at) = authority.life.unwrapped_by.binary_search(&node)
        {
            authority.life.unwrapped_by.insert(at, node);
            authorities::put(rows, &authority);
        }
    }
    Ok(Ok(()))
}

fn name(authority: &Authority) -> AuthorityRef {
    AuthorityRef { kind: authority.kind, id: authority.id.clone() }
}

fn precondition(detail: String) -> Refusal {
    Refusal::new(Reason::FailedPrecondition, detail)
}

fn refused(reason: Reason, detail: &str) -> Outcome {
    Outcome::Refused(Refusal::new(reason, detail))
}

fn request_key(kind: AuthorityKind) -> Vec<u8> {
    [b"rotation/".as_slice(), &[kind_number(kind)]].concat()
}

/// Row keys of past authorities: this, the kind, the log index, the id.
const PAST: &[u8] = b"past/";
/// How many past authorities of a kind are remembered.
const PAST_OF_A_KIND: usize = 32;
const MAX_PREPARED: usize = 2;
const MAX_REASON_BYTES: usize = 256;
