//! What is handed out: SVIDs and the bundle that verifies them.

use crate::authority::KeyId;
use crate::spiffe_id::{SpiffeId, TrustDomain};

/// An issued X.509-SVID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct X509Svid {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// DER certificates, the leaf first, then intermediates; no root.
    pub cert_chain: Vec<Vec<u8>>,
    /// `notAfter` of the leaf, seconds since the epoch.
    pub expires_at_secs: u64,
    /// The entry's hint.
    pub hint: String,
}

/// An issued JWT-SVID.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtSvid {
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// Compact serialization. A bearer credential: never logged.
    pub token: String,
    /// `iat`
    pub issued_at_secs: u64,
    /// `exp`
    pub expires_at_secs: u64,
    /// The entry's hint.
    pub hint: String,
}

impl std::fmt::Debug for JwtSvid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtSvid")
            .field("spiffe_id", &self.spiffe_id)
            .field("expires_at_secs", &self.expires_at_secs)
            .finish_non_exhaustive()
    }
}

/// What verifies the SVIDs of one trust domain (SPIFFE Trust Domain and Bundle §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustBundle {
    /// Whose bundle it is.
    pub trust_domain: TrustDomain,
    /// Trust anchors.
    pub x509_authorities: Vec<X509Authority>,
    /// Keys of JWT-SVIDs.
    pub jwt_authorities: Vec<JwtAuthority>,
    /// Seconds until a consumer should look again.
    pub refresh_hint_secs: u32,
    /// Grows with each change of the content.
    pub sequence_number: u64,
}

/// A trust anchor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct X509Authority {
    /// The CA certificate, DER.
    pub certificate: Vec<u8>,
    /// Agents must re-key what it signed.
    pub tainted: bool,
}

/// A key that signs JWT-SVIDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtAuthority {
    /// `SubjectPublicKeyInfo`, DER.
    pub public_key: Vec<u8>,
    /// `kid`
    pub key_id: KeyId,
    /// Nothing it signs is valid after this; seconds since the epoch.
    pub expires_at_secs: u64,
    /// Agents must fetch anew what it signed.
    pub tainted: bool,
}
