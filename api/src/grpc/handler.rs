//! What the gRPC services have in common: who calls, how long they wait, and how a refusal is answered.

use std::sync::Arc;

use signet_model::caller::Caller;
use signet_model::refusal::{Reason, Refusal};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::call;
use crate::service::{Call, Consistency, Service};
use crate::status;

/// Answers the methods of one connection.
pub(super) struct Handler {
    pub(super) service: Arc<dyn Service>,
    caller: Caller,
}

/// What a handler answers.
pub(super) type Answer<T> = Result<Response<T>, Status>;

impl Handler {
    pub(super) fn new(service: Arc<dyn Service>, caller: Caller) -> Self {
        Self { service, caller }
    }

    pub(super) fn call(&self, metadata: &MetadataMap) -> Call {
        Call {
            timeout: call::timeout(metadata.as_ref()),
            consistency: call::consistency(metadata),
            ..Call::new(self.caller.clone())
        }
    }

    /// A call that changes something: a retry of it may be known by its key. `method` is part of what was asked for.
    pub(super) fn change<T: prost::Message>(&self, method: &str, request: &Request<T>) -> Call {
        let key = call::request_key(request.metadata(), method, request.get_ref());
        Call { request: key, ..self.call(request.metadata()) }
    }
}

/// A message, or the refusal as a status.
pub(super) fn answer<T>(result: Result<T, Refusal>) -> Answer<T> {
    match result {
        Ok(message) => Ok(Response::new(message)),
        Err(refusal) => Err(status::to_grpc(&refusal)),
    }
}

/// An answer that says which log index it covers, and whether anyone confirmed that this is the newest.
pub(super) fn read_answer<T>(call: &Call, result: Result<T, Refusal>) -> Answer<T> {
    let mut response = answer(result)?;
    if let Some(index) = call.covers.get() {
        response.metadata_mut().insert(call::APPLIED_INDEX, index.into());
    }
    if call.consistency == Consistency::Stale {
        response.metadata_mut().insert(call::STALE, tonic::metadata::MetadataValue::from_static("true"));
    }
    Ok(response)
}

/// The service broke its promise of one answer for each question.
pub(super) fn short_answer() -> Refusal {
    Refusal::new(Reason::Internal, "the server lost an item of the batch")
}
