//! Makes the trust domain: its roots, its first issuing keys, all in one command.

use std::time::Duration;

use signet_kms::Backend;
use signet_model::authority::{AuthorityKind, Slot};
use signet_model::command::{Command, Settings};
use signet_model::refusal::Refusal;
use signet_model::time::UnixTime;

use super::config::TrustDomainConfig;
use super::rotation::Maker;

/// The command that makes the trust domain which `config` describes, with keys made just now.
///
/// # Errors
/// The key backend failed; nothing was changed.
pub(super) async fn command(
    config: &TrustDomainConfig,
    cluster_id: &str,
    backend: &dyn Backend,
    now: UnixTime,
) -> Result<Command, Refusal> {
    let settings = settings(config, cluster_id);
    let maker = Maker { settings: &settings, backend, now };
    let root = maker.root(Slot::Active).await?;
    // The standby root is published from the start: should the first be compromised, nobody has to wait for a new
    // bundle to travel.
    let standby = maker.root(Slot::Prepared).await?;
    let authorities = vec![
        maker.x509_issuing(&root, Slot::Active).await?,
        maker.token_key(AuthorityKind::JwtSvid, Slot::Active).await?,
        maker.token_key(AuthorityKind::TransactionToken, Slot::Active).await?,
        root,
        standby,
    ];
    Ok(Command::Establish { settings, authorities })
}

fn settings(config: &TrustDomainConfig, cluster_id: &str) -> Settings {
    let secs = |duration: Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    Settings {
        trust_domain: config.name.clone(),
        cluster_id: cluster_id.to_owned(),
        token_issuer: config.token_issuer.clone(),
        jwt_svid_issuer: config.jwt_svid_issuer.clone(),
        x509_svid_ttl_secs: secs(config.x509_svid_ttl),
        jwt_svid_ttl_secs: secs(config.jwt_svid_ttl),
        refresh_hint_secs: secs(config.refresh_hint),
        lease_secs: secs(config.issuance_lease),
        demo: config.demo,
        rotation: Some(config.rotation),
    }
}
