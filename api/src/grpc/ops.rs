//! `signet.ops.v1`: what operators ask of one node.

use tonic::{Request, async_trait};

use super::handler::{Answer, Handler, answer};
use crate::proto::ops::ops_server::Ops;
use crate::proto::ops::{
    CollectDebugRequest, CollectDebugResponse, DiagnoseRequest, DiagnoseResponse, FinalizeUpgradeRequest,
    FinalizeUpgradeResponse, UpgradeStatusRequest, UpgradeStatusResponse,
};
use crate::wire::ops::{from_check, from_file, from_upgrade};

#[async_trait]
impl Ops for Handler {
    async fn diagnose(&self, request: Request<DiagnoseRequest>) -> Answer<DiagnoseResponse> {
        let checks = self.service.diagnose(&self.call(request.metadata())).await;
        answer(checks.map(|checks| DiagnoseResponse { checks: checks.into_iter().map(from_check).collect() }))
    }

    async fn collect_debug(&self, request: Request<CollectDebugRequest>) -> Answer<CollectDebugResponse> {
        let files = self.service.collect_debug(&self.call(request.metadata())).await;
        answer(files.map(|files| CollectDebugResponse { files: files.into_iter().map(from_file).collect() }))
    }

    async fn upgrade_status(&self, request: Request<UpgradeStatusRequest>) -> Answer<UpgradeStatusResponse> {
        let status = self.service.upgrade_status(&self.call(request.metadata())).await;
        answer(status.map(|status| UpgradeStatusResponse { status: Some(from_upgrade(status)) }))
    }

    async fn finalize_upgrade(&self, request: Request<FinalizeUpgradeRequest>) -> Answer<FinalizeUpgradeResponse> {
        let (call, request) = (self.call(request.metadata()), request.into_inner());
        let status = self.service.finalize_upgrade(&call, request.dry_run).await;
        answer(status.map(|status| FinalizeUpgradeResponse { status: Some(from_upgrade(status)) }))
    }
}
