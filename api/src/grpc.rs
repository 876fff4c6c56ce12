//! The gRPC doors: the TLS port and the admin Unix socket.

use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::connections::Limits;
use crate::health::Health;
use crate::service::Service;
use crate::tls::Tls;

/// The admin socket, bound.
#[derive(Debug)]
pub struct AdminSocket {}

/// The admin socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AdminSocketError {
    /// Another process answers on it.
    #[error("another server answers on the admin socket {path}; stop it or set another [admin] socket")]
    InUse {
        /// Where.
        path: String,
    },
    /// Something else than a socket is there.
    #[error("{path} is not a socket and is left alone; remove it or set another [admin] socket")]
    NotASocket {
        /// Where.
        path: String,
    },
    /// The file system refused.
    #[error("cannot make the admin socket {path}")]
    Io {
        /// Where.
        path: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

impl AdminSocket {
    /// Binds the socket at `path` with mode 0600, removing a stale one. Only `allowed_uids` may use it.
    ///
    /// # Errors
    /// [`AdminSocketError`]: the operator corrects what it names.
    pub fn bind(path: &Path, allowed_uids: Vec<u32>) -> Result<Self, AdminSocketError> {
        let _ = (path, allowed_uids);
        todo!()
    }
}

/// Serves gRPC with TLS until `shutdown`, and returns when the last request is done or `limits.drain` is over.
pub async fn serve_tls(
    listener: TcpListener,
    tls: Arc<Tls>,
    service: Arc<dyn Service>,
    health: Arc<dyn Health>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let _ = (listener, tls, service, health, limits, shutdown);
    todo!()
}

/// Serves gRPC on the admin socket until `shutdown`, and removes the socket. `node` is this node's id, 0 before it has
/// one.
pub async fn serve_admin(
    socket: AdminSocket,
    node: Arc<dyn Fn() -> u64 + Send + Sync>,
    service: Arc<dyn Service>,
    health: Arc<dyn Health>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let _ = (socket, node, service, health, limits, shutdown);
    todo!()
}
