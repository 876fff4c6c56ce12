//! `[keys]`: the backends that hold roots and open the issuing keys.

use std::time::Duration;

use serde::Deserialize;
use signet_kms::uri::KeyUri;

use super::Mistakes;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeysConfig {
    /// Every key backend that this node may use, the first of them first. URIs such as `file:/etc/signet/kek`.
    pub(crate) backends: Vec<KeyBackend>,
    /// How often each of them is tried.
    pub(crate) probe: Duration,
    /// One in so many signatures made in memory is verified before it leaves. Not zero.
    pub(crate) verify_every: u64,
}

/// A backend as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyBackend {
    pub(crate) uri: KeyUri,
    pub(crate) text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    backend: Option<String>,
    recipients: Vec<String>,
    probe: Option<String>,
    verify_every: Option<u64>,
}

impl KeysConfig {
    /// Two calls each time: 288 a day.
    pub(crate) const DEFAULT_PROBE: Duration = Duration::from_mins(10);
    /// The check costs four times the signature, and a machine that computes wrongly does not do so once.
    pub(crate) const DEFAULT_VERIFY_EVERY: u64 = 64;
}

impl Raw {
    pub(super) fn check(self, mistakes: &mut Mistakes) -> Option<KeysConfig> {
        let probe = mistakes.duration("keys.probe", self.probe, KeysConfig::DEFAULT_PROBE);
        if probe.is_some_and(|probe| !(Duration::from_secs(1)..=LONGEST_PROBE).contains(&probe)) {
            mistakes.add("keys.probe", "is not between 1s and 1h");
        }
        let verify_every = self.verify_every.unwrap_or(KeysConfig::DEFAULT_VERIFY_EVERY);
        if !(1..=MOST_UNVERIFIED).contains(&verify_every) {
            mistakes.add("keys.verify_every", format_args!("is not between 1 (every signature) and {MOST_UNVERIFIED}"));
        }
        let first = mistakes.required("keys.backend", self.backend).map(|text| ("keys.backend", text));
        let more = self.recipients.into_iter().map(|text| ("keys.recipients", text));
        let mut backends: Vec<KeyBackend> = Vec::new();
        for (key, text) in first.into_iter().chain(more) {
            match text.parse::<KeyUri>() {
                Ok(uri) if backends.iter().any(|other| other.uri == uri) => {
                    mistakes.add(key, format_args!("{text:?} is named twice"));
                }
                Ok(uri) => backends.push(KeyBackend { uri, text }),
                Err(cause) => mistakes.add(key, cause),
            }
        }
        if backends.len() > MOST {
            mistakes.add("keys.recipients", format_args!("more than {MOST} backends in all"));
        }
        Some(KeysConfig { backends, probe: probe?, verify_every })
    }
}

const LONGEST_PROBE: Duration = Duration::from_hours(1);
const MOST_UNVERIFIED: u64 = 1024;
/// As many as there can be recipients.
const MOST: usize = 8;
