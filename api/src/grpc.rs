//! The gRPC doors: the TLS port and the admin Unix socket.

mod authority;
mod bundle;
pub(crate) mod call;
mod cluster;
mod door;
mod entry;
mod handler;
mod health;
mod local_authority;
mod ops;
mod policy;
mod recipients;
mod snapshot;
mod socket;
mod svid;

use std::sync::Arc;

use signet_model::caller::Caller;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::connections::{self, Ending, Limits};
use crate::health::Health;
use crate::service::Service;
use crate::tls::{Tls, handshake};

use door::{Credential, Door, Parts};

pub use socket::{AdminSocket, AdminSocketError};

/// Serves gRPC with TLS until `shutdown`, and returns when the last request is done or `limits.drain` is over.
pub async fn serve_tls(
    listener: TcpListener,
    tls: Arc<Tls>,
    service: Arc<dyn Service>,
    health: Arc<dyn Health>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let parts = Arc::new(Parts::new(service, health, &limits));
    let http = Arc::new(connections::http(&limits).http2_only());
    let handshake_limit = limits.handshake;
    connections::run(listener, &limits, &shutdown, |stream, ending: Ending| {
        let (tls, parts, http) = (tls.clone(), parts.clone(), http.clone());
        async move {
            let trust = tls.trust();
            let Some((stream, peer)) = handshake(stream, tls.grpc(), handshake_limit, &ending).await else { return };
            let now = (tls.clock())();
            let (credential, ending) = match peer {
                Some(peer) => {
                    let ending = ending.within(peer.not_after.since(now)).while_trusted(trust);
                    (Credential::Svid { peer, clock: tls.clock().clone() }, ending)
                }
                None => (Credential::None, ending),
            };
            connections::serve(stream, &http, Door::new(&parts, credential), ending).await;
        }
    })
    .await;
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
    let parts = Arc::new(Parts::with_reflection(service, health, &limits));
    let http = Arc::new(connections::http(&limits).http2_only());
    connections::run(socket, &limits, &shutdown, |(stream, user), ending: Ending| {
        let (node, parts, http) = (node.clone(), parts.clone(), http.clone());
        async move {
            let caller = Caller::Local { node: node(), uid: user.uid, pid: user.pid };
            connections::serve(stream, &http, Door::new(&parts, Credential::Local(caller)), ending).await;
        }
    })
    .await;
}
