//! Makes authorities: keys in this node's memory or in the backend, certificates signed by the root.

use signet_kms::issuing::IssuingKey;
use signet_kms::{Algorithm, Backend, Digest, KeyReference, KmsError};
use signet_model::authority::{Authority, AuthorityKind, Life, Slot, StoredKey, WrappedKey};
use signet_model::command::Settings;
use signet_model::jwk;
use signet_model::refusal::{Reason, Refusal};
use signet_model::time::UnixTime;
use signet_model::x509::{IssuerView, SerialNumber, SubjectPublicKey, TbsCertificate, ca};

use crate::server::dice;
use crate::server::keyring::context;

/// Makes authorities of one trust domain at one moment.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct Maker<'a> {
    pub(in crate::server) settings: &'a Settings,
    pub(in crate::server) backend: &'a dyn Backend,
    pub(in crate::server) now: UnixTime,
}

impl Maker<'_> {
    /// A root: its key is made in the backend and never leaves it. Waits for three calls of the backend.
    ///
    /// # Errors
    /// The backend failed. Nothing was changed but, perhaps, for an unused key in the backend.
    pub(in crate::server) async fn root(&self, slot: Slot) -> Result<Authority, Refusal> {
        let kind = AuthorityKind::X509Root;
        let label = format!("{} {kind} {}", self.settings.trust_domain, self.settings.cluster_id);
        let key = self.backend.create(&label, Algorithm::EcdsaP256).await.map_err(backend_failed)?;
        let public_key = self.backend.public_key(&key).await.map_err(backend_failed)?;
        let certificate = self.ca_certificate(kind, &public_key, None, &key).await?;
        let stored = StoredKey::InBackend { backend: self.backend.backend().to_owned(), reference: key.0 };
        self.authority(kind, slot, public_key, certificate, stored)
    }

    /// An issuing CA under `root`. Waits for two calls of the backend.
    ///
    /// # Errors
    /// The backend failed, or it is not the one that holds the root's key. Nothing was changed.
    pub(in crate::server) async fn x509_issuing(&self, root: &Authority, slot: Slot) -> Result<Authority, Refusal> {
        let kind = AuthorityKind::X509Issuing;
        let reference = match &root.key {
            StoredKey::InBackend { backend, reference } if backend == self.backend.backend() => {
                KeyReference(reference.clone())
            }
            StoredKey::InBackend { backend, .. } => {
                let detail = format!(
                    "the key of {kind} {} is in a backend {backend:?}, and this node's keys.backend is {:?}: configure the backend of this cluster",
                    root.id,
                    self.backend.backend()
                );
                return Err(Refusal::new(Reason::FailedPrecondition, detail));
            }
            StoredKey::Wrapped { .. } => {
                return Err(internal(format!("the root {} is stored as a wrapped key", root.id)));
            }
        };
        let issuer =
            IssuerView::new(&root.certificate, &root.public_key, &self.settings.trust_domain).map_err(internal)?;
        let (key, pkcs8) = IssuingKey::generate().map_err(internal)?;
        let certificate = self.ca_certificate(kind, key.public_key(), Some(&issuer), &reference).await?;
        let mut authority = self.wrapped(kind, slot, &key, &pkcs8, certificate).await?;
        authority.life.issuer.clone_from(&root.id);
        Ok(authority)
    }

    /// A key that signs tokens. Waits for one call of the backend.
    ///
    /// # Errors
    /// As [`x509_issuing`](Self::x509_issuing).
    pub(in crate::server) async fn token_key(&self, kind: AuthorityKind, slot: Slot) -> Result<Authority, Refusal> {
        let (key, pkcs8) = IssuingKey::generate().map_err(internal)?;
        self.wrapped(kind, slot, &key, &pkcs8, Vec::new()).await
    }

    /// A CA certificate, signed by the root key in the backend.
    async fn ca_certificate(
        &self,
        kind: AuthorityKind,
        public_key: &[u8],
        issuer: Option<&IssuerView>,
        root: &KeyReference,
    ) -> Result<Vec<u8>, Refusal> {
        let public_key = SubjectPublicKey::from_spki(public_key).map_err(internal)?;
        let tbs: TbsCertificate = ca::Template {
            trust_domain: &self.settings.trust_domain,
            public_key: &public_key,
            serial: SerialNumber::from_random(dice::bytes()?),
            validity: ca::validity(self.now, self.settings.authority_lifetime(kind)),
            issuer,
        }
        .to_be_signed();
        let digest = Digest::Sha256(tbs.digest());
        let signature = self.backend.sign_digest(root, &digest).await.map_err(backend_failed)?;
        let signature = signature.try_into().map_err(|_| internal("the root's key is not ECDSA P-256"))?;
        Ok(tbs.assemble(&signature))
    }

    async fn wrapped(
        &self,
        kind: AuthorityKind,
        slot: Slot,
        key: &IssuingKey,
        pkcs8: &[u8],
        certificate: Vec<u8>,
    ) -> Result<Authority, Refusal> {
        let nothing_yet = StoredKey::Wrapped { for_recipients: Vec::new() };
        let mut authority = self.authority(kind, slot, key.public_key().to_vec(), certificate, nothing_yet)?;
        let context = context(self.settings.trust_domain.as_str(), &self.settings.cluster_id, &authority);
        let blob = self.backend.wrap(pkcs8, &context).await.map_err(backend_failed)?;
        let recipient = self.backend.recipient().await.map_err(backend_failed)?;
        authority.key = StoredKey::Wrapped { for_recipients: vec![WrappedKey { recipient, blob }] };
        Ok(authority)
    }

    fn authority(
        &self,
        kind: AuthorityKind,
        slot: Slot,
        public_key: Vec<u8>,
        certificate: Vec<u8>,
        key: StoredKey,
    ) -> Result<Authority, Refusal> {
        let (id, not_after) = match kind {
            AuthorityKind::X509Root | AuthorityKind::X509Issuing => {
                // Read back: what was made is a CA of this trust domain, and it may have been cut to its root's end.
                let view = IssuerView::new(&certificate, &public_key, &self.settings.trust_domain).map_err(internal)?;
                (view.authority_id(), view.validity().not_after)
            }
            AuthorityKind::JwtSvid | AuthorityKind::TransactionToken => {
                let end = self.now.after(self.settings.authority_lifetime(kind));
                (jwk::key_id(&public_key), UnixTime::from_secs(end.secs()))
            }
        };
        let (created_at, life) = (self.now, Life::default());
        Ok(Authority { kind, id, slot, public_key, certificate, key, created_at, not_after, life })
    }
}

fn backend_failed(cause: KmsError) -> Refusal {
    Refusal::new(Reason::FailedPrecondition, format!("no authority was made: {cause}"))
}

fn internal(cause: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::Internal, format!("no authority was made: {cause}"))
}
