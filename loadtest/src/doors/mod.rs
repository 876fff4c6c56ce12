//! The connections that requests go through: gRPC and HTTPS, both over mutual TLS.

pub(crate) mod body;
pub(crate) mod grpc;
pub(crate) mod https;
