//! Makes the trust domain: its roots, its first issuing keys, all in one command.

use std::time::Duration;

use signet_kms::issuing::IssuingKey;
use signet_kms::{Backend, KeyReference, KmsError};
use signet_model::authority::{Authority, AuthorityKind, Slot, StoredKey, WrappedKey};
use signet_model::command::{Command, Settings};
use signet_model::jwk;
use signet_model::refusal::{Reason, Refusal};
use signet_model::spiffe_id::TrustDomain;
use signet_model::time::UnixTime;
use signet_model::x509::{IssuerView, SerialNumber, SubjectPublicKey, TbsCertificate, ca};

use super::config::TrustDomainConfig;
use super::dice;
use super::keyring::context;

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
    let mut maker = Maker { settings: &settings, backend, now, made: Vec::new() };
    let root = maker.root(Slot::Active).await?;
    // The standby root is published from the start: should the first be compromised, nobody has to wait for a new
    // bundle to travel.
    maker.root(Slot::Prepared).await?;
    maker.x509_issuing(&root).await?;
    maker.token_key(AuthorityKind::JwtSvid).await?;
    maker.token_key(AuthorityKind::TransactionToken).await?;
    let authorities = maker.made;
    Ok(Command::Establish { settings, authorities })
}

struct Maker<'a> {
    settings: &'a Settings,
    backend: &'a dyn Backend,
    now: UnixTime,
    made: Vec<Authority>,
}

/// A root as the issuing CA needs it.
struct Root {
    key: KeyReference,
    view: IssuerView,
}

impl Maker<'_> {
    async fn root(&mut self, slot: Slot) -> Result<Root, Refusal> {
        let label = format!("{} {} {}", self.settings.trust_domain, AuthorityKind::X509Root, self.settings.cluster_id);
        let key = self.backend.create(&label).await.map_err(backend_failed)?;
        let public_key = self.backend.public_key(&key).await.map_err(backend_failed)?;
        let not_after = self.now.after(ROOT_LIFETIME);
        let certificate = self.ca_certificate(&public_key, ROOT_LIFETIME, None, &key).await?;
        let view = self.view(&certificate, &public_key)?;
        let stored = StoredKey::InBackend { backend: self.backend.backend().to_owned(), reference: key.0.clone() };
        self.add(AuthorityKind::X509Root, slot, public_key, certificate, not_after, stored)?;
        Ok(Root { key, view })
    }

    async fn x509_issuing(&mut self, root: &Root) -> Result<(), Refusal> {
        let (key, pkcs8) = IssuingKey::generate().map_err(internal)?;
        let not_after = self.now.after(ISSUING_LIFETIME);
        let certificate = self.ca_certificate(key.public_key(), ISSUING_LIFETIME, Some(&root.view), &root.key).await?;
        self.add_wrapped(AuthorityKind::X509Issuing, &key, &pkcs8, certificate, not_after).await
    }

    async fn token_key(&mut self, kind: AuthorityKind) -> Result<(), Refusal> {
        let (key, pkcs8) = IssuingKey::generate().map_err(internal)?;
        let not_after = self.now.after(ISSUING_LIFETIME);
        self.add_wrapped(kind, &key, &pkcs8, Vec::new(), not_after).await
    }

    /// A CA certificate, signed by the root key in the backend.
    async fn ca_certificate(
        &self,
        public_key: &[u8],
        lifetime: Duration,
        issuer: Option<&IssuerView>,
        root: &KeyReference,
    ) -> Result<Vec<u8>, Refusal> {
        let public_key = SubjectPublicKey::from_spki(public_key).map_err(internal)?;
        let tbs: TbsCertificate = ca::Template {
            trust_domain: &self.settings.trust_domain,
            public_key: &public_key,
            serial: SerialNumber::from_random(dice::bytes()?),
            validity: ca::validity(self.now, lifetime),
            issuer,
        }
        .to_be_signed();
        let signature = self.backend.sign_digest(root, &tbs.digest()).await.map_err(backend_failed)?;
        Ok(tbs.assemble(&signature))
    }

    async fn add_wrapped(
        &mut self,
        kind: AuthorityKind,
        key: &IssuingKey,
        pkcs8: &[u8],
        certificate: Vec<u8>,
        not_after: UnixTime,
    ) -> Result<(), Refusal> {
        let nothing_yet = StoredKey::Wrapped { for_recipients: Vec::new() };
        self.add(kind, Slot::Active, key.public_key().to_vec(), certificate, not_after, nothing_yet)?;
        let Some(authority) = self.made.last_mut() else { return Ok(()) };
        let context = context(self.settings.trust_domain.as_str(), &self.settings.cluster_id, authority);
        let blob = self.backend.wrap(pkcs8, &context).await.map_err(backend_failed)?;
        let recipient = self.backend.recipient();
        authority.key = StoredKey::Wrapped { for_recipients: vec![WrappedKey { recipient, blob }] };
        Ok(())
    }

    fn add(
        &mut self,
        kind: AuthorityKind,
        slot: Slot,
        public_key: Vec<u8>,
        certificate: Vec<u8>,
        not_after: UnixTime,
        key: StoredKey,
    ) -> Result<(), Refusal> {
        let id = match kind {
            AuthorityKind::X509Root | AuthorityKind::X509Issuing => {
                SubjectPublicKey::from_spki(&public_key).map_err(internal)?.authority_id()
            }
            AuthorityKind::JwtSvid | AuthorityKind::TransactionToken => jwk::key_id(&public_key),
        };
        self.made.push(Authority { kind, id, slot, public_key, certificate, key, created_at: self.now, not_after });
        Ok(())
    }

    fn view(&self, certificate: &[u8], public_key: &[u8]) -> Result<IssuerView, Refusal> {
        let trust_domain: &TrustDomain = &self.settings.trust_domain;
        IssuerView::new(certificate, public_key, trust_domain).map_err(internal)
    }
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
    }
}

fn backend_failed(cause: KmsError) -> Refusal {
    Refusal::new(Reason::FailedPrecondition, format!("the trust domain was not made: {cause}"))
}

fn internal(cause: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::Internal, format!("the trust domain was not made: {cause}"))
}

const ROOT_LIFETIME: Duration = Duration::from_hours(24 * 365 * 10);
/// Until keys rotate by themselves they must outlive any patience.
const ISSUING_LIFETIME: Duration = Duration::from_hours(24 * 365);
