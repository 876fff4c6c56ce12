//! Calls of KMS: in which region, how often, for how long.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::config::{BehaviorVersion, Config, Region, StalledStreamProtectionConfig};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::instrument::WithSubscriber as _;

use super::breaker::Breaker;
use super::credentials;
use super::failure::Failure;
use super::uri::{AwsUri, RegionAt};

/// The regions of a backend, in the order in which they are tried.
#[derive(Debug)]
pub(super) struct Regions {
    regions: Vec<RegionClient>,
    /// How many calls run, so that a slow KMS does not gather connections.
    running: Semaphore,
    /// How many run or wait, so that it does not gather memory.
    admitted: Semaphore,
    budget: Budget,
}

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// One attempt.
    pub(super) attempt: Duration,
    /// All together, waiting for a turn included.
    pub(super) total: Duration,
    /// The only attempt, where a repetition could do a thing twice: an RSA key takes its time, and to give up early could
    /// leave one behind.
    pub(super) making: Duration,
}

impl Budget {
    pub(super) const NORMAL: Self =
        Self { attempt: Duration::from_secs(2), total: Duration::from_secs(5), making: Duration::from_secs(10) };
}

#[derive(Debug)]
struct RegionClient {
    at: At,
    breaker: Breaker,
}

/// Where an attempt is made.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub(super) client: Client,
    pub(super) region: Arc<str>,
}

/// Whether to try again when nobody knows whether KMS has acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Harmless,
    MakesTwo,
}

impl Regions {
    pub(super) fn new(uri: &AwsUri, budget: Budget) -> Self {
        let first = uri.regions.first().map_or("", |region| region.name.as_str());
        let provider = credentials::provider(&uri.credentials, first);
        let cache = credentials::cache();
        let client = |at: &RegionAt| {
            let mut config = Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new(at.name.clone()))
                .credentials_provider(provider.clone())
                .identity_cache(cache.clone())
                // The SDK's own attempts would hide throttling, and have no bound that we know.
                .retry_config(RetryConfig::disabled())
                .timeout_config(TimeoutConfig::disabled())
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
            if let Some(endpoint) = &at.endpoint {
                config = config.endpoint_url(endpoint);
                if endpoint.starts_with("http://") {
                    // This host: never by the proxy that the environment may name.
                    config = config.http_client(aws_smithy_http_client::Builder::new().build_http());
                }
            }
            let at = At { client: Client::from_conf(config.build()), region: at.name.as_str().into() };
            RegionClient { at, breaker: Breaker::default() }
        };
        Self {
            regions: uri.regions.iter().map(client).collect(),
            running: Semaphore::new(MAX_RUNNING),
            admitted: Semaphore::new(MAX_ADMITTED),
            budget,
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &At> {
        self.regions.iter().map(|region| &region.at)
    }

    /// Calls KMS in the first region that answers: at most [`ATTEMPTS`] attempts, within its budget.
    pub(super) async fn call<T, Work, Fut>(&self, repeat: Repeat, work: Work) -> Result<T, Failure>
    where
        Work: Fn(At) -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        self.within(&self.regions.iter().collect::<Vec<_>>(), repeat, work).await
    }

