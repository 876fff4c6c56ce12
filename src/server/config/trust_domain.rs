//! `[trust_domain]`: what `cluster init` makes, replicated from then on.

use std::time::Duration;

use serde::Deserialize;
use signet_model::algorithm::KeySettings;
use signet_model::command::RotationSettings;
use signet_model::rotation::CLOCK_TOLERANCE;
use signet_model::spiffe_id::TrustDomain;

use super::Mistakes;

#[derive(Debug, Clone)]
pub(crate) struct TrustDomainConfig {
    pub(crate) name: TrustDomain,
    pub(crate) token_issuer: String,
    pub(crate) jwt_svid_issuer: String,
    pub(crate) x509_svid_ttl: Duration,
    pub(crate) jwt_svid_ttl: Duration,
    pub(crate) refresh_hint: Duration,
    pub(crate) issuance_lease: Duration,
    pub(crate) rotation: RotationSettings,
    pub(crate) keys: KeySettings,
    /// Made by `signet dev`.
    pub(crate) demo: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    name: Option<String>,
    token_issuer: Option<String>,
    jwt_svid_issuer: Option<String>,
    x509_svid_ttl: Option<String>,
    jwt_svid_ttl: Option<String>,
    refresh_hint: Option<String>,
    issuance_lease: Option<String>,
    rotation: super::rotation::Raw,
    algorithms: super::algorithms::Algorithms,
    signing: super::algorithms::Signing,
    demo: bool,
}

impl Raw {
    pub(super) fn check(self, mistakes: &mut Mistakes) -> Option<TrustDomainConfig> {
        let name = mistakes.required("trust_domain.name", self.name);
        let name = name.and_then(|name| mistakes.parsed("trust_domain.name", &name));
        let token_issuer = mistakes.required("trust_domain.token_issuer", self.token_issuer);
        if let Some(issuer) = &token_issuer {
            let host = issuer.strip_prefix("https://").unwrap_or("");
            if host.is_empty() || issuer.contains(['?', '#', '@', ' ']) {
                let problem = format!("{issuer:?} is not an https URL without user, query and fragment (RFC 8414 §2)");
                mistakes.add("trust_domain.token_issuer", problem);
            }
        }
        let mut within = |key: &str, text, default, least: Duration, most: Duration| {
            let key = format!("trust_domain.{key}");
            let value = mistakes.duration(&key, text, default)?;
            if !(least..=most).contains(&value) {
                mistakes.add(&key, format_args!("{value:?} is not between {least:?} and {most:?}"));
            }
            Some(value)
        };
        let x509_svid_ttl = within("x509_svid_ttl", self.x509_svid_ttl, HOUR, MINUTE, 24 * 30 * HOUR);
        let jwt_svid_ttl = within("jwt_svid_ttl", self.jwt_svid_ttl, 5 * MINUTE, SECOND, 24 * HOUR);
        let refresh_hint = within("refresh_hint", self.refresh_hint, 5 * MINUTE, SECOND, 24 * HOUR);
        let issuance_lease = within("issuance_lease", self.issuance_lease, 30 * SECOND, 2 * SECOND, HOUR);
        let (hint, lease) = (refresh_hint.unwrap_or(MINUTE), issuance_lease.unwrap_or(MINUTE));
        let rotation = self.rotation.check(hint, hint + lease + CLOCK_TOLERANCE, mistakes);
        let keys = self.algorithms.check(self.signing, mistakes);
        Some(TrustDomainConfig {
            name: name?,
            token_issuer: token_issuer?,
            jwt_svid_issuer: self.jwt_svid_issuer.unwrap_or_default(),
            x509_svid_ttl: x509_svid_ttl?,
            jwt_svid_ttl: jwt_svid_ttl?,
            refresh_hint: refresh_hint?,
            issuance_lease: issuance_lease?,
            rotation: rotation?,
            keys,
            demo: self.demo,
        })
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
