//! The keys of trusted issuers: fetched from where the policy says, kept, and fetched again when they are old or when a
//! token names a key that is not among them, but never more than once in an interval, whatever callers send.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use signet_model::jwks::{DemoRule, KeySet};
use signet_model::policy::{self, Issuer, KeySource};

use crate::clock;

/// Fetches and keeps the keys of issuers.
#[derive(Debug)]
pub(crate) struct IssuerKeys {
    client: reqwest::Client,
    known: Mutex<HashMap<String, Arc<Known>>>,
}

/// Keys as they were fetched at one time.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) keys: KeySet,
    /// Unlike that of any other fetch by this process: what a verification rests on.
    pub(crate) generation: u64,
    at: Duration,
}

/// The keys could not be had. Says why, without the body that came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct FetchError(String);

#[derive(Debug)]
struct Known {
    issuer: Arc<Issuer>,
    fetched: ArcSwapOption<Fetched>,
    /// Held while fetching; when the last attempt began, and what came of it if it failed.
    attempt: tokio::sync::Mutex<Option<(Duration, Option<FetchError>)>>,
}

impl IssuerKeys {
    /// # Errors
    /// The TLS configuration of this machine cannot be used.
    pub(crate) fn new() -> Result<Arc<Self>, reqwest::Error> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("signet/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build()?;
        Ok(Arc::new(Self { client, known: Mutex::default() }))
    }

    /// The keys of `issuer`, at most a few minutes old while it can be reached, and at most a day old while it cannot.
    ///
    /// # Errors
    /// They were never had, or are too old, and cannot be fetched now.
    pub(crate) async fn keys(
        self: &Arc<Self>,
        issuer: &Arc<Issuer>,
        demo: &DemoRule,
    ) -> Result<Arc<Fetched>, FetchError> {
        let known = self.known(issuer);
        if let Some(fetched) = known.fetched.load_full() {
            let age = clock::boottime().saturating_sub(fetched.at);
            if age < FRESH {
                return Ok(fetched);
            }
            if age < USABLE {
                let (this, demo) = (self.clone(), demo.clone());
                tokio::spawn(async move {
                    // A failure is logged where it happens, and the keys at hand still serve.
                    let _ = this.fetch(&known, &demo, FRESH).await;
                });
                return Ok(fetched);
            }
        }
        self.fetch(&known, demo, FRESH).await
    }

    /// Keys that may be newer than `than`, for a token whose key is not in that set.
    ///
    /// # Errors
    /// They cannot be fetched now.
    pub(crate) async fn keys_newer_than(
        &self,
        than: &Fetched,
        issuer: &Arc<Issuer>,
        demo: &DemoRule,
    ) -> Result<Arc<Fetched>, FetchError> {
        let known = self.known(issuer);
        match known.fetched.load_full() {
            Some(fetched) if fetched.generation != than.generation => Ok(fetched),
            _ => self.fetch(&known, demo, Duration::ZERO).await,
        }
    }

    fn known(&self, issuer: &Arc<Issuer>) -> Arc<Known> {
        // No code panics while it holds this lock.
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(&issuer.issuer) {
            Some(known) if known.issuer == *issuer => known.clone(),
            _ => {
                let known = Arc::new(Known {
                    issuer: issuer.clone(),
                    fetched: ArcSwapOption::empty(),
                    attempt: tokio::sync::Mutex::new(None),
                });
                all.insert(issuer.issuer.clone(), known.clone());
                known
            }
        }
    }

    /// Fetches unless somebody just did. Callers that come together wait for one fetch.
    async fn fetch(&self, known: &Known, demo: &DemoRule, fresh: Duration) -> Result<Arc<Fetched>, FetchError> {
        let mut attempt = known.attempt.lock().await;
        let now = clock::boottime();
        let held = known.fetched.load_full();
        if let Some(held) = &held
            && now.saturating_sub(held.at) < fresh.max(INTERVAL)
        {
            return Ok(held.clone());
        }
        if let Some((at, failed)) = &*attempt
            && now.saturating_sub(*at) < INTERVAL
        {
            return failed
                .clone()
                .map_or_else(|| held.ok_or_else(|| FetchError("no keys were fetched".to_owned())), Err);
        }
        let result = self.download(&known.issuer, demo).await;
        let failed = match &result {
            Ok(keys) => {
                for skipped in keys.skipped() {
                    tracing::warn!(issuer = %known.issuer.issuer, position = skipped.position, reason = %skipped.reason, "an issuer's key is not used");
                }
                None
            }
            Err(cause) => {
                tracing::warn!(issuer = %known.issuer.issuer, %cause, "cannot fetch an issuer's keys");
                Some(cause.clone())
            }
        };
        let generation = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let result = result.map(|keys| Arc::new(Fetched { keys, generation, at: now }));
        if let Ok(fetched) = &result {
            known.fetched.store(Some(fetched.clone()));
        }
        *attempt = Some((now, failed));
        result
    }

    async fn download(&self, issuer: &Issuer, demo: &DemoRule) -> Result<KeySet, FetchError> {
        let uri = match &issuer.keys {
            KeySource::JwksUri(uri) => uri.clone(),
            KeySource::Discovery => self.discover(issuer).await?,
        };
        let document = self.get(&uri).await?;
        KeySet::parse(&document, &issuer.algorithms, demo).map_err(|cause| FetchError(format!("{uri}: {cause}")))
    }

    async fn discover(&self, issuer: &Issuer) -> Result<String, FetchError> {
        let mut last = FetchError("the issuer has no metadata".to_owned());
        for url in issuer.metadata_urls() {
            match self.get(&url).await {
                Ok(metadata) => {
                    return policy::jwks_uri(&metadata, &issuer.issuer)
                        .map_err(|cause| FetchError(format!("{url}: {cause}")));
                }
                Err(cause) => last = cause,
            }
        }
        Err(last)
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let fail = |cause: &dyn std::fmt::Display| FetchError(format!("GET {url}: {cause}"));
        let mut response = self.client.get(url).send().await.map_err(|cause| fail(&chain(&cause)))?;
        if response.status() != http::StatusCode::OK {
            return Err(fail(&format_args!("answered {}", response.status())));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|cause| fail(&chain(&cause)))? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(fail(&"the answer is larger than 512 KiB"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// The cause of a failed request, without its URL, which is said already.
fn chain(cause: &reqwest::Error) -> String {
    let mut text = String::from("failed");
    let mut source = std::error::Error::source(cause);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_BODY: usize = 512 << 10;
/// Keys this old are fetched again, in the background.
const FRESH: Duration = Duration::from_secs(300);
/// Keys this old are no longer used when they cannot be fetched.
const USABLE: Duration = Duration::from_hours(24);
/// An issuer is asked at most once in this time.
const INTERVAL: Duration = Duration::from_secs(10);
