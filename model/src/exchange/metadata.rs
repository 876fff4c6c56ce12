//! The public documents of the token endpoint: metadata (RFC 8414) and the keys of transaction tokens (RFC 7517).

use super::Endpoint;
use crate::authority::Authority;

/// Metadata of the token endpoint, JSON.
#[must_use]
pub fn metadata_document(endpoint: &Endpoint) -> Vec<u8> {
    let _ = endpoint;
    todo!()
}

/// The JWK Set of the transaction-token keys among `authorities`, in whatever slot: what is prepared must be known
/// before it signs, what is retiring still verifies.
#[must_use]
pub fn jwks_document(authorities: &[Authority]) -> Vec<u8> {
    let _ = authorities;
    todo!()
}
