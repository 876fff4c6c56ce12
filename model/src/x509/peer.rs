//! Whose certificate it is that a peer presents.

use crate::spiffe_id::{SpiffeId, TrustDomain};
use crate::time::UnixTime;

/// The trust anchors of one trust domain, parsed once.
#[derive(Debug, Clone)]
pub struct TrustAnchors {
    trust_domain: TrustDomain,
}

/// Why a certificate proves nothing. The text says what is wrong in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// No certificate was presented.
    #[error("no certificate was presented")]
    NoCertificate,
}

/// What a certificate says, and everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspection {
    /// The SPIFFE ID, if there is a valid one.
    pub spiffe_id: Option<SpiffeId>,
    /// Subject, as RFC 4514 writes names.
    pub subject: String,
    /// Issuer, as RFC 4514 writes names.
    pub issuer: String,
    /// Serial number, lower-case hex.
    pub serial: String,
    /// `notBefore`, seconds since the epoch.
    pub not_before_secs: u64,
    /// `notAfter`, seconds since the epoch.
    pub not_after_secs: u64,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// The issuer's key identifier, lower-case hex.
    pub authority_id: String,
    /// What is wrong, one sentence each; empty when it would be accepted.
    pub problems: Vec<String>,
}

impl TrustAnchors {
    /// Anchors of `trust_domain` from its root certificates, DER.
    ///
    /// # Errors
    /// [`PeerError`]: one of them is not a certificate.
    pub fn new<'a>(
        trust_domain: TrustDomain,
        certificates: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, PeerError> {
        todo!("{trust_domain} {}", certificates.into_iter().count())
    }

    /// Whose anchors they are.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The SPIFFE ID proven by `chain` (DER, leaf first) at `now`. That the peer has the leaf's private key is the TLS
    /// stack's to check.
    ///
    /// # Errors
    /// [`PeerError`]: the certificate is not an X.509-SVID of this trust domain that is valid now.
    pub fn authenticate<C: AsRef<[u8]>>(&self, chain: &[C], now: UnixTime) -> Result<SpiffeId, PeerError> {
        todo!("{} {now:?}", chain.len())
    }
}

/// Reads a chain (DER, leaf first) for people, against `anchors` if there are some.
#[must_use]
pub fn inspect<C: AsRef<[u8]>>(chain: &[C], anchors: Option<&TrustAnchors>, now: UnixTime) -> Inspection {
    todo!("{} {anchors:?} {now:?}", chain.len())
}
