//! `[grpc]`: SPIRE's server API for agents.

use std::net::SocketAddr;

use serde::Deserialize;

use super::Mistakes;

#[derive(Debug, Clone)]
pub(crate) struct GrpcConfig {
    pub(crate) listen: SocketAddr,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    listen: Option<String>,
}

impl Raw {
    pub(super) fn check(self, mistakes: &mut Mistakes) -> Option<GrpcConfig> {
        Some(GrpcConfig { listen: mistakes.listen("grpc.listen", self.listen, "0.0.0.0:8081")? })
    }
}