    /// The same in one region.
    pub(super) async fn call_in<T, Work, Fut>(&self, region: &str, work: Work) -> Result<T, Failure>
    where
        Work: Fn(At) -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        let one: Vec<&RegionClient> = self.regions.iter().filter(|known| &*known.at.region == region).collect();
        self.within(&one, Repeat::Harmless, work).await
    }

    async fn within<T, Work, Fut>(&self, regions: &[&RegionClient], repeat: Repeat, work: Work) -> Result<T, Failure>
    where
        Work: Fn(At) -> Fut,
        Fut: Future<Output = Result<T, Failure>>,
    {
        let _admitted = self
            .admitted
            .try_acquire()
            .map_err(|_| Failure::Away(format!("{MAX_ADMITTED} calls wait for AWS KMS already")))?;
        let (attempt_limit, total) = match repeat {
            Repeat::Harmless => (self.budget.attempt, self.budget.total),
            Repeat::MakesTwo => (self.budget.making, self.budget.making),
        };
        let end = Instant::now() + total;
        let Ok(_running) = tokio::time::timeout_at(end, self.running.acquire()).await else {
            return Err(Failure::Away(format!("no turn within {total:?}: too many calls wait for AWS KMS")));
        };
        let mut tried = Tried::default();
        for attempt in 0..ATTEMPTS {
            let Some(region) = tried.next(regions) else { break };
            tried.pause_before(region, attempt, end).await;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let limit = left.min(attempt_limit);
            // Whatever log level is asked for: the SDK prints requests, and requests hold keys.
            let quietly = work(region.at.clone()).with_subscriber(tracing::Dispatch::none());
            let came = tokio::time::timeout(limit, quietly).await;
            let failure = match came {
                Err(_) => Failure::Away(format!("no answer within {limit:?}")),
                Ok(Ok(answer)) => {
                    region.breaker.answered();
                    return Ok(answer);
                }
                Ok(Err(failure)) => failure,
            };
            if !failure.passes() {
                region.breaker.answered();
                return Err(tried.verdict(&region.at.region, failure));
            }
            region.breaker.failed(Instant::now());
            let unknown = failure != Failure::Throttled;
            tried.failed(&region.at.region, failure);
            if unknown && repeat == Repeat::MakesTwo {
                break;
            }
        }
        Err(tried.last(regions))
    }
}

/// What came of the attempts so far.
#[derive(Default)]
struct Tried {
    failed: Vec<(Arc<str>, Failure)>,
}

impl Tried {
    fn before(&self, region: &str) -> bool {
        self.failed.iter().any(|(tried, _)| &**tried == region)
    }

    /// The first region that has not failed in this call and is not left alone; or else the first that is not left alone.
    fn next<'a>(&self, regions: &[&'a RegionClient]) -> Option<&'a RegionClient> {
        let (fresh, again): (Vec<&'a RegionClient>, Vec<&'a RegionClient>) =
            regions.iter().copied().partition(|region| !self.before(&region.at.region));
        let now = Instant::now();
        fresh.into_iter().chain(again).find(|region| region.breaker.admits(now))
    }

    /// Where an attempt failed just now, the next waits a little, and not all callers the same time.
    async fn pause_before(&self, region: &RegionClient, attempt: u32, end: Instant) {
        if !self.before(&region.at.region) {
            return;
        }
        let mut dice = [0; 2];
        let share = match aws_lc_rs::rand::fill(&mut dice) {
            Ok(()) => f64::from(u16::from_be_bytes(dice)) / f64::from(u16::MAX),
            Err(_) => 0.5,
        };
        let pause = (PAUSE * (1 << attempt.min(4))).mul_f64(0.5 + share / 2.0);
        tokio::time::sleep_until((Instant::now() + pause).min(end)).await;
    }

    fn failed(&mut self, region: &Arc<str>, failure: Failure) {
        self.failed.push((Arc::clone(region), failure));
    }

    /// A refusal in a region that was only asked because another did not answer says little: a replica may be missing or
    /// not ready there.
    fn verdict(&self, region: &str, failure: Failure) -> Failure {
        match self.failed.iter().find(|(tried, _)| &**tried != region) {
            Some((away, _)) if failure.may_be_the_replica() => {
                let why = if failure == Failure::Missing { "knows no such key" } else { "refuses it" };
                Failure::Away(format!("{away} does not answer, and {region} {why}: is the key replicated there?"))
            }
            _ => failure,
        }
    }

    fn last(self, regions: &[&RegionClient]) -> Failure {
        if let Some((region, failure)) = self.failed.into_iter().next_back() {
            if let Failure::Away(problem) = failure {
                return Failure::Away(format!("{region}: {problem}"));
            }
            return failure;
        }
        let now = Instant::now();
        let shortest = regions.iter().filter_map(|region| region.breaker.closed_for(now)).min().unwrap_or_default();
        Failure::Away(format!(
            "every region has failed again and again; the next attempt is in {} s",
            shortest.as_secs() + 1
        ))
    }
}

/// One and two repetitions.
pub(super) const ATTEMPTS: u32 = 3;
/// Before the first repetition in the same region about this and a half; before the second about twice that.
const PAUSE: Duration = Duration::from_millis(50);
/// AWS KMS answers within some 20 ms: this is more than a thousand calls a second.
const MAX_RUNNING: usize = 32;
const MAX_ADMITTED: usize = 512;
