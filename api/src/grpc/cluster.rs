//! `signet.cluster.v1`: the cluster as its operators see it.

use tonic::{Request, async_trait};

use super::handler::{Answer, Handler, answer};
use crate::proto::cluster::cluster_server::Cluster;
use crate::proto::cluster::{
    CreateJoinTokenRequest, CreateJoinTokenResponse, DemoteRequest, DrainRequest, DrainResponse, HashRequest,
    HashResponse, InitRequest, InitResponse, MembershipResponse, PromoteRequest, RemoveRequest, ResetTimeRequest,
    ResetTimeResponse, StatusRequest, StatusResponse, TransferLeaderRequest, TransferLeaderResponse,
};
use crate::service::{Call, MemberAction, MemberChange};
use crate::wire::cluster::from_status;
use crate::wire::members::{from_changed, from_hash, how};

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

    async fn promote(&self, request: Request<PromoteRequest>) -> Answer<MembershipResponse> {
        let (call, request) = (self.change("cluster.Promote", &request), request.into_inner());
        let change = MemberChange { node: request.node, action: MemberAction::Promote, how: how(request.change) };
        self.change_member(&call, change).await
    }

    async fn demote(&self, request: Request<DemoteRequest>) -> Answer<MembershipResponse> {
        let (call, request) = (self.change("cluster.Demote", &request), request.into_inner());
        let change = MemberChange { node: request.node, action: MemberAction::Demote, how: how(request.change) };
        self.change_member(&call, change).await
    }

    async fn remove(&self, request: Request<RemoveRequest>) -> Answer<MembershipResponse> {
        let (call, request) = (self.change("cluster.Remove", &request), request.into_inner());
        let action = MemberAction::Remove { keep_keys: request.keep_keys };
        self.change_member(&call, MemberChange { node: request.node, action, how: how(request.change) }).await
    }

    async fn transfer_leader(&self, request: Request<TransferLeaderRequest>) -> Answer<TransferLeaderResponse> {
        let (call, request) = (self.call(request.metadata()), request.into_inner());
        let leader = self.service.transfer_leader(&call, request.to, how(request.change)).await;
        answer(leader.map(|leader| TransferLeaderResponse { leader }))
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Answer<DrainResponse> {
        let (call, request) = (self.call(request.metadata()), request.into_inner());
        let drained = self.service.drain(&call, request.undo, request.dry_run).await;
        answer(drained.map(|it| DrainResponse { node: it.node, drained: it.drained, leader: it.leader }))
    }

    async fn hash(&self, request: Request<HashRequest>) -> Answer<HashResponse> {
        let (call, request) = (self.call(request.metadata()), request.into_inner());
        answer(self.service.cluster_hash(&call, request.at).await.map(from_hash))
    }

    async fn reset_time(&self, request: Request<ResetTimeRequest>) -> Answer<ResetTimeResponse> {
        let (call, request) = (self.call(request.metadata()), request.into_inner());
        let reset = self.service.reset_time(&call, request.dry_run).await;
        answer(reset.map(|reset| ResetTimeResponse { before: reset.before_millis, after: reset.after_millis }))
    }
}

impl Handler {
    async fn change_member(&self, call: &Call, change: MemberChange) -> Answer<MembershipResponse> {
        answer(self.service.change_member(call, change).await.map(from_changed))
    }
}

const DEFAULT_TTL_SECS: u32 = 3600;
