//! How calls are asked: with a deadline, with a key for changes and the retries that it makes safe, and stale on request.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use signet_model::refusal::Reason;
use tokio::time::{Instant, sleep};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Request, Response, Status};

use super::ClientError;
use crate::grpc::call::{APPLIED_INDEX, CONSISTENCY, IDEMPOTENCY_KEY};
use crate::status;

/// What holds for all calls of a client.
#[derive(Debug, Clone, Default)]
pub(super) struct Manner {
    timeout: Option<Duration>,
    key: Option<MetadataValue<Ascii>>,
    stale: Option<Arc<AtomicU64>>,
}

impl Manner {
    pub(super) fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    pub(super) fn with_key(self, key: &str) -> Result<Self, ClientError> {
        let value = key.parse().map_err(|_| ClientError::invalid("the idempotency key is not visible ASCII"))?;
        Ok(Self { key: Some(value), ..self })
    }

    pub(super) fn stale(self) -> Self {
        Self { stale: Some(Arc::new(AtomicU64::new(NOTHING_READ))), ..self }
    }

    /// The lowest index that the answers so far cover, if they were asked for stale.
    pub(super) fn stale_index(&self) -> Option<u64> {
        self.stale.as_ref().map(|index| index.load(Ordering::Relaxed)).filter(|index| *index != NOTHING_READ)
    }

    /// A request that says how long its sender waits.
    pub(super) fn ask<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(timeout) = self.timeout {
            request.set_timeout(timeout);
        }
        request
    }

    /// A request for what is replicated, stale if this client is content with that.
    pub(super) fn read<T>(&self, message: T) -> Request<T> {
        let mut request = self.ask(message);
        if self.stale.is_some() {
            request.metadata_mut().insert(CONSISTENCY, MetadataValue::from_static("stale"));
        }
        request
    }

    /// The message of an answer to [`read`](Self::read), whose index is noted.
    pub(super) fn noted<T>(&self, answer: Response<T>) -> T {
        if let (Some(index), Some(covers)) = (&self.stale, covers(answer.metadata())) {
            index.fetch_min(covers, Ordering::Relaxed);
        }
        answer.into_inner()
    }

    /// Asks for a change until its outcome is known or the time is over. All attempts carry the same key, so it is made
    /// once however many of them arrive.
    pub(super) async fn change<M, T, F>(
        &self,
        message: M,
        mut call: impl FnMut(Request<M>) -> F,
    ) -> Result<T, ClientError>
    where
        M: Clone,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let key = match &self.key {
            Some(key) => key.clone(),
            None => new_key()?,
        };
        let deadline = Instant::now() + self.timeout.unwrap_or(PATIENCE);
        let mut pause = FIRST_PAUSE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut request = Request::new(message.clone());
            if self.timeout.is_some() {
                request.set_timeout(left.min(ATTEMPT));
            }
            request.metadata_mut().insert(IDEMPOTENCY_KEY, key.clone());
            let status = match call(request).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => status,
            };
            let wait = status::retry_delay(&status).map_or(pause, |said| said.max(pause));
            let error = ClientError::from(status);
            // What is known now says more than an attempt that has no time to be answered.
            if !is_passing(&error) || Instant::now() + wait + LEAST >= deadline {
                return Err(error);
            }
            sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Whether the same request may well be answered later, and is worth asking again.
fn is_passing(error: &ClientError) -> bool {
    match error.reason() {
        None => error.code == "unreachable",
        Some(reason) => matches!(
            reason,
            Reason::NoQuorum | Reason::DeadlineExceeded | Reason::ResourceExhausted | Reason::ShuttingDown
        ),
    }
}

fn covers(metadata: &MetadataMap) -> Option<u64> {
    metadata.get(APPLIED_INDEX)?.to_str().ok()?.parse().ok()
}

/// 128 random bits.
fn new_key() -> Result<MetadataValue<Ascii>, ClientError> {
    let mut bytes = [0; 16];
    let text = aws_lc_rs::rand::fill(&mut bytes).map(|()| format!("{:032x}", u128::from_be_bytes(bytes)));
    let value = text.ok().and_then(|text| text.parse().ok());
    value.ok_or_else(|| ClientError::new(Reason::Internal.code(), "this machine gives no random numbers"))
}

/// No index of a log.
const NOTHING_READ: u64 = u64::MAX;
/// How long a change is tried where the client was told no time: a lost connection is made again, no more.
const PATIENCE: Duration = Duration::from_secs(2);
/// One attempt of several: a node that hangs must not use up the time of the others.
const ATTEMPT: Duration = Duration::from_secs(10);
/// An attempt that could get less time than this is not made.
const LEAST: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
