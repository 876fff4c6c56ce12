//! Authorities by kind, and the bundle they make up.

use super::{load, settings, store};
use crate::authority::{Authority, AuthorityKind};
use crate::command::Outcome;
use crate::refusal::{Reason, Refusal};
use crate::rows::{Rows, RowsMut, Space};
use crate::stored::{StoredFormError, from_bytes};
use crate::svid::{JwtAuthority, TrustBundle, X509Authority};

/// Every authority of a kind, in the order of their ids.
///
/// # Errors
/// A row is damaged; the node must stop.
pub fn authorities(rows: &dyn Rows, kind: AuthorityKind) -> Result<Vec<Authority>, StoredFormError> {
    rows.scan(Space::Authorities, &[kind_number(kind)], None, usize::MAX)
        .iter()
        .map(|(_, value)| from_bytes(value))
        .collect()
}

/// How many authorities of a kind have ever been added.
///
/// # Errors
/// A row is damaged; the node must stop.
pub fn epoch(rows: &dyn Rows, kind: AuthorityKind) -> Result<u64, StoredFormError> {
    Ok(load(rows, Space::Meta, &epoch_key(kind))?.unwrap_or(0))
}

/// The trust domain's bundle, or `None` before the trust domain was made.
///
/// # Errors
/// A row is damaged; the node must stop.
pub fn trust_bundle(rows: &dyn Rows) -> Result<Option<TrustBundle>, StoredFormError> {
    let Some(settings) = settings(rows)? else { return Ok(None) };
    let roots = authorities(rows, AuthorityKind::X509Root)?;
    let jwt = authorities(rows, AuthorityKind::JwtSvid)?;
    Ok(Some(TrustBundle {
        trust_domain: settings.trust_domain,
        x509_authorities: roots
            .into_iter()
            .map(|root| X509Authority { certificate: root.certificate, tainted: false })
            .collect(),
        jwt_authorities: jwt
            .into_iter()
            .map(|key| JwtAuthority {
                public_key: key.public_key,
                key_id: key.id,
                expires_at_secs: key.not_after.secs(),
                tainted: false,
            })
            .collect(),
        refresh_hint_secs: settings.refresh_hint_secs,
        sequence_number: load(rows, Space::Meta, BUNDLE_SEQUENCE)?.unwrap_or(0),
    }))
}

pub(super) fn prepare(
    rows: &mut dyn RowsMut,
    authority: &Authority,
    expected_epoch: u64,
) -> Result<Outcome, StoredFormError> {
    let present = epoch(rows, authority.kind)?;
    if present != expected_epoch {
        let detail = format!("another {} authority was added meanwhile; look again and retry", authority.kind);
        return Ok(Outcome::Refused(Refusal::new(Reason::Conflict, detail)));
    }
    add(rows, authority)?;
    Ok(Outcome::Done)
}

pub(super) fn add(rows: &mut dyn RowsMut, authority: &Authority) -> Result<(), StoredFormError> {
    let mut key = vec![kind_number(authority.kind)];
    key.extend_from_slice(authority.id.as_bytes());
    store(rows, Space::Authorities, &key, authority);
    let next = epoch(rows, authority.kind)? + 1;
    store(rows, Space::Meta, &epoch_key(authority.kind), &next);
    let published = match authority.kind {
        AuthorityKind::X509Root | AuthorityKind::JwtSvid => true,
        AuthorityKind::X509Issuing | AuthorityKind::TransactionToken => false,
    };
    if published {
        let sequence = load::<u64>(rows, Space::Meta, BUNDLE_SEQUENCE)?.unwrap_or(0) + 1;
        store(rows, Space::Meta, BUNDLE_SEQUENCE, &sequence);
    }
    Ok(())
}

fn epoch_key(kind: AuthorityKind) -> Vec<u8> {
    [b"epoch/".as_slice(), &[kind_number(kind)]].concat()
}

/// Stored form: the first byte of an authority's row key.
const fn kind_number(kind: AuthorityKind) -> u8 {
    match kind {
        AuthorityKind::X509Root => 0,
        AuthorityKind::X509Issuing => 1,
        AuthorityKind::JwtSvid => 2,
        AuthorityKind::TransactionToken => 3,
    }
}

const BUNDLE_SEQUENCE: &[u8] = b"bundle_sequence";
