//! `[backups]`: snapshots on a schedule, to a folder or an S3-compatible store.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use super::Mistakes;

#[derive(Debug, Clone)]
pub(crate) struct BackupsConfig {
    /// From one to the next.
    pub(crate) schedule: Duration,
    pub(crate) place: PlaceConfig,
    /// The newest so many stay.
    pub(crate) keep: Option<usize>,
    /// Those that are younger stay.
    pub(crate) keep_for: Option<Duration>,
    /// The node that takes them; the leader where it is not set.
    pub(crate) node: Option<u64>,
}

/// Where they go.
#[derive(Debug, Clone)]
pub(crate) enum PlaceConfig {
    Folder(PathBuf),
    S3(S3Config),
}

#[derive(Debug, Clone)]
pub(crate) struct S3Config {
    pub(crate) endpoint: Url,
    pub(crate) bucket: String,
    /// Before the names of objects.
    pub(crate) prefix: String,
    pub(crate) region: String,
    /// Read anew for each backup.
    pub(crate) credentials_file: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    schedule: Option<String>,
    folder: Option<PathBuf>,
    s3: Option<RawS3>,
    keep: Option<u32>,
    keep_for: Option<String>,
    node: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawS3 {
    endpoint: Option<String>,
    bucket: Option<String>,
    prefix: String,
    region: Option<String>,
    credentials_file: Option<PathBuf>,
}

impl Raw {
    pub(super) fn check(self, mistakes: &mut Mistakes) -> Option<BackupsConfig> {
        let schedule = mistakes.required("backups.schedule", self.schedule);
        let schedule = schedule.and_then(|text| mistakes.duration("backups.schedule", Some(text), SHORTEST));
        if schedule.is_some_and(|schedule| schedule < SHORTEST) {
            mistakes.add("backups.schedule", format_args!("is shorter than {SHORTEST:?}"));
        }
        let place = match (self.folder, self.s3) {
            (Some(folder), None) => folder.is_absolute().then_some(PlaceConfig::Folder(folder)).or_else(|| {
                mistakes.add("backups.folder", "is not an absolute path");
                None
            }),
            (None, Some(s3)) => s3.check(mistakes).map(PlaceConfig::S3),
            (None, None) => {
                mistakes.add("backups", "says not where to: give `folder` or `s3`");
                None
            }
            (Some(_), Some(_)) => {
                mistakes.add("backups", "names both a `folder` and `s3`: give one of them");
                None
            }
        };
        if self.keep == Some(0) {
            mistakes.add("backups.keep", "is 0, so nothing would be kept; leave it out for the default");
        }
        let keep_for = match self.keep_for {
            None => None,
            Some(text) => Some(mistakes.duration("backups.keep_for", Some(text), SHORTEST)?),
        };
        let keep = match (self.keep, keep_for) {
            (None, None) => Some(DEFAULT_KEEP),
            (keep, _) => keep.and_then(|keep| usize::try_from(keep).ok()),
        };
        Some(BackupsConfig { schedule: schedule?, place: place?, keep, keep_for, node: self.node })
    }
}

impl RawS3 {
    fn check(self, mistakes: &mut Mistakes) -> Option<S3Config> {
        let endpoint = mistakes.required("backups.s3.endpoint", self.endpoint);
        let endpoint = endpoint.and_then(|text| mistakes.parsed::<Url>("backups.s3.endpoint", &text));
        if let Some(endpoint) = &endpoint {
            let host = endpoint.host_str().unwrap_or_default();
            let loopback = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
            if endpoint.scheme() != "https" && !(endpoint.scheme() == "http" && loopback) {
                mistakes.add(
                    "backups.s3.endpoint",
                    "is not an https URL; a backup names every entry, so it goes out encrypted",
                );
            }
            if !endpoint.username().is_empty() || endpoint.password().is_some() {
                mistakes.add("backups.s3.endpoint", "holds a user; credentials belong in backups.s3.credentials_file");
            }
        }
        let bucket = mistakes.required("backups.s3.bucket", self.bucket);
        let credentials_file = mistakes.required("backups.s3.credentials_file", self.credentials_file);
        Some(S3Config {
            endpoint: endpoint?,
            bucket: bucket?,
            prefix: self.prefix,
            region: self.region.unwrap_or_else(|| "us-east-1".to_owned()),
            credentials_file: credentials_file?,
        })
    }
}

/// More often would be work without rest.
const SHORTEST: Duration = Duration::from_secs(5);
/// A week's worth at one each six hours.
const DEFAULT_KEEP: usize = 28;
