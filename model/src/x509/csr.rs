//! Certificate requests (PKCS#10, RFC 2986): what they ask for, once their signature is checked.

use crate::refusal::Refusal;
use crate::spiffe_id::{SpiffeId, TrustDomain};

/// A request whose signature was checked: its sender has the private key.
///
/// Only the public key is ever taken into a certificate; names are taken by [`Csr::for_mint`] alone, where an
/// administrator asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csr {
    public_key: Vec<u8>,
    uris: Vec<String>,
    dns_names: Vec<String>,
}

/// What an administrator's request may ask for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintRequest {
    /// The identity: in our trust domain, with a path that is not reserved.
    pub spiffe_id: SpiffeId,
    /// DNS names, in the order of the request.
    pub dns_names: Vec<String>,
    /// `SubjectPublicKeyInfo`, DER.
    pub public_key: Vec<u8>,
}

/// Why a request is refused. The sender makes a new one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// There is none.
    #[error("missing CSR")]
    Missing,
}

impl Csr {
    /// Parses a DER request strictly and checks its signature (some 75 µs for P-256).
    ///
    /// # Errors
    /// [`CsrError`].
    pub fn parse(der: &[u8]) -> Result<Self, CsrError> {
        todo!("{der:?}")
    }

    /// `SubjectPublicKeyInfo`, DER.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// URIs among the requested subject alternative names.
    #[must_use]
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// DNS names among the requested subject alternative names.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// What the request asks for, where names are taken from requests: exactly one URI, in `trust_domain`, not
    /// reserved, and valid DNS names of which none covers another.
    ///
    /// # Errors
    /// [`CsrError`].
    pub fn for_mint(&self, trust_domain: &TrustDomain) -> Result<MintRequest, CsrError> {
        todo!("{trust_domain}")
    }
}

impl From<CsrError> for Refusal {
    fn from(error: CsrError) -> Self {
        Self::invalid(error.to_string())
    }
}
