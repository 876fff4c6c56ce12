//! TLS towards callers: the server's own X.509-SVID, replaceable while connections live, and theirs, checked strictly.

mod peer;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use signet_model::spiffe_id::TrustDomain;
use signet_model::x509::peer::{PeerError, TrustAnchors};
use tokio_util::sync::CancellationToken;

use crate::Clock;

pub(crate) use peer::{Peer, PeerVerifier, Time, explain, handshake};

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
        cause: PeerError,
    },
    /// The server's chain and key are unusable or do not belong together.
    #[error("the server's certificate and key cannot be used")]
    Identity(#[source] rustls::Error),
}

/// The TLS side of the listeners, shared by all of them. Without material every connection is closed at once.
pub struct Tls {
    clock: Clock,
    provider: Arc<CryptoProvider>,
    current: ArcSwapOption<Configs>,
}

/// Alike but for the protocols they offer.
struct Configs {
    grpc: Arc<ServerConfig>,
    https: Arc<ServerConfig>,
    anchors: Vec<CertificateDer<'static>>,
    /// Cancelled when an anchor is taken away.
    trust: CancellationToken,
}

impl Tls {
    /// Nothing to show yet.
    #[must_use]
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, provider: provider(), current: ArcSwapOption::empty() })
    }

    /// Takes `material` for connections from now on; those that live keep what they began with. But when an anchor is not
    /// there any more, connections of callers who were believed before that are ended: some may rest on it.
    ///
    /// # Errors
    /// [`TlsError`]: the material is unusable, and what was there before stays.
    pub fn install(&self, material: TlsMaterial) -> Result<(), TlsError> {
        let anchors = material.anchors.clone();
        let grpc = self.config(material).map(|mut config| {
            config.alpn_protocols = vec![H2.to_vec()];
            config
        })?;
        let mut https = grpc.clone();
        https.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        let before = self.current.load_full();
        let kept = before.as_ref().filter(|before| before.anchors.iter().all(|anchor| anchors.contains(anchor)));
        let trust = kept.map_or_else(CancellationToken::new, |before| before.trust.clone());
        let withdrawn = if kept.is_none() { before.map(|before| before.trust.clone()) } else { None };
        self.current.store(Some(Arc::new(Configs { grpc: Arc::new(grpc), https: Arc::new(https), anchors, trust })));
        if let Some(withdrawn) = withdrawn {
            withdrawn.cancel();
        }
        Ok(())
    }

    fn config(&self, material: TlsMaterial) -> Result<ServerConfig, TlsError> {
        let trust_domain = material.trust_domain;
        let anchors = TrustAnchors::new(trust_domain.clone(), material.anchors.iter().map(AsRef::as_ref))
            .map_err(|cause| TlsError::Anchor { trust_domain, cause })?;
        let verifier = Arc::new(PeerVerifier::callers(anchors, &self.provider));
        let time = Arc::new(Time(self.clock.clone()));
        let mut config = ServerConfig::builder_with_details(self.provider.clone(), time)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Identity)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(material.chain, material.key)
            .map_err(TlsError::Identity)?;
        // A resumed session would skip the check of the caller's certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// Whether there is something to show: without it every handshake ends at once.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.current.load().is_some()
    }

    /// Closes the door: new connections end at once, until there is material again.
    pub fn clear(&self) {
        self.current.store(None);
    }

    /// Cancelled when an anchor that is there now is taken away.
    pub(crate) fn trust(&self) -> CancellationToken {
        self.current.load().as_ref().map_or_else(CancellationToken::new, |current| current.trust.clone())
    }

    /// The time.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn grpc(&self) -> Option<Arc<ServerConfig>> {
        self.current.load().as_ref().map(|current| current.grpc.clone())
    }

    pub(crate) fn https(&self) -> Option<Arc<ServerConfig>> {
        self.current.load().as_ref().map(|current| current.https.clone())
    }
}

/// The one provider of cryptography, named, so that nothing depends on what the process has installed.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub(crate) const H2: &[u8] = b"h2";
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("open", &self.current.load().is_some()).finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMaterial").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}
