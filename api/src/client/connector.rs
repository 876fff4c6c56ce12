//! TLS connections to a node: it is known by its SPIFFE ID, never by its host's name.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use signet_model::spiffe_id::TrustDomain;
use signet_model::x509::peer::TrustAnchors;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::ClientError;
use crate::Clock;
use crate::tls::{H2, PeerVerifier, Time, provider};

/// Whom the client believes: servers with the ID `spiffe://TRUST_DOMAIN/spire/server` under these anchors.
#[derive(Clone)]
pub struct Trust {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Its X.509 authorities.
    pub anchors: Vec<CertificateDer<'static>>,
    /// The time, for validity.
    pub clock: Clock,
}

/// Who the client is.
pub struct AgentIdentity {
    /// Its X.509-SVID, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key.
    pub key: PrivateKeyDer<'static>,
}

impl Trust {
    /// Trust in what a PEM file of CA certificates holds.
    ///
    /// # Errors
    /// `invalid_argument`: there is no certificate in it, or one that cannot be read.
    pub fn from_pem(trust_domain: TrustDomain, pem: &[u8], clock: Clock) -> Result<Self, ClientError> {
        let anchors: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let anchors = anchors.map_err(|e| ClientError::invalid(format!("the trust anchors are not PEM: {e}")))?;
        if anchors.is_empty() {
            return Err(ClientError::invalid("the trust anchors hold no PEM certificate"));
        }
        Ok(Self { trust_domain, anchors, clock })
    }
}

/// Makes connections to nodes of one trust domain.
#[derive(Clone)]
pub(super) struct Connector {
    config: Arc<ClientConfig>,
}

impl Connector {
    /// A connector that offers `protocols` (ALPN), in this order.
    pub(super) fn new(
        identity: Option<AgentIdentity>,
        trust: &Trust,
        protocols: &[&[u8]],
    ) -> Result<Self, ClientError> {
        let unusable =
            |what: &str, cause: &dyn fmt::Display| ClientError::invalid(format!("{what} cannot be used: {cause}"));
        let provider = provider();
        let anchors = TrustAnchors::new(trust.trust_domain.clone(), trust.anchors.iter().map(AsRef::as_ref))
            .map_err(|e| unusable("a trust anchor", &e))?;
        let server = trust.trust_domain.join(SERVER_PATH).map_err(|e| unusable("the trust domain", &e))?;
        let verifier = PeerVerifier::server(anchors, server, &provider);
        let builder = ClientConfig::builder_with_details(provider, Arc::new(Time(trust.clock.clone())))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|e| unusable("TLS", &e))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match identity {
            Some(AgentIdentity { chain, key }) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| unusable("the client's certificate and key", &e))?,
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Self { config: Arc::new(config) })
    }

    async fn connect(self, uri: Uri) -> io::Result<TlsIo> {
        let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
        let host = uri.host().ok_or_else(|| invalid(format!("{uri} names no host")))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| invalid(format!("{host} is not a host's name")))?;
        let dial = async {
            let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(self.config).connect(name, stream).await
        };
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, dial).await;
        stream.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("no connection to {uri} in time")))?.map(
            |stream| {
                let is_http_2 = stream.get_ref().1.alpn_protocol() == Some(H2);
                TlsIo { stream: TokioIo::new(stream), is_http_2 }
            },
        )
    }
}

const SERVER_PATH: &str = "/spire/server";
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl tower_service::Service<Uri> for Connector {
    type Response = TlsIo;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TlsIo>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A TLS connection that knows which HTTP was agreed on.
pub(super) struct TlsIo {
    stream: TokioIo<TlsStream<TcpStream>>,
    is_http_2: bool,
}

impl Connection for TlsIo {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.is_http_2 { connected.negotiated_h2() } else { connected }
    }
}

impl Read for TlsIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for TlsIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("trust_domain", &self.trust_domain).finish_non_exhaustive()
    }
}

impl fmt::Debug for AgentIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentIdentity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}
