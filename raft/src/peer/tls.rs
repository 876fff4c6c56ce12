//! TLS 1.3 between peers. Certificates may be expired and say nothing; each side proves a key, and the key's pin decides.

use std::sync::Arc;
use std::{fmt, io};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::{
    CertificateError, ClientConfig, CommonState, ConnectionCommon, DigitallySignedStruct, DistinguishedName, Error,
    PeerIncompatible, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::key::{PeerKey, pin_of};
use crate::types::Pin;

/// Makes TLS configurations for this node's key.
pub(crate) struct Tls {
    key: Arc<PeerKey>,
    provider: Arc<CryptoProvider>,
}

impl Tls {
    /// TLS with this node's key.
    pub(crate) fn new(key: Arc<PeerKey>) -> Self {
        Self { key, provider: Arc::new(aws_lc_rs::default_provider()) }
    }

    /// This node's pin.
    pub(crate) fn pin(&self) -> Pin {
        self.key.pin()
    }

    /// For a connection to whoever holds one of the keys.
    pub(crate) fn client(&self, pins: Vec<Pin>) -> Result<ClientConfig, Error> {
        let verifier = Arc::new(Pinned { expected: pins, proof: Proof(Arc::clone(&self.provider)) });
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(vec![self.key.certificate()], self.key.private())?;
        // A resumed session would skip the pin.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// For connections from anyone who proves a key; what it may do is decided by its pin afterwards.
    pub(crate) fn server(&self) -> Result<ServerConfig, Error> {
        let verifier = Arc::new(AnyKey(Proof(Arc::clone(&self.provider))));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.key.certificate()], self.key.private())?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// The pin of the key in a certificate.
pub(crate) fn pin_in(certificate: &CertificateDer<'_>) -> Result<Pin, Error> {
    Ok(pin_of(&ParsedCertificate::try_from(certificate)?.subject_public_key_info()))
}

/// What only the two ends of one TLS connection know (RFC 8446 §7.5): whatever is bound to it is of no use anywhere else.
#[derive(Clone, Copy)]
pub(crate) struct Channel(pub(crate) [u8; 32]);

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

/// The channel of a connection whose handshake is done.
pub(crate) fn channel<Data>(connection: &ConnectionCommon<Data>) -> io::Result<Channel> {
    let exported = connection.export_keying_material([0; 32], CHANNEL_LABEL, None);
    exported.map(Channel).map_err(io::Error::other)
}

/// The key that the other side has proved.
pub(crate) fn peer_pin(connection: &CommonState) -> io::Result<Pin> {
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    let certificate = certificate.ok_or_else(|| io::Error::other("no certificate"))?;
    pin_in(certificate).map_err(io::Error::other)
}

const CHANNEL_LABEL: &[u8] = b"EXPORTER-signet-join-1";

/// Takes these keys only.
#[derive(Debug)]
struct Pinned {
    expected: Vec<Pin>,
    proof: Proof,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.expected.contains(&pin_in(end_entity)?) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.proof.verify(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

/// Takes any key that is proven.
#[derive(Debug)]
struct AnyKey(Proof);

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        pin_in(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

/// Checks that a peer holds the key it shows.
#[derive(Debug)]
struct Proof(Arc<CryptoProvider>);

impl Proof {
    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }
}

const SCHEMES: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];
