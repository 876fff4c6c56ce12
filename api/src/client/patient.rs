//! A channel that asks again what was never sent.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use tonic::body::Body;
use tonic::transport::Channel;
use tower::ServiceExt as _;
use tower_service::Service;

/// A connection that outlives its connections, for unary calls. Clones share it.
///
/// Servers end connections in good order now and then. A request that was about to leave on such a one comes back unsent;
/// other gRPC libraries send it again on the next connection, and so does this.
#[derive(Debug, Clone)]
pub struct PatientChannel(pub(super) Channel);

type BoxError = Box<dyn Error + Send + Sync>;

impl Service<Request<Body>> for PatientChannel {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Each attempt waits for itself.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(send(self.0.clone(), request))
    }
}

async fn send(mut channel: Channel, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let (head, body) = request.into_parts();
    let body: Bytes = body.collect().await?.to_bytes();
    let mut attempts = ATTEMPTS;
    loop {
        let request = Request::from_parts(head.clone(), Body::new(Full::new(body.clone())));
        attempts -= 1;
        match channel.ready().await?.call(request).await {
            Err(error) if attempts > 0 && is_unsent(&error) => {}
            outcome => return Ok(outcome?),
        }
    }
}

/// Whether the request never left: asking again cannot do anything twice.
fn is_unsent(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        next = cause.source();
    }
    false
}

const ATTEMPTS: u32 = 3;
