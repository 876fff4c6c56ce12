//! The demo issuer: an authorization server's metadata and keys, on loopback.

use std::net::SocketAddr;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::demo;
use crate::cli::Failure;

/// The path of the keys.
pub(super) const JWKS_PATH: &str = "/keys";

/// The issuer, bound but not yet serving.
#[derive(Debug)]
pub(super) struct Issuer {
    listener: TcpListener,
    router: Router,
}

impl Issuer {
    /// Binds `address` and prepares what it serves.
    ///
    /// # Errors
    /// The address is taken.
    pub(super) async fn bind(address: SocketAddr, issuer: &str, jwks: &Value) -> Result<Self, Failure> {
        let bound = TcpListener::bind(address).await;
        let listener = bound
            .map_err(|cause| Failure::new("io", format!("the demo issuer cannot listen on {address}: {cause}")))?;
        let metadata = metadata(issuer).to_string();
        let router = Router::new()
            .route("/.well-known/oauth-authorization-server", document(metadata.clone()))
            .route("/.well-known/openid-configuration", document(metadata))
            .route(JWKS_PATH, document(jwks.to_string()));
        Ok(Self { listener, router })
    }

    /// Serves until `stop`.
    ///
    /// # Errors
    /// The listener failed.
    pub(super) async fn serve(self, stop: CancellationToken) -> Result<(), Failure> {
        let served = axum::serve(self.listener, self.router).with_graceful_shutdown(stop.cancelled_owned()).await;
        served.map_err(|cause| Failure::new("io", format!("the demo issuer failed: {cause}")))
    }
}

/// RFC 8414 §2. There is no token endpoint: `signet dev token` signs in its place.
fn metadata(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}{JWKS_PATH}"),
        "scopes_supported": demo::SCOPES,
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}

fn document(body: String) -> axum::routing::MethodRouter {
    get(move || {
        let body = body.clone();
        async move { ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "max-age=60")], body).into_response() }
    })
}
