//! A network.

use std::error::Error;
use std::pin::Pin as Boxed;

use tonic::body::Body;

use crate::peer::{ConnectError, Connection, Driver};
use crate::types::{PeerNode, Pin};

#[derive(Clone)]
pub(crate) struct Wire;

impl Wire {
    pub(crate) fn call(&self, _request: http::Request<Body>) -> Reply {
        Box::pin(async { todo!() })
    }
}

pub(crate) type Reply =
    Boxed<Box<dyn Future<Output = Result<http::Response<Body>, Box<dyn Error + Send + Sync>>> + Send>>;

pub(crate) async fn connect(_me: Pin, _peer: &PeerNode) -> Result<(Connection, Driver), ConnectError> {
    todo!()
}
