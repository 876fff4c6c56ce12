//! Makes the trust domain: its roots, its first issuing keys, all in one command.

use std::time::Duration;

use signet_model::algorithm::KeySettings;
use signet_model::authority::{AuthorityKind, Slot};
use signet_model::command::{Command, Settings};
use signet_model::recipient::{Recipient, Recipients};
use signet_model::refusal::{Reason, Refusal};
use signet_model::time::UnixTime;

use super::backends::{Backends, Health};
use super::config::TrustDomainConfig;
use super::rotation::Maker;

/// The command that makes the trust domain which `config` describes, with keys made just now.
///
/// # Errors
/// A key backend cannot be used; nothing was changed.
pub(super) async fn command(
    config: &TrustDomainConfig,
    cluster_id: &str,
    backends: &Backends,
    now: UnixTime,
) -> Result<Command, Refusal> {
    let settings = settings(config, cluster_id);
    let recipients = recipients(backends, now)?;
    let maker = Maker { settings: &settings, backends, recipients: &recipients, content: false, now };
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

/// All that are configured here, and roots in the first. Each must be usable now: a mistake in one is found today and not
/// when it is the last.
fn recipients(backends: &Backends, now: UnixTime) -> Result<Recipients, Refusal> {
    let mut recipients = Recipients::default();
    for shown in backends.shown() {
        let (Some(id), Health::Usable) = (&shown.recipient, &shown.health) else {
            let detail = format!(
                "the first keys are wrapped for every key backend in this node's configuration, and one cannot be used: this node has {}",
                backends.described()
            );
            return Err(Refusal::new(Reason::FailedPrecondition, detail));
        };
        if recipients.has(id) {
            let detail =
                format!("two key backends in this node's configuration have the same key, {id}: leave one out");
            return Err(Refusal::new(Reason::FailedPrecondition, detail));
        }
        recipients.list.push(Recipient { id: id.clone(), added_at: now, added_by: None });
    }
    recipients.roots = recipients.list.first().map(|first| first.id.clone()).unwrap_or_default();
    Ok(recipients)
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
        // What is as it ever was is not written.
        keys: (config.keys != KeySettings::default()).then_some(config.keys),
    }
}
