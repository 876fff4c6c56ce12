//! This node's own X.509-SVID, `spiffe://TRUST_DOMAIN/spire/server`: what it shows to callers.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use signet_api::tls::{Tls, TlsMaterial};
use signet_kms::issuing::IssuingKey;
use signet_model::algorithm::KeyAlgorithm;
use signet_model::caller::Caller;
use signet_model::refusal::{Reason, Refusal};
use signet_model::time::UnixTime;
use signet_model::x509::SubjectPublicKey;
use tokio_util::sync::CancellationToken;

use super::config::HttpsConfig;
use super::issue::{Issuer, X509Request};
use crate::clock;

/// Keeps a valid certificate in `tls`: renewed at half of its life, at once when the bundle or the issuing CA changes.
pub(crate) async fn keep(issuer: Arc<Issuer>, tls: Arc<Tls>, names: HttpsConfig, node: u64, stop: CancellationToken) {
    let mut changes = issuer.live.watch();
    let mut keys = issuer.keys.watch();
    let mut bundle = None;
    let mut renew_at = UnixTime::default();
    loop {
        changes.mark_unchanged();
        keys.mark_unchanged();
        let current = issuer
            .live
            .current()
            .map(|live| (live.bundle.sequence_number, issuer.keys.x509().ok().map(|key| key.id.clone())));
        let mut pause = RETRY;
        if clock::now() >= renew_at || current != bundle {
            match issue(&issuer, &names, node).await.and_then(|(material, renew)| {
                tls.install(material).map(|()| renew).map_err(|cause| Refusal::new(Reason::Internal, cause.to_string()))
            }) {
                Ok(renew) => (renew_at, bundle) = (renew, current.clone()),
                Err(refusal) => tracing::debug!(%refusal, "no certificate for this node yet"),
            }
        }
        if current.is_some() && current == bundle {
            pause = renew_at.since(clock::now()).clamp(RETRY, LOOK);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            changed = keys.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn issue(issuer: &Issuer, names: &HttpsConfig, node: u64) -> Result<(TlsMaterial, UnixTime), Refusal> {
    let licence = issuer.licence()?;
    let trust_domain = licence.live.settings.trust_domain.clone();
    let spiffe_id =
        trust_domain.join(SERVER_PATH).map_err(|cause| Refusal::new(Reason::Internal, cause.to_string()))?;
    let generated = IssuingKey::generate(KeyAlgorithm::EcdsaP256);
    let (key, pkcs8) = generated.map_err(|cause| Refusal::new(Reason::Internal, cause.to_string()))?;
    let public_key = SubjectPublicKey::from_spki(key.public_key())
        .map_err(|cause| Refusal::new(Reason::Internal, cause.to_string()))?;
    let request = X509Request {
        spiffe_id: &spiffe_id,
        dns_names: &names.dns_names,
        ip_addresses: &names.ip_addresses,
        public_key: &public_key,
        ttl_secs: LIFETIME_SECS,
        hint: "",
        entry: None,
        caller: &Caller::Node { node },
    };
    let svid = issuer.x509_svid(&licence, request).await?.release().await?;
    let half = Duration::from_secs(svid.expires_at_secs.saturating_sub(licence.now.secs()) / 2);
    let material = TlsMaterial {
        chain: svid.cert_chain.into_iter().map(CertificateDer::from).collect(),
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.to_vec())),
        anchors: licence
            .live
            .bundle
            .x509_authorities
            .iter()
            .map(|a| CertificateDer::from(a.certificate.clone()))
            .collect(),
        trust_domain,
    };
    Ok((material, licence.now.after(half)))
}

const SERVER_PATH: &str = "/spire/server";
/// Long enough to outlast a loss of quorum that takes a night to mend.
const LIFETIME_SECS: u32 = 24 * 3600;
const RETRY: Duration = Duration::from_millis(200);
const LOOK: Duration = Duration::from_mins(1);
