//! What the gRPC services have in common: who calls, how long they wait, and how a refusal is answered.

use std::sync::Arc;
use std::time::Duration;

use signet_model::caller::Caller;
use signet_model::refusal::{Reason, Refusal};
use tonic::metadata::MetadataMap;
use tonic::{Response, Status};

use crate::service::{Call, Service};
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
        Call { caller: self.caller.clone(), timeout: timeout(metadata) }
    }
}

/// A message, or the refusal as a status.
pub(super) fn answer<T>(result: Result<T, Refusal>) -> Answer<T> {
    match result {
        Ok(message) => Ok(Response::new(message)),
        Err(refusal) => Err(status::to_grpc(&refusal)),
    }
}

/// The service broke its promise of one answer for each question.
pub(super) fn short_answer() -> Refusal {
    Refusal::new(Reason::Internal, "the server lost an item of the batch")
}

/// How long there is to work on it: what the caller says, less the way back. Otherwise the caller's clock and ours would
/// run out together, and a caller who waited for nothing would not hear why.
fn timeout(metadata: &MetadataMap) -> Option<Duration> {
    said(metadata).map(|timeout| timeout.saturating_sub((timeout / 10).min(WAY_BACK)))
}

/// What the caller says in `grpc-timeout`: up to eight digits and a unit.
fn said(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

const WAY_BACK: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_deadline_and_ignores_what_is_none() {
        let read = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            said(&metadata)
        };
        assert_eq!(read("5S"), Some(Duration::from_secs(5)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        for bad in ["", "S", "5", "5x", "-5S", "999999999S", "1.5S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(said(&MetadataMap::new()), None);
    }

    #[test]
    fn leaves_time_for_the_way_back() {
        let read = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            timeout(&metadata)
        };
        assert_eq!(read("2S"), Some(Duration::from_millis(1800)));
        assert_eq!(read("30S"), Some(Duration::from_millis(29_500)));
        assert_eq!(timeout(&MetadataMap::new()), None);
    }
}
