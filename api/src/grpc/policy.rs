//! `signet.policy.v1`: the exchange policy.

use tonic::{Request, async_trait};

use super::handler::{Answer, Handler, answer, read_answer};
use crate::proto::policy::policy_server::Policy;
use crate::proto::policy::{
    ApplyRequest, ApplyResponse, ShowRequest, ShowResponse, TokenKeysRequest, TokenKeysResponse,
};

#[async_trait]
impl Policy for Handler {
    async fn apply(&self, request: Request<ApplyRequest>) -> Answer<ApplyResponse> {
        let (call, request) = (self.change("policy.Apply", &request), request.into_inner());
        let version = self.service.apply_policy(&call, request.document, request.expected_version).await;
        answer(version.map(|version| ApplyResponse { version }))
    }

    async fn show(&self, request: Request<ShowRequest>) -> Answer<ShowResponse> {
        let call = self.call(request.metadata());
        let policy = self.service.policy(&call).await;
        read_answer(&call, policy.map(|(version, document)| ShowResponse { version, document }))
    }

    async fn token_keys(&self, _: Request<TokenKeysRequest>) -> Answer<TokenKeysResponse> {
        answer(self.service.token_jwks().await.map(|jwks| TokenKeysResponse { jwks: jwks.body }))
    }
}
