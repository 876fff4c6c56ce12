//! TLS towards callers: the server's own X.509-SVID, replaceable while connections live, and theirs, checked strictly.

use std::fmt;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use signet_model::spiffe_id::TrustDomain;

use crate::Clock;

/// What a server shows and what it trusts.
pub struct TlsMaterial {
    /// The server's X.509-SVID, leaf first, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
    /// The trust domain's X.509 authorities.
    pub anchors: Vec<CertificateDer<'static>>,
    /// Whose SVIDs are accepted from callers.
    pub trust_domain: TrustDomain,
}

/// The material cannot be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A trust anchor is not a CA certificate.
    #[error("a trust anchor of {trust_domain} cannot be used")]
    Anchor {
        /// Whose anchor it is.
        trust_domain: TrustDomain,
        /// What is wrong with it.
        #[source]
        cause: signet_model::x509::peer::PeerError,
    },
    /// The server's chain and key are unusable or do not belong together.
    #[error("the server's certificate and key cannot be used")]
    Identity(#[source] rustls::Error),
}

/// The TLS side of the listeners, shared by all of them. Without material every connection is closed at once.
#[derive(Clone)]
pub struct Tls {
    clock: Clock,
}

impl Tls {
    /// Nothing to show yet.
    #[must_use]
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock })
    }

    /// Takes `material` for connections from now on; those that live keep what they began with.
    ///
    /// # Errors
    /// [`TlsError`]: the material is unusable, and what was there before stays.
    pub fn install(&self, material: TlsMaterial) -> Result<(), TlsError> {
        let _ = (&self.clock, material.chain);
        todo!()
    }

    /// Closes the door: new connections end at once, until there is material again.
    pub fn clear(&self) {
        todo!()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMaterial").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}
