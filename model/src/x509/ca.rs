//! CA certificates: the root, and the issuing CAs that it signs.

use super::{SerialNumber, TbsCertificate, Validity};
use crate::authority::KeyId;
use crate::spiffe_id::TrustDomain;
use crate::time::UnixTime;

/// Everything that a CA certificate says.
#[derive(Debug, Clone, Copy)]
pub struct Template<'a> {
    /// Whose CA it is.
    pub trust_domain: &'a TrustDomain,
    /// `SubjectPublicKeyInfo`, DER, P-256.
    pub public_key: &'a [u8],
    /// Its serial number. Also makes its subject unlike that of any other CA.
    pub serial: SerialNumber,
    /// How long it is valid. Cut to the issuer's.
    pub validity: Validity,
    /// Who signs; `None` for a root, which signs itself.
    pub issuer: Option<&'a IssuerView>,
}

impl Template<'_> {
    /// The bytes to be signed.
    #[must_use]
    pub fn to_be_signed(&self) -> TbsCertificate {
        todo!()
    }
}

/// A CA as seen by what it signs: made once per CA certificate, used for every leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerView {
    certificate: Vec<u8>,
    key_id: Vec<u8>,
    validity: Validity,
}

/// A certificate that is not one of our CAs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// The certificate's key is another one.
    #[error("the CA certificate does not belong to the public key it was stored with")]
    WrongPublicKey,
}

impl IssuerView {
    /// Reads a CA certificate of `trust_domain` (DER) that must belong to `public_key` (`SubjectPublicKeyInfo`, DER).
    ///
    /// # Errors
    /// [`IssuerError`].
    pub fn new(certificate: &[u8], public_key: &[u8], trust_domain: &TrustDomain) -> Result<Self, IssuerError> {
        todo!("{certificate:?} {public_key:?} {trust_domain}")
    }

    /// The certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// How long it is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The authority's id: its subject key identifier in lower-case hex.
    #[must_use]
    pub fn authority_id(&self) -> KeyId {
        todo!()
    }
}

/// The id of an X.509 authority: the lower-case hex of its key's SHA-1 key identifier (RFC 5280 §4.2.1.2 method 1).
#[must_use]
pub fn authority_id(public_key: &[u8]) -> KeyId {
    todo!("{public_key:?}")
}

/// When a CA made now begins to be valid: ten seconds ago, for clocks that are behind.
#[must_use]
pub fn not_before(now: UnixTime) -> UnixTime {
    todo!("{now:?}")
}
