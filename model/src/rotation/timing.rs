//! How long keys live and how long verifiers need to learn of them.

use std::time::Duration;

use crate::authority::AuthorityKind;
use crate::command::{RotationSettings, Settings};

impl Settings {
    /// How long keys live: as set, or the defaults.
    #[must_use]
    pub fn rotation(&self) -> RotationSettings {
        self.rotation.unwrap_or(RotationSettings {
            x509_root_secs: 10 * 365 * DAY,
            x509_issuing_secs: 2 * DAY,
            jwt_svid_secs: 2 * DAY,
            transaction_token_secs: 2 * DAY,
            publish_secs: HOUR.max(5 * u64::from(self.refresh_hint_secs)),
        })
    }

    /// How long an authority of this kind lives, made now.
    #[must_use]
    pub fn authority_lifetime(&self, kind: AuthorityKind) -> Duration {
        let rotation = self.rotation();
        Duration::from_secs(match kind {
            AuthorityKind::X509Root => rotation.x509_root_secs,
            AuthorityKind::X509Issuing => rotation.x509_issuing_secs,
            AuthorityKind::JwtSvid => rotation.jwt_svid_secs,
            AuthorityKind::TransactionToken => rotation.transaction_token_secs,
        })
    }

    /// How long after a change of bundle or JWKS a verifier may still go by the one before: it keeps it for the refresh
    /// hint, and the node that answered it may have been cut off for as long as it may sign.
    #[must_use]
    pub fn caches(&self) -> Duration {
        Duration::from_secs(self.refresh_hint_secs.into()) + self.stops_within()
    }

    /// How long after an authority stopped signing a node that was cut off may still sign with it.
    #[must_use]
    pub fn stops_within(&self) -> Duration {
        Duration::from_secs(self.lease_secs.into()) + CLOCK_TOLERANCE
    }

    /// How long an authority must be published before it signs. Issuing CAs travel in the chain: verifiers know their
    /// root. `soon`: somebody asked for it, so the shortest time that every verifier can follow.
    #[must_use]
    pub fn publication(&self, kind: AuthorityKind, soon: bool) -> Duration {
        match kind {
            AuthorityKind::X509Issuing => Duration::ZERO,
            AuthorityKind::X509Root => self.caches(),
            AuthorityKind::JwtSvid | AuthorityKind::TransactionToken if soon => self.caches(),
            AuthorityKind::JwtSvid | AuthorityKind::TransactionToken => {
                self.caches().max(Duration::from_secs(self.rotation().publish_secs))
            }
        }
    }
}

/// By how much the clocks of nodes and verifiers may differ: nodes beyond it do not sign.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
