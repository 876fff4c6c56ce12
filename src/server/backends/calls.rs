//! Every call of a key backend is counted and timed, and none is waited for without end.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use signet_kms::{Algorithm, Backend, Digest, KeyReference, KmsError, Signer, Wrapper};
use zeroize::Zeroizing;

use crate::clock;

/// What this process has asked of its key backends.
#[derive(Debug)]
pub(crate) struct Calls {
    total: Family<CallLabels, Counter>,
    seconds: Family<TimeLabels, Histogram>,
    /// The minutes of the last hour in which there were calls, by the boot clock, with how many.
    recent: Mutex<VecDeque<(u64, u64)>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    backend: String,
    operation: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TimeLabels {
    backend: String,
    operation: &'static str,
}

impl Calls {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            total: Family::default(),
            seconds: Family::new_with_constructor(histogram as fn() -> Histogram),
            recent: Mutex::default(),
        })
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Calls of key backends; a probe is a wrapping and an unwrapping, and counts as one";
        registry.register("kms_calls", help, self.total.clone());
        registry.register("kms_call_duration_seconds", "Time of calls of key backends", self.seconds.clone());
    }

    /// How many there were in the last hour, give or take a minute; a probe counts as the two calls that it is.
    pub(crate) fn in_the_last_hour(&self) -> u64 {
        let now = minute();
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().filter(|(minute, _)| minute + HOUR > now).map(|(_, calls)| calls).sum()
    }

    /// How many there were since the start; a probe counts as two.
    #[cfg(test)]
    pub(super) fn all(&self) -> u64 {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.iter().map(|(_, calls)| calls).sum()
    }

    fn note(&self, backend: &str, operation: &'static str, result: &'static str, took: Duration) {
        let backend = backend.to_owned();
        self.seconds.get_or_create(&TimeLabels { backend: backend.clone(), operation }).observe(took.as_secs_f64());
        self.total.get_or_create(&CallLabels { backend, operation, result }).inc();
        let (now, calls) = (minute(), if operation == PROBE { 2 } else { 1 });
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        match recent.back_mut() {
            Some((minute, count)) if *minute == now => *count += calls,
            Some(_) | None => recent.push_back((now, calls)),
        }
        while recent.front().is_some_and(|(minute, _)| minute + HOUR <= now) {
            recent.pop_front();
        }
    }
}

/// A backend whose calls are counted.
pub(super) struct Counted {
    inner: Arc<dyn Backend>,
    name: String,
    calls: Arc<Calls>,
}

impl Counted {
    pub(super) fn new(inner: Arc<dyn Backend>, name: String, calls: Arc<Calls>) -> Self {
        Self { inner, name, calls }
    }

    async fn count<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, KmsError>> + Send,
    ) -> Result<T, KmsError> {
        let since = clock::boottime();
        let result = tokio::time::timeout(LONGEST, call).await.unwrap_or_else(|_| {
            let problem = format!("it did not answer within {LONGEST:?}");
            Err(KmsError::Unavailable { backend: self.name.clone(), problem })
        });
        let word = match &result {
            Ok(_) => "ok",
            Err(KmsError::Unavailable { .. }) => "unavailable",
            Err(KmsError::Configuration { .. } | KmsError::Key { .. } | KmsError::Open { .. }) => "refused",
            Err(KmsError::Wrong { .. }) => "wrong",
        };
        self.calls.note(&self.name, operation, word, clock::boottime().saturating_sub(since));
        result
    }
}

#[async_trait]
impl Signer for Counted {
    fn backend(&self) -> &'static str {
        self.inner.backend()
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    async fn create(&self, label: &str, algorithm: Algorithm) -> Result<KeyReference, KmsError> {
        self.count("create", self.inner.create(label, algorithm)).await
    }

    async fn public_key(&self, key: &KeyReference) -> Result<Vec<u8>, KmsError> {
        self.count("public_key", self.inner.public_key(key)).await
    }

    async fn sign_digest(&self, key: &KeyReference, digest: &Digest) -> Result<Vec<u8>, KmsError> {
        self.count("sign", self.inner.sign_digest(key, digest)).await
    }
}

#[async_trait]
impl Wrapper for Counted {
    async fn recipient(&self) -> Result<String, KmsError> {
        self.count("find", self.inner.recipient()).await
    }

    async fn wrap(&self, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, KmsError> {
        self.count("wrap", self.inner.wrap(plaintext, context)).await
    }

    async fn unwrap(&self, blob: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        self.count("unwrap", self.inner.unwrap(blob, context)).await
    }

    async fn probe(&self) -> Result<(), KmsError> {
        self.count(PROBE, self.inner.probe()).await
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

fn minute() -> u64 {
    clock::boottime().as_secs() / 60
}

/// From 100 µs, four times as much each, to 26 s.
fn histogram() -> Histogram {
    Histogram::new((0..10).map(|nth| 100e-6 * f64::from(1u32 << (2 * nth))))
}

const PROBE: &str = "probe";
/// Minutes.
const HOUR: u64 = 60;
/// Far longer than a KMS takes that works at all, its own retries included.
const LONGEST: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_call_is_counted_by_what_came_of_it_and_a_probe_as_two() {
        let calls = Calls::new();
        let memory = signet_kms::uri::open("memory:").unwrap();
        let counted = Counted::new(memory, "memory:".to_owned(), calls.clone());
        counted.probe().await.unwrap();
        let blob = counted.wrap(b"secret", b"here").await.unwrap();
        counted.unwrap(&blob, b"there").await.unwrap_err();
        assert_eq!(calls.in_the_last_hour(), 4);
        let mut registry = Registry::with_prefix("signet");
        calls.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "signet_kms_calls_total{backend=\"memory:\",operation=\"probe\",result=\"ok\"} 1",
            "signet_kms_calls_total{backend=\"memory:\",operation=\"unwrap\",result=\"refused\"} 1",
            "signet_kms_call_duration_seconds_count{backend=\"memory:\",operation=\"wrap\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        }
    }
}
