//! The HTTPS door: the token endpoint and public documents.

mod document;
pub(crate) mod form;
mod problem;
mod token;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use signet_model::caller::Caller;
use signet_model::refusal::{Reason, Refusal};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::Clock;
use crate::connections::{self, Ending, Limits};
use crate::load::{Held, Load};
use crate::service::Service;
use crate::tls::{H2, Peer, Tls, handshake};

pub(crate) use problem::problem;

/// Serves HTTPS until `shutdown`, and returns when the last request is done or `limits.drain` is over.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<Tls>,
    service: Arc<dyn Service>,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let router = router(Arc::new(Shared { service, clock: tls.clock().clone(), body_limit: limits.request }));
    let http_1 = Arc::new(connections::http(&limits).http1_only());
    let http_2 = Arc::new(connections::http(&limits).http2_only());
    let handshake_limit = limits.handshake;
    let load = Load::new(&limits);
    connections::run(listener, &limits, &shutdown, |stream, ending: Ending| {
        let (tls, router, http_1, http_2) = (tls.clone(), router.clone(), http_1.clone(), http_2.clone());
        let load = load.clone();
        async move {
            let trust = tls.trust();
            let Some((stream, peer)) = handshake(stream, tls.https(), handshake_limit, &ending).await else { return };
            let http = if stream.get_ref().1.alpn_protocol() == Some(H2) { http_2 } else { http_1 };
            let ending = match &peer {
                Some(peer) => ending.within(peer.not_after.since((tls.clock())())).while_trusted(trust),
                None => ending,
            };
            let presented = Arc::new(Presented(peer));
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(presented.clone());
                let (mut router, admitted) = (router.clone(), load.admit());
                async move {
                    match admitted {
                        Ok(slot) => {
                            let response = router.call(request).await?;
                            Ok(response.map(|body| Body::new(Held { body, _slot: Some(slot) })))
                        }
                        Err(refusal) => Ok::<_, Infallible>(overloaded(request.uri().path(), &refusal)),
                    }
                }
            });
            connections::serve(stream, &http, service, ending).await;
        }
    })
    .await;
}

/// Each page says no in its own form.
fn overloaded(path: &str, refusal: &Refusal) -> Response<Body> {
    if path == TOKEN { token::overloaded(refusal) } else { problem(refusal) }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(TOKEN, any(token::token))
        .route("/.well-known/oauth-authorization-server", get(document::token_metadata))
        .route("/keys", get(document::token_jwks))
        .route("/bundle", get(document::bundle))
        .fallback(problem::no_such_page)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(shared)
}

/// What the handlers need.
struct Shared {
    service: Arc<dyn Service>,
    clock: Clock,
    /// How long a request's body may take.
    body_limit: Duration,
}

/// What the caller showed in the handshake.
struct Presented(Option<Peer>);

impl Presented {
    /// Who calls, if what they showed still holds.
    fn caller(&self, clock: &Clock) -> Result<Caller, Refusal> {
        match &self.0 {
            None => Ok(Caller::Anonymous),
            Some(peer) if clock() <= peer.not_after => Ok(Caller::Spiffe { id: peer.id.clone() }),
            Some(_) => Err(Refusal::new(
                Reason::Unauthenticated,
                "the client certificate has expired; connect again with a current one",
            )),
        }
    }
}

const TOKEN: &str = "/token";
