//! `grpc.health.v1`: whether this node can serve.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream};
use tonic::{Request, Response, Status, async_trait};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::health::Health;
use crate::methods;

/// Answers health checks from the node's own knowledge.
pub(super) struct HealthAnswers {
    health: Arc<dyn Health>,
}

impl HealthAnswers {
    pub(super) fn new(health: Arc<dyn Health>) -> Self {
        Self { health }
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

#[async_trait]
impl tonic_health::pb::health_server::Health for HealthAnswers {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.into_inner().service;
        if !is_known(&name) {
            return Err(Status::not_found(
                "this server has no such service; an empty name asks after the whole server",
            ));
        }
        Ok(Response::new(message(serving(&*self.health))))
    }

    type WatchStream = Answers;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Answers>, Status> {
        let health = self.health.clone();
        let known = is_known(&request.into_inner().service);
        let changes = stream::unfold(None, move |last| {
            let health = health.clone();
            async move {
                loop {
                    let now = if known { serving(&*health) } else { ServingStatus::ServiceUnknown };
                    if last != Some(now) {
                        return Some((Ok(message(now)), Some(now)));
                    }
                    tokio::time::sleep(WATCH_INTERVAL).await;
                }
            }
        });
        Ok(Response::new(Box::pin(changes)))
    }
}

fn is_known(name: &str) -> bool {
    name.is_empty() || methods::is_service(name)
}

fn serving(health: &dyn Health) -> ServingStatus {
    if health.ready().is_ok() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn message(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status as i32 }
}

/// How soon a watcher hears of a change.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);
