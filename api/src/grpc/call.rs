//! What a caller says about a call beside its message: how long they wait, how fresh a read must be, and the key by which
//! a retry is known.

use std::time::Duration;

use http::HeaderMap;
use signet_model::refusal::Refusal;
use signet_model::request_key::RequestKey;
use tonic::metadata::MetadataMap;

use crate::service::Consistency;

/// Names the request for its retries.
pub(crate) const IDEMPOTENCY_KEY: &str = "signet-idempotency-key";
/// `linearizable`, or `stale` for a read of what the node has at once.
pub(crate) const CONSISTENCY: &str = "signet-consistency";
/// Of an answer: the log index that a read covers.
pub(crate) const APPLIED_INDEX: &str = "signet-applied-index";
/// Of an answer: `true` when nobody confirmed that it is the newest.
pub(crate) const STALE: &str = "signet-stale";

/// Refuses metadata that make no sense, whether or not the method looks at them.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    if let Some(key) = keys.next() {
        if keys.next().is_some() {
            return Err(Refusal::invalid("signet-idempotency-key: is there twice"));
        }
        // Anything that is not text is no key either.
        RequestKey::new(key.to_str().unwrap_or_default(), "", b"")?;
    }
    match headers.get(CONSISTENCY).map(|value| value.as_bytes()) {
        None | Some(b"linearizable" | b"stale") => Ok(()),
        Some(_) => Err(Refusal::invalid("signet-consistency: must be linearizable, which is the default, or stale")),
    }
}

/// How fresh the answer must be.
pub(super) fn consistency(metadata: &MetadataMap) -> Consistency {
    match metadata.get(CONSISTENCY).map(|value| value.as_encoded_bytes()) {
        Some(b"stale") => Consistency::Stale,
        Some(_) | None => Consistency::Linearizable,
    }
}

/// The key of this request. The caller's word was checked at the door.
pub(super) fn request_key(metadata: &MetadataMap, method: &str, message: &impl prost::Message) -> Option<RequestKey> {
    let text = metadata.get(IDEMPOTENCY_KEY)?.to_str().ok()?;
    RequestKey::new(text, method, &message.encode_to_vec()).ok()
}

/// How long there is to work on it: what the caller says, less the way back. Otherwise the caller's clock and ours would
/// run out together, and a caller who waited for nothing would not hear why.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    said(headers).map(|timeout| timeout.saturating_sub((timeout / 10).min(WAY_BACK)))
}

/// What the caller says in `grpc-timeout`: up to eight digits and a unit.
pub(super) fn said(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
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

    fn with(name: &'static str, text: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), text.parse().unwrap())])
    }

    #[test]
    fn reads_a_deadline_and_ignores_what_is_none() {
        let read = |text: &str| said(&with("grpc-timeout", text));
        assert_eq!(read("5S"), Some(Duration::from_secs(5)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        for bad in ["", "S", "5", "5x", "-5S", "999999999S", "1.5S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(said(&HeaderMap::new()), None);
    }

    #[test]
    fn leaves_time_for_the_way_back() {
        let read = |text: &str| timeout(&with("grpc-timeout", text));
        assert_eq!(read("2S"), Some(Duration::from_millis(1800)));
        assert_eq!(read("30S"), Some(Duration::from_millis(29_500)));
        assert_eq!(timeout(&HeaderMap::new()), None);
    }

    #[test]
    fn refuses_metadata_that_make_no_sense() {
        assert!(check(&HeaderMap::new()).is_ok());
        assert!(check(&with(CONSISTENCY, "stale")).is_ok());
        assert!(check(&with(CONSISTENCY, "Stale")).is_err());
        assert!(check(&with(IDEMPOTENCY_KEY, "5f0c")).is_ok());
        assert!(check(&with(IDEMPOTENCY_KEY, "")).is_err());
        let mut twice = with(IDEMPOTENCY_KEY, "a");
        twice.append(IDEMPOTENCY_KEY, "b".parse().unwrap());
        assert!(check(&twice).is_err());
    }
}
