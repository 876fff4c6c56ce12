//! Authorities by kind, and the bundle they make up.

use super::{Position, load, settings, store};
use crate::authority::{Authority, AuthorityKind, Life, Slot};
use crate::command::AuthorityRef;
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

/// How many times the authorities of a kind have changed.
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
        x509_authorities: anchors(&roots),
        jwt_authorities: jwt
            .into_iter()
            .map(|key| JwtAuthority {
                tainted: key.is_tainted(),
                public_key: key.public_key,
                key_id: key.id,
                expires_at_secs: key.not_after.secs(),
            })
            .collect(),
        refresh_hint_secs: settings.refresh_hint_secs,
        sequence_number: load(rows, Space::Meta, BUNDLE_SEQUENCE)?.unwrap_or(0),
    }))
}

/// The trust anchors, each once. One by which several roots are known is tainted when all of them are.
fn anchors(roots: &[Authority]) -> Vec<X509Authority> {
    let mut anchors: Vec<X509Authority> = Vec::new();
    for root in roots {
        match anchors.iter_mut().find(|known| known.certificate == root.anchor()) {
            Some(known) => known.tainted &= root.is_tainted(),
            None => {
                anchors.push(X509Authority { tainted: root.is_tainted(), certificate: root.anchor().to_vec() });
            }
        }
    }
    anchors
}

pub(super) fn authority(rows: &dyn Rows, which: &AuthorityRef) -> Result<Option<Authority>, StoredFormError> {
    load(rows, Space::Authorities, &row_key(which.kind, &which.id))
}

/// Adds one of the trust domain's first authorities.
pub(super) fn add_first(
    rows: &mut dyn RowsMut,
    position: Position,
    authority: &Authority,
) -> Result<(), StoredFormError> {
    let mut authority = authority.clone();
    authority.life = Life {
        added_at_index: position.index,
        published_at: Some(position.at),
        activated_at: (authority.slot == Slot::Active).then_some(position.at),
        issuer: authority.life.issuer,
        ..Life::default()
    };
    put(rows, &authority);
    changed(rows, authority.kind)
}

/// Writes an authority as it now is. Whoever changes more than a report calls [`changed`] too.
pub(super) fn put(rows: &mut dyn RowsMut, authority: &Authority) {
    store(rows, Space::Authorities, &row_key(authority.kind, &authority.id), authority);
}

/// Removes an authority, its wrapped key with it.
pub(super) fn remove(rows: &mut dyn RowsMut, authority: &Authority) {
    rows.delete(Space::Authorities, &row_key(authority.kind, &authority.id));
}

/// Counts a change of a kind, and of the bundle where the kind stands in it.
pub(super) fn changed(rows: &mut dyn RowsMut, kind: AuthorityKind) -> Result<(), StoredFormError> {
    let next = epoch(rows, kind)? + 1;
    store(rows, Space::Meta, &epoch_key(kind), &next);
    let published = match kind {
        AuthorityKind::X509Root | AuthorityKind::JwtSvid => true,
        AuthorityKind::X509Issuing | AuthorityKind::TransactionToken => false,
    };
    if published {
        let sequence = load::<u64>(rows, Space::Meta, BUNDLE_SEQUENCE)?.unwrap_or(0) + 1;
        store(rows, Space::Meta, BUNDLE_SEQUENCE, &sequence);
    }
    Ok(())
}

fn row_key(kind: AuthorityKind, id: &str) -> Vec<u8> {
    [&[kind_number(kind)], id.as_bytes()].concat()
}

fn epoch_key(kind: AuthorityKind) -> Vec<u8> {
    [b"epoch/".as_slice(), &[kind_number(kind)]].concat()
}

/// Stored form: the first byte of an authority's row key.
pub(super) const fn kind_number(kind: AuthorityKind) -> u8 {
    match kind {
        AuthorityKind::X509Root => 0,
        AuthorityKind::X509Issuing => 1,
        AuthorityKind::JwtSvid => 2,
        AuthorityKind::TransactionToken => 3,
    }
}

const BUNDLE_SEQUENCE: &[u8] = b"bundle_sequence";
