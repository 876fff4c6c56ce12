//! Authorities.

use signet_model::authority::{Authority, AuthorityKind, CertificateRequest, StoredKey};
use signet_model::command::{AuthorityRef, Settings};
use signet_model::refusal::Refusal;
use signet_model::rotation::{Bound, PastAuthority, RotationRequest, Step};
use signet_model::time::UnixTime;
use signet_model::x509::subject_text;

use crate::proto::authority as wire;
use crate::service::Authorities;

/// Everything for the wire, but for the keys.
pub(crate) fn from_authorities(told: Authorities) -> wire::State {
    let requests = &told.hierarchy.certificate_requests;
    wire::State {
        now: told.now.millis(),
        authorities: told
            .hierarchy
            .authorities
            .iter()
            .map(|one| from_authority(one, &told.hierarchy.settings))
            .collect(),
        plan: told.plan.into_iter().map(from_step).collect(),
        bounds: told.bounds.iter().map(from_bound).collect(),
        requests: told.hierarchy.requests.iter().map(from_request).collect(),
        past: told.hierarchy.past.iter().map(from_past).collect(),
        changed: told.changed.as_ref().map(from_name),
        kms_calls: told.kms_calls,
        notes: told.notes,
        certificate_requests: requests.iter().map(from_certificate_request).collect(),
    }
}

/// A kind from the wire.
///
/// # Errors
/// None is named, or one that this program does not know.
pub(crate) fn kind(number: i32) -> Result<AuthorityKind, Refusal> {
    let kind = wire::Kind::try_from(number).unwrap_or(wire::Kind::Unspecified);
    let known = KINDS.iter().find(|(_, wire)| *wire == kind).map(|(kind, _)| *kind);
    known.ok_or_else(|| Refusal::invalid("kind: name one of x509-root, x509-issuing, jwt-svid and transaction-token"))
}

/// A kind for the wire.
pub(crate) fn from_kind(kind: AuthorityKind) -> wire::Kind {
    KINDS.iter().find(|(known, _)| *known == kind).map_or(wire::Kind::Unspecified, |(_, wire)| *wire)
}

/// A name from the wire.
///
/// # Errors
/// It is missing or incomplete.
pub(crate) fn name(name: Option<wire::Name>) -> Result<AuthorityRef, Refusal> {
    let name = name.ok_or_else(|| Refusal::invalid("authority: is missing"))?;
    if name.id.is_empty() {
        return Err(Refusal::invalid("authority.id: is missing; `signet authority show` lists the ids"));
    }
    Ok(AuthorityRef { kind: kind(name.kind)?, id: name.id })
}

/// A name for the wire.
pub(crate) fn from_name(name: &AuthorityRef) -> wire::Name {
    wire::Name { kind: from_kind(name.kind) as i32, id: name.id.clone() }
}

fn kept_by(key: &StoredKey) -> Vec<String> {
    match key {
        StoredKey::InBackend { recipient: Some(recipient), .. } => vec![recipient.clone()],
        StoredKey::InBackend { backend, recipient: None, .. } => vec![backend.clone()],
        StoredKey::Wrapped { for_recipients } => for_recipients.iter().map(|one| one.recipient.clone()).collect(),
    }
}

fn from_certificate_request(request: &CertificateRequest) -> wire::CertificateRequest {
    wire::CertificateRequest {
        id: request.id.clone(),
        made_at: request.made_at.millis(),
        request: request.request.clone(),
        kept_by: kept_by(&request.key),
    }
}

fn from_authority(authority: &Authority, settings: &Settings) -> wire::Authority {
    // One that is only planned has no key yet.
    let planned = authority.public_key.is_empty().then(|| settings.key_choice(authority.kind));
    let algorithm = authority
        .algorithm()
        .or(planned.map(|choice| choice.algorithm))
        .map(|algorithm| algorithm.name_for(authority.kind).to_owned());
    let in_backend = match &authority.key {
        StoredKey::InBackend { .. } => true,
        StoredKey::Wrapped { .. } => planned.is_some_and(|choice| choice.in_backend),
    };
    let life = &authority.life;
    wire::Authority {
        name: Some(from_name(&AuthorityRef { kind: authority.kind, id: authority.id.clone() })),
        slot: authority.slot.name().to_owned(),
        not_after: authority.not_after.millis(),
        published_at: authority.published_at().millis(),
        activated_at: life.activated_at.map(UnixTime::millis),
        stopped_at: life.stopped_at.map(UnixTime::millis),
        tainted_at: life.tainted_at.map(UnixTime::millis),
        unwrapped_by: life.unwrapped_by.clone(),
        issuer: life.issuer.clone(),
        kept_by: kept_by(&authority.key),
        algorithm: algorithm.unwrap_or_default(),
        outside: authority.is_outside().then(|| subject_text(authority.anchor()).unwrap_or_default()),
        in_backend,
    }
}

fn from_step(step: Step) -> wire::Step {
    wire::Step {
        kind: from_kind(step.kind) as i32,
        id: step.id.unwrap_or_default(),
        action: step.action.name().to_owned(),
        due: step.due.millis(),
        deadline: step.deadline.map(UnixTime::millis),
        why: step.why.to_owned(),
    }
}

fn from_bound(bound: &Bound) -> wire::Bound {
    wire::Bound {
        authority: Some(from_name(&bound.authority)),
        signs_until: bound.signs_until.millis(),
        accepted_until: bound.accepted_until.millis(),
    }
}

fn from_request(request: &RotationRequest) -> wire::Request {
    wire::Request {
        kind: from_kind(request.kind) as i32,
        at: request.at.millis(),
        by: request.by.to_string(),
        reason: request.reason.clone(),
        emergency: request.emergency,
        revoke_after: request.revoke_after_secs,
    }
}

fn from_past(past: &PastAuthority) -> wire::Past {
    wire::Past {
        authority: Some(from_name(&past.authority)),
        at: past.at.millis(),
        revoked: past.revoked,
        by: past.by.to_string(),
        not_after: past.not_after.millis(),
    }
}

const KINDS: [(AuthorityKind, wire::Kind); 4] = [
    (AuthorityKind::X509Root, wire::Kind::X509Root),
    (AuthorityKind::X509Issuing, wire::Kind::X509Issuing),
    (AuthorityKind::JwtSvid, wire::Kind::JwtSvid),
    (AuthorityKind::TransactionToken, wire::Kind::TransactionToken),
];
