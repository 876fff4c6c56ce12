//! Mutual TLS as a client, and the identities it uses.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A certificate chain, leaf first, and its key.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// Opens TLS connections as one identity to servers that prove theirs.
#[derive(Clone)]
pub(crate) struct TlsClient {
    connector: TlsConnector,
}

impl TlsClient {
    /// A client with `identity` that trusts servers under `roots`, and offers `protocol` by ALPN.
    ///
    /// The server's name is checked as an address: all targets are loopback addresses.
    pub(crate) fn new(roots: RootCertStore, identity: &Identity, protocol: &[u8]) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?;
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Opens a connection.
    pub(crate) async fn connect(&self, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        self.connector.connect(ServerName::from(address.ip()), tcp).await
    }
}

/// Reads trust anchors from a PEM file.
pub(crate) fn anchors(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let anchors: Vec<_> = CertificateDer::pem_file_iter(path)
        .with_context(|| format!("cannot read the bundle {}", path.display()))?
        .collect::<Result<_, _>>()
        .with_context(|| format!("the bundle {} is not PEM", path.display()))?;
    anyhow::ensure!(!anchors.is_empty(), "the bundle {} holds no certificate", path.display());
    Ok(anchors)
}
