//! Plain HTTP on loopback for orchestrators and scrapers.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::connections::Limits;
use crate::health::Health;

/// Serves `/livez`, `/readyz`, `/startupz` and `/metrics` until `shutdown`.
///
/// # Errors
/// The listener is not on a loopback address: these pages are not for the network.
pub async fn serve(
    listener: TcpListener,
    health: Arc<dyn Health>,
    limits: Limits,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let _ = (listener, health, limits, shutdown);
    todo!()
}
