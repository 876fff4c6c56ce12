//! `signet.snapshot.v1`: backups.

use futures::StreamExt as _;
use tonic::codegen::BoxStream;
use tonic::{Request, async_trait};

use super::handler::{Answer, Handler, answer};
use crate::proto::snapshot::snapshot_server::Snapshot;
use crate::proto::snapshot::{Failure, SaveRequest, SaveResponse, StatusRequest, StatusResponse, Success};
use crate::service::BackupStatus;
use crate::status;

#[async_trait]
impl Snapshot for Handler {
    async fn save(&self, request: Request<SaveRequest>) -> Answer<BoxStream<SaveResponse>> {
        let saved = self.service.save_snapshot(&self.call(request.metadata())).await;
        answer(saved.map(|saved| {
            let head = SaveResponse { total: saved.total, data: Vec::new() };
            let chunks = saved.chunks.map(|chunk| match chunk {
                Ok(data) => Ok(SaveResponse { total: 0, data: data.into() }),
                Err(refusal) => Err(status::to_grpc(&refusal)),
            });
            Box::pin(futures::stream::iter([Ok(head)]).chain(chunks)) as BoxStream<SaveResponse>
        }))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Answer<StatusResponse> {
        answer(self.service.backup_status(&self.call(request.metadata())).await.map(to_wire))
    }
}

fn to_wire(status: BackupStatus) -> StatusResponse {
    StatusResponse {
        destination: status.destination,
        interval: status.interval_secs,
        active: status.active,
        last_success: status.last_success.map(|last| Success {
            at: last.at_secs,
            name: last.name,
            size: last.size,
            index: last.index,
        }),
        last_failure: status.last_failure.map(|(at, detail)| Failure { at, detail }),
        next: status.next_secs,
    }
}
