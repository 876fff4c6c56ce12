//! The SPIFFE bundle document: a JWK Set with trust anchors and JWT keys (SPIFFE Trust Domain and Bundle §4).

use crate::jwk::KeyFormError;
use crate::spiffe_id::TrustDomain;
use crate::svid::TrustBundle;

/// A document that is not a SPIFFE bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleDocumentError {
    /// Not JSON of that form.
    #[error("not a SPIFFE bundle document: a JSON object with a list \"keys\" is expected")]
    NotABundle(#[source] serde_json::Error),
}

/// The document, JSON.
///
/// # Errors
/// [`KeyFormError`]: an authority's key is not P-256; ours all are.
pub fn to_json(bundle: &TrustBundle) -> Result<Vec<u8>, KeyFormError> {
    todo!("{bundle:?}")
}

/// Reads a document. Entries of unknown use, or without what their use needs, are ignored, as the specification says.
///
/// # Errors
/// [`BundleDocumentError`].
pub fn from_json(json: &[u8], trust_domain: &TrustDomain) -> Result<TrustBundle, BundleDocumentError> {
    todo!("{json:?} {trust_domain}")
}

/// Certificates (DER) as one PEM text.
#[must_use]
pub fn to_pem<C: AsRef<[u8]>>(certificates: &[C]) -> String {
    todo!("{}", certificates.len())
}
