//! What a caller at the door hears who speaks as a member.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower_service::Service;

use super::cluster::with_cluster;
use super::directory::Directory;
use super::listener::Caller;
use super::proto::peer_server::SERVICE_NAME;

/// Stands at the door for the members' service. A connection is sorted once, when it is accepted; its owner may have become
/// a member since, or this node may have heard of it since. Then the connection is ended, and the next one is sorted right.
#[derive(Clone)]
pub(crate) struct Stranger {
    directory: watch::Receiver<Option<Arc<Directory>>>,
}

impl Stranger {
    /// Looks callers up in `directory`.
    pub(crate) fn new(directory: watch::Receiver<Option<Arc<Directory>>>) -> Self {
        Self { directory }
    }
}

impl Service<http::Request<Body>> for Stranger {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut refusal = Status::permission_denied("this key is not a member's");
        if let (Some(caller), Some(directory)) =
            (request.extensions().get::<Caller>(), self.directory.borrow().as_ref())
        {
            if directory.knows(caller.pin) {
                caller.cut.cancel();
            } else {
                directory.stranger.notify_one();
                refusal = with_cluster(directory.refusal(caller.pin), &directory.cluster());
            }
        }
        ready(Ok(refusal.into_http()))
    }
}

impl NamedService for Stranger {
    const NAME: &'static str = SERVICE_NAME;
}
