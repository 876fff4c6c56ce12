//! One connection to a peer whose key is known.

use std::future::Future;
use std::io;
use std::pin::Pin as Boxed;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tower_service::Service;

use super::key::NAME;
use super::tls::Tls;
use crate::types::{PeerNode, Pin};

/// A connection to a peer. Clones share it.
#[derive(Clone)]
pub(crate) enum Connection {
    /// Over TLS and HTTP/2.
    Wire(http2::SendRequest<Body>),
    /// Over a simulated network.
    #[cfg(test)]
    #[allow(dead_code, reason = "the simulation comes in the next commits")]
    Simulated(crate::sim::Wire),
}

/// Drives a connection and ends with it.
pub(crate) type Driver = Boxed<Box<dyn Future<Output = ()> + Send>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Nobody answers there, or not in time.
    #[error("cannot reach {address}")]
    Unreachable {
        address: String,
        #[source]
        cause: io::Error,
    },
    /// Someone answers who does not hold the key.
    #[error("whoever answers at {address} does not hold the key {pin}")]
    WrongKey { address: String, pin: Pin },
}

/// Connects to `peer`.
pub(crate) async fn connect(tls: &Tls, peer: &PeerNode) -> Result<(Connection, Driver), ConnectError> {
    #[cfg(test)]
    if crate::sim::active() {
        return crate::sim::connect(tls.pin(), peer).await;
    }
    let unreachable = |cause| ConnectError::Unreachable { address: peer.address.clone(), cause };
    let connecting = async {
        let tcp = TcpStream::connect(&peer.address).await?;
        tcp.set_nodelay(true)?;
        let config = tls.client(peer.pin).map_err(io::Error::other)?;
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_frame_size(FRAME)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)
    };
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    match connected.map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))? {
        Ok((sender, driver)) => {
            let driver = async move {
                if let Err(cause) = driver.await {
                    tracing::debug!(%cause, "a connection to a peer ended");
                }
            };
            Ok((Connection::Wire(sender), Box::pin(driver)))
        }
        Err(cause) if is_wrong_key(&cause) => {
            Err(ConnectError::WrongKey { address: peer.address.clone(), pin: peer.pin })
        }
        Err(cause) => Err(unreachable(cause)),
    }
}

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = Boxed<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Wire(sender) => sender.poll_ready(context).map_err(Into::into),
            #[cfg(test)]
            Self::Simulated(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self {
            Self::Wire(sender) => {
                let reply = sender.send_request(request);
                Box::pin(async move { Ok(reply.await?.map(Body::new)) })
            }
            #[cfg(test)]
            Self::Simulated(wire) => wire.call(request),
        }
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn is_wrong_key(cause: &io::Error) -> bool {
    let tls = cause.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(_)))
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(1);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Larger than any message, so that a pipeline of appends does not wait for windows.
pub(crate) const WINDOW: u32 = 4 << 20;
pub(crate) const FRAME: u32 = 64 << 10;
