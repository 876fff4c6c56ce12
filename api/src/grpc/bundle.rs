//! `spire.api.server.bundle.v1`: the trust bundle.

use tonic::{Request, async_trait};

use super::handler::{Answer, Handler, answer};
use crate::proto::bundle::bundle_server::Bundle;
use crate::proto::bundle::{CountBundlesRequest, CountBundlesResponse, GetBundleRequest};
use crate::proto::types;
use crate::wire::bundle::from_bundle;
use crate::wire::mask;

#[async_trait]
impl Bundle for Handler {
    /// The trust domain's own bundle, while there is no federation.
    async fn count_bundles(&self, request: Request<CountBundlesRequest>) -> Answer<CountBundlesResponse> {
        let bundle = self.service.bundle(&self.call(request.metadata())).await;
        answer(bundle.map(|_| CountBundlesResponse { count: 1 }))
    }

    async fn get_bundle(&self, request: Request<GetBundleRequest>) -> Answer<types::Bundle> {
        let bundle = self.service.bundle(&self.call(request.metadata())).await;
        let mask = request.into_inner().output_mask;
        answer(bundle.map(|bundle| mask::bundle(from_bundle(bundle), mask.as_ref())))
    }
}
