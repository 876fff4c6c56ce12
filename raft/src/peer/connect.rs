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

use super::directory::Directory;
use super::key::NAME;
use super::tls::{Channel, Tls, channel, peer_pin};
use crate::types::{PeerNode, Pin};

/// A connection to a peer. Clones share it.
#[derive(Clone)]
pub(crate) enum Connection {
    /// Over TLS and HTTP/2.
    Wire(http2::SendRequest<Body>),
    /// Over a simulated network.
    #[cfg(test)]
    Simulated(crate::sim::Wire),
}

/// Drives a connection and ends with it.
pub(crate) type Driver = Boxed<Box<dyn Future<Output = ()> + Send>>;

/// A connection with what its handshake has proven. Clones share it.
#[derive(Clone)]
pub(crate) struct Proven {
    connection: Connection,
    /// The key that the peer proved.
    pin: Pin,
    channel: Channel,
    /// Reads in every answer whether this node was removed.
    reader: Option<Arc<Directory>>,
}

impl Proven {
    /// The key that the peer proved.
    pub(crate) fn pin(&self) -> Pin {
        self.pin
    }

    /// What only the two ends of this connection know.
    pub(crate) fn channel(&self) -> Channel {
        self.channel
    }

    /// Has what the peer says of this node's membership heeded by `directory`.
    pub(crate) fn read_by(self, directory: Arc<Directory>) -> Self {
        Self { reader: Some(directory), ..self }
    }
}

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
    #[error("whoever answers at {address} does not hold {}", keys(pins))]
    WrongKey { address: String, pins: Vec<Pin> },
}

/// Connects to `peer`.
pub(crate) async fn connect(tls: &Tls, peer: &PeerNode) -> Result<(Proven, Driver), ConnectError> {
    #[cfg(test)]
    if crate::sim::active() {
        let (connection, driver) = crate::sim::connect(tls.pin(), peer).await?;
        return Ok((Proven { connection, pin: peer.pin, channel: Channel([0; 32]), reader: None }, driver));
    }
    connect_any(tls, &peer.address, vec![peer.pin]).await
}

/// Connects to whoever is at `address` and holds one of the keys.
pub(crate) async fn connect_any(tls: &Tls, address: &str, pins: Vec<Pin>) -> Result<(Proven, Driver), ConnectError> {
    let unreachable = |cause| ConnectError::Unreachable { address: address.to_owned(), cause };
    let connecting = async {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let config = tls.client(pins.clone()).map_err(io::Error::other)?;
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await?;
        let (pin, channel) = (peer_pin(stream.get_ref().1)?, channel(stream.get_ref().1)?);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_frame_size(FRAME)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let (sender, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Ok((Proven { connection: Connection::Wire(sender), pin, channel, reader: None }, driver))
    };
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    match connected.map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))? {
        Ok((connection, driver)) => {
            let driver = async move {
                if let Err(cause) = driver.await {
                    tracing::debug!(%cause, "a connection to a peer ended");
                }
            };
            Ok((connection, Box::pin(driver)))
        }
        Err(cause) if is_wrong_key(&cause) => Err(ConnectError::WrongKey { address: address.to_owned(), pins }),
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

impl Service<http::Request<Body>> for Proven {
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = Boxed<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connection.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (reply, reader) = (self.connection.call(request), self.reader.clone());
        Box::pin(async move {
            let reply = reply.await?;
            if let Some(reader) = reader {
                reader.heed(reply.headers());
            }
            Ok(reply)
        })
    }
}

fn keys(pins: &[Pin]) -> String {
    match pins {
        [pin] => format!("the key {pin}"),
        pins => format!("any of {} keys", pins.len()),
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
