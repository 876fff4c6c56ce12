//! Plain HTTP on loopback for orchestrators and scrapers.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::json;
use signet_model::refusal::Refusal;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::connections::{self, Ending, Limits};
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
) -> io::Result<()> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        let text =
            format!("[admin] http is {address}, which is not a loopback address; set one such as 127.0.0.1:8470");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let router = router(health);
    let http = Arc::new(connections::http(&limits).http1_only());
    connections::run(listener, &limits, &shutdown, |stream, ending: Ending| {
        let (router, http) = (router.clone(), http.clone());
        let service = service_fn(move |request: Request<Incoming>| router.clone().call(request));
        async move { connections::serve(stream, &http, service, ending).await }
    })
    .await;
    Ok(())
}

fn router(health: Arc<dyn Health>) -> Router {
    type Node = State<Arc<dyn Health>>;
    Router::new()
        .route("/livez", get(async |State(health): Node| state(health.live())))
        .route("/readyz", get(async |State(health): Node| ready(&*health)))
        .route("/startupz", get(async |State(health): Node| state(health.started())))
        .route("/metrics", get(async |State(health): Node| page(StatusCode::OK, OPEN_METRICS, health.metrics())))
        .with_state(health)
}

/// As [`state`], with what wants looking after.
fn ready(health: &dyn Health) -> Response<Body> {
    match (health.ready(), health.notes()) {
        (Ok(()), notes) if !notes.is_empty() => {
            page(StatusCode::OK, JSON, json!({ "ok": true, "notes": notes }).to_string())
        }
        (result, _) => state(result),
    }
}

/// 200 when all is well, else 503 with the reason.
fn state(state: Result<(), Refusal>) -> Response<Body> {
    match state {
        Ok(()) => page(StatusCode::OK, JSON, json!({ "ok": true }).to_string()),
        Err(refusal) => {
            let body = json!({ "ok": false, "reason": refusal.reason.code(), "detail": refusal.detail });
            page(StatusCode::SERVICE_UNAVAILABLE, JSON, body.to_string())
        }
    }
}

fn page(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
