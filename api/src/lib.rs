//! The doors of Signet: wire to model and back, caller authentication, and a typed client.
//!
//! A request comes through a listener ([`grpc`], [`https`], [`admin_http`]), which proves who the caller is; the door
//! decides by [`methods`] whether such a caller may use the method at all; `wire` parses; [`service::Service`] does
//! the work; [`status`] is the one table from refusal to status code.

pub mod admin_http;
pub mod client;
pub mod connections;
pub mod grpc;
pub mod health;
pub mod https;
pub mod load;
pub mod methods;
pub mod ops;
pub mod proto;
pub mod service;
pub mod status;
pub mod tls;
mod wire;

/// Where the doors get the time from: the program's one clock.
pub type Clock = std::sync::Arc<dyn Fn() -> signet_model::time::UnixTime + Send + Sync>;
