//! `signet.cluster.v1`: the cluster as its operators see it.

use tonic::{Request, async_trait};

use super::handler::{Answer, Handler, answer};
use crate::proto::cluster::cluster_server::Cluster;
use crate::proto::cluster::{
    CreateJoinTokenRequest, CreateJoinTokenResponse, InitRequest, InitResponse, StatusRequest, StatusResponse,
};
use crate::wire::cluster::from_status;

#[async_trait]
impl Cluster for Handler {
    async fn init(&self, request: Request<InitRequest>) -> Answer<InitResponse> {
        let status = self.service.init_cluster(&self.call(request.metadata())).await;
        answer(status.map(|status| InitResponse { status: Some(from_status(status)) }))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Answer<StatusResponse> {
        let status = self.service.cluster_status(&self.call(request.metadata())).await;
        answer(status.map(|status| StatusResponse { status: Some(from_status(status)) }))
    }

    async fn create_join_token(&self, request: Request<CreateJoinTokenRequest>) -> Answer<CreateJoinTokenResponse> {
        let (call, request) = (self.change("cluster.CreateJoinToken", &request), request.into_inner());
        let ttl = if request.ttl == 0 { DEFAULT_TTL_SECS } else { request.ttl };
        let token = self.service.create_join_token(&call, ttl).await;
        answer(token.map(|token| CreateJoinTokenResponse { token: token.text, expires_at: token.expires_at_secs }))
    }
}

const DEFAULT_TTL_SECS: u32 = 3600;
