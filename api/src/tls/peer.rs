//! The other side of a TLS connection: its X.509-SVID, checked by the model's rules in the handshake.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName};
use signet_model::spiffe_id::SpiffeId;
use signet_model::time::UnixTime;
use signet_model::x509::peer::{PeerError, TrustAnchors};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::Clock;
use crate::connections::Ending;

/// Accepts certificates that are X.509-SVIDs of the trust domain. Names of hosts play no part.
pub(crate) struct PeerVerifier {
    anchors: TrustAnchors,
    /// Exactly this identity, or any of the trust domain.
    expected: Option<SpiffeId>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PeerVerifier {
    /// For a server: any caller with an SVID of the trust domain.
    pub(crate) fn callers(anchors: TrustAnchors, provider: &CryptoProvider) -> Self {
        Self { anchors, expected: None, algorithms: provider.signature_verification_algorithms }
    }

    /// For a client: this server and no other.
    pub(crate) fn server(anchors: TrustAnchors, expected: SpiffeId, provider: &CryptoProvider) -> Self {
        Self { anchors, expected: Some(expected), algorithms: provider.signature_verification_algorithms }
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: rustls_pki_types::UnixTime,
    ) -> Result<SpiffeId, PeerError> {
        let mut chain: Vec<&[u8]> = Vec::with_capacity(1 + intermediates.len());
        chain.push(leaf.as_ref());
        chain.extend(intermediates.iter().map(|der| der.as_ref()));
        self.anchors.authenticate(&chain, UnixTime::from_secs(now.as_secs()))
    }
}

/// What the peer is told in the alert. The words stay with us.
fn alert(cause: PeerError) -> CertificateError {
    if matches!(cause, PeerError::Expired { .. }) {
        CertificateError::Expired
    } else if matches!(cause, PeerError::NotYetValid { .. }) {
        CertificateError::NotValidYet
    } else if matches!(cause, PeerError::Path { .. }) {
        CertificateError::UnknownIssuer
    } else {
        refused(cause)
    }
}

fn refused(cause: impl std::error::Error + Send + Sync + 'static) -> CertificateError {
    CertificateError::Other(OtherError(Arc::new(cause)))
}

/// Why a handshake failed, in words: rustls prints a certificate's problem as a structure.
pub(crate) fn explain(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let tls = inner.and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref());
    let Some(Error::InvalidCertificate(CertificateError::Other(OtherError(cause)))) = tls else { return None };
    Some(format!("the peer's certificate is refused: {cause}"))
}

/// The peer has an SVID of another identity than the one that was to be reached.
#[derive(Debug, thiserror::Error)]
#[error("the peer is {found}, not {expected}")]
struct WrongPeer {
    expected: SpiffeId,
    found: SpiffeId,
}

impl ClientCertVerifier for PeerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: callers have one certificate, and hints would only make the handshake larger.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: rustls_pki_types::UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.verify(leaf, intermediates, now) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(cause) => {
                tracing::info!(%cause, "refused a client's certificate");
                Err(alert(cause).into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: rustls_pki_types::UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let found = self.verify(leaf, intermediates, now).map_err(refused)?;
        match &self.expected {
            Some(expected) if *expected != found => {
                Err(refused(WrongPeer { expected: expected.clone(), found }).into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for PeerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerVerifier").field("trust_domain", self.anchors.trust_domain()).finish_non_exhaustive()
    }
}

/// The program's clock for the TLS stack.
pub(crate) struct Time(pub(crate) Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<rustls_pki_types::UnixTime> {
        Some(rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_millis((self.0)().millis())))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

/// A caller whose certificate the handshake has accepted.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) id: SpiffeId,
    /// When the certificate ends.
    pub(crate) not_after: UnixTime,
}

impl Peer {
    /// Who showed this certificate. It has been verified: this only reads it.
    fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let tbs = certificate.tbs_certificate();
        let (_, names) = tbs.get_extension::<SubjectAltName>().ok()??;
        let mut uris = names.0.iter().filter_map(|name| {
            let GeneralName::UniformResourceIdentifier(uri) = name else { return None };
            Some(uri.as_str())
        });
        let id = uris.next()?.parse().ok()?;
        let not_after = tbs.validity().not_after.to_unix_duration();
        Some(Self { id, not_after: UnixTime::from_secs(not_after.as_secs()) })
    }
}

/// Does the handshake. None when there is nothing more to do with the connection; why is in the log.
pub(crate) async fn handshake(
    stream: TcpStream,
    config: Option<Arc<rustls::ServerConfig>>,
    limit: Duration,
    ending: &Ending,
) -> Option<(TlsStream<TcpStream>, Option<Peer>)> {
    let Some(config) = config else {
        tracing::debug!("closed a connection: this node has no server certificate yet");
        return None;
    };
    let stream = match ending.bounded(limit, TlsAcceptor::from(config).accept(stream)).await? {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "a TLS handshake failed");
            return None;
        }
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let peer = match certificates.and_then(|chain| chain.first()) {
        Some(leaf) => Some(Peer::read(leaf)?),
        None => None,
    };
    Some((stream, peer))
}
