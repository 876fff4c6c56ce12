//! Keys that wait for a certificate of an outside CA.

use super::store;
use crate::authority::{Authority, AuthorityKind, CertificateRequest, StoredKey};
use crate::refusal::{Reason, Refusal};
use crate::rotation::Hierarchy;
use crate::rows::{Rows, RowsMut, Space};
use crate::stored::{StoredFormError, from_bytes};

/// All that wait, the oldest first.
pub(super) fn certificate_requests(rows: &dyn Rows) -> Result<Vec<CertificateRequest>, StoredFormError> {
    let found = rows.scan(Space::Meta, PREFIX, None, usize::MAX);
    let mut requests: Vec<CertificateRequest> =
        found.iter().map(|(_, value)| from_bytes(value)).collect::<Result<_, _>>()?;
    requests.sort_by(|a, b| (a.made_at, &a.id).cmp(&(b.made_at, &b.id)));
    Ok(requests)
}

pub(super) fn keep(rows: &mut dyn RowsMut, hierarchy: &Hierarchy, request: &CertificateRequest) -> Result<(), Refusal> {
    if hierarchy.certificate_requests.len() >= MAX_WAITING {
        let detail = format!(
            "{MAX_WAITING} certificate requests wait already: import a chain for one, or discard one (`signet authority csr --discard ID`)"
        );
        return Err(Refusal::new(Reason::FailedPrecondition, detail));
    }
    if matches!(request.key, StoredKey::Wrapped { .. }) {
        return Err(Refusal::invalid("a root's key is kept in a key backend"));
    }
    store(rows, Space::Meta, &key(&request.id), request);
    Ok(())
}

pub(super) fn forget(rows: &mut dyn RowsMut, hierarchy: &Hierarchy, id: &str) -> Result<(), Refusal> {
    if !hierarchy.certificate_requests.iter().any(|request| request.id == id) {
        let detail = format!("no certificate request {id} waits; `signet authority csr` shows those that do");
        return Err(Refusal::new(Reason::NotFound, detail));
    }
    rows.delete(Space::Meta, &key(id));
    Ok(())
}

/// Forgets the request of a key that has its certificate now.
pub(super) fn signed(rows: &mut dyn RowsMut, hierarchy: &Hierarchy, root: &Authority) {
    let waiting = hierarchy.certificate_requests.iter();
    for request in waiting.filter(|one| root.kind == AuthorityKind::X509Root && one.public_key == root.public_key) {
        rows.delete(Space::Meta, &key(&request.id));
    }
}

fn key(id: &str) -> Vec<u8> {
    [PREFIX, id.as_bytes()].concat()
}

const PREFIX: &[u8] = b"certificate_request/";
/// An outside CA may take weeks, and somebody may ask anew meanwhile.
const MAX_WAITING: usize = 4;
