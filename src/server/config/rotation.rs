//! `[trust_domain.rotation]`: how long authorities live. Replicated with the rest of the trust domain's settings.

use std::time::Duration;

use serde::Deserialize;
use signet_model::command::RotationSettings;

use super::Mistakes;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    x509_root: Option<String>,
    x509_issuing: Option<String>,
    jwt_svid: Option<String>,
    transaction_token: Option<String>,
    publish: Option<String>,
}

impl Raw {
    /// `caches`: how long verifiers may go by an older bundle.
    pub(super) fn check(
        self,
        refresh_hint: Duration,
        caches: Duration,
        mistakes: &mut Mistakes,
    ) -> Option<RotationSettings> {
        let key = |name: &str| format!("trust_domain.rotation.{name}");
        let publish = mistakes.duration(&key("publish"), self.publish, caches.max(HOUR).max(5 * refresh_hint))?;
        if publish < caches {
            let problem = format!(
                "{publish:?} is shorter than verifiers may go by an older bundle: refresh_hint + issuance_lease + 2s = {caches:?}"
            );
            mistakes.add(&key("publish"), problem);
        }
        let mut life = |name: &str, text, default, least: Duration, why: &str| {
            let value = mistakes.duration(&key(name), text, default)?;
            if value < least {
                mistakes.add(&key(name), format_args!("{value:?} is too short: {why}, so at least {least:?}"));
            }
            Some(value.as_secs())
        };
        let three = "a key is made at half of its predecessor's life and published before five sixths of it";
        let jwt_svid = life("jwt_svid", self.jwt_svid, 48 * HOUR, 3 * publish, three);
        let transaction_token = life("transaction_token", self.transaction_token, 48 * HOUR, 3 * publish, three);
        let x509_issuing =
            life("x509_issuing", self.x509_issuing, 48 * HOUR, 6 * SECOND, "nodes need time to unwrap it");
        let least = Duration::from_secs(4 * x509_issuing?).max(4 * caches);
        let four = "issuing CAs live and end within it, and a standby root is published before it is needed";
        let x509_root = life("x509_root", self.x509_root, 10 * 365 * 24 * HOUR, least, four);
        Some(RotationSettings {
            x509_root_secs: x509_root?,
            x509_issuing_secs: x509_issuing?,
            jwt_svid_secs: jwt_svid?,
            transaction_token_secs: transaction_token?,
            publish_secs: publish.as_secs(),
        })
    }
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
