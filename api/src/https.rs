//! The HTTPS door: the token endpoint and public documents.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::connections::Limits;
use crate::service::Service;
use crate::tls::Tls;

/// Serves HTTPS until `shutdown`, and returns when the last request is done or `limits.drain` is over.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<Tls>,
    service: Arc<dyn Service>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let _ = (listener, tls, service, limits, shutdown);
    todo!()
}
