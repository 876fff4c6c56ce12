//! Makes authorities: keys in this node's memory or in the backend, certificates signed by the root.

use std::sync::Arc;

use signet_kms::issuing::IssuingKey;
use signet_kms::{Algorithm, KeyReference, KmsError};
use signet_model::authority::{Authority, AuthorityKind, Life, Slot, StoredKey, WrappedKey};
use signet_model::command::Settings;
use signet_model::jwk;
use signet_model::recipient::Recipients;
use signet_model::refusal::{Reason, Refusal};
use signet_model::time::UnixTime;
use signet_model::x509::{IssuerView, SerialNumber, SubjectPublicKey, TbsCertificate, ca};

use zeroize::Zeroizing;

use crate::server::backends::{Backends, Opened};
use crate::server::dice;
use crate::server::keyring::context;

/// Makes authorities of one trust domain at one moment.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct Maker<'a> {
    pub(in crate::server) settings: &'a Settings,
    pub(in crate::server) backends: &'a Backends,
    /// For whom issuing keys are wrapped, and where roots are made.
    pub(in crate::server) recipients: &'a Recipients,
    /// Be content when a key is wrapped for one of them: the leader wraps it for the others when they are back.
    pub(in crate::server) content: bool,
    pub(in crate::server) now: UnixTime,
}

/// A root's key: where it is, and its public half.
#[derive(Clone, Copy)]
struct RootKey<'a> {
    home: &'a Opened,
    reference: &'a KeyReference,
    /// `SubjectPublicKeyInfo`, DER.
    public_key: &'a [u8],
}

/// A key that was made in a backend just now.
struct Placed {
    home: Arc<Opened>,
    reference: KeyReference,
    /// `SubjectPublicKeyInfo`, DER.
    public_key: Vec<u8>,
}

impl Placed {
    fn stored(self) -> StoredKey {
        let (backend, recipient) = (self.home.backend().backend().to_owned(), Some(self.home.recipient.clone()));
        StoredKey::InBackend { backend, reference: self.reference.0, recipient }
    }
}

impl Maker<'_> {
    /// A root: its key is made in the backend and never leaves it. Waits for three calls of the backend.
    ///
    /// # Errors
    /// The backend failed. Nothing was changed but, perhaps, for an unused key in the backend.
    pub(in crate::server) async fn root(&self, slot: Slot) -> Result<Authority, Refusal> {
        let kind = AuthorityKind::X509Root;
        let key = self.place(kind).await?;
        let signer = RootKey { home: &key.home, reference: &key.reference, public_key: &key.public_key };
        let certificate = self.ca_certificate(kind, &key.public_key, None, signer).await?;
        self.authority(kind, slot, key.public_key.clone(), certificate, key.stored())
    }

    /// Makes a key in the backend where roots are made. Waits for two calls of it.
    async fn place(&self, kind: AuthorityKind) -> Result<Placed, Refusal> {
        let label = format!("{} {kind} {}", self.settings.trust_domain, self.settings.cluster_id);
        let home = self.backends.of(&self.recipients.roots)?;
        let algorithm = Algorithm::try_from(self.settings.key_choice(kind).algorithm).map_err(internal)?;
        let reference = home.backend().create(&label, algorithm).await.map_err(backend_failed)?;
        let public_key = home.backend().public_key(&reference).await.map_err(backend_failed)?;
        Ok(Placed { home, reference, public_key })
    }

    /// An issuing CA under `root`. Waits for a signature, and for a wrapping for each recipient.
    ///
    /// # Errors
    /// A backend failed, or this node has not the one that holds the root's key. Nothing was changed.
    pub(in crate::server) async fn x509_issuing(&self, root: &Authority, slot: Slot) -> Result<Authority, Refusal> {
        let kind = AuthorityKind::X509Issuing;
        let StoredKey::InBackend { reference, .. } = &root.key else {
            return Err(internal(format!("the root {} is stored as a wrapped key", root.id)));
        };
        let (home, reference) = (self.backends.of_key(root)?, KeyReference(reference.clone()));
        let issuer = if root.is_outside() {
            IssuerView::from_outside(&root.certificate, &root.public_key, root.not_after).map_err(internal)?
        } else {
            IssuerView::new(&root.certificate, &root.public_key, &self.settings.trust_domain).map_err(internal)?
        };
        if root.not_after <= self.now {
            let detail = format!("the root {} has ended, so nothing is signed with it any more", root.id);
            return Err(Refusal::new(Reason::FailedPrecondition, detail));
        }
        let signer = RootKey { home: &home, reference: &reference, public_key: &root.public_key };
        let mut authority = if self.settings.key_choice(kind).in_backend {
            let key = self.place(kind).await?;
            let certificate = self.ca_certificate(kind, &key.public_key, Some(&issuer), signer).await?;
            self.authority(kind, slot, key.public_key.clone(), certificate, key.stored())?
        } else {
            let (key, pkcs8) = self.generate(kind).await?;
            let certificate = self.ca_certificate(kind, key.public_key(), Some(&issuer), signer).await?;
            self.wrapped(kind, slot, &key, &pkcs8, certificate).await?
        };
        authority.life.issuer.clone_from(&root.id);
        authority.outside = root.above_issuing();
        Ok(authority)
    }

    /// A key that signs tokens. Waits for a wrapping for each recipient.
    ///
    /// # Errors
    /// As [`x509_issuing`](Self::x509_issuing).
    pub(in crate::server) async fn token_key(&self, kind: AuthorityKind, slot: Slot) -> Result<Authority, Refusal> {
        if self.settings.key_choice(kind).in_backend {
            let key = self.place(kind).await?;
            return self.authority(kind, slot, key.public_key.clone(), Vec::new(), key.stored());
        }
        let (key, pkcs8) = self.generate(kind).await?;
        self.wrapped(kind, slot, &key, &pkcs8, Vec::new()).await
    }

    /// A key in memory, of the kind that was chosen.
    async fn generate(&self, kind: AuthorityKind) -> Result<(IssuingKey, Zeroizing<Vec<u8>>), Refusal> {
        let algorithm = self.settings.key_choice(kind).algorithm;
        // Finding the primes of an RSA key takes up to seconds.
        let made = tokio::task::spawn_blocking(move || IssuingKey::generate(algorithm)).await;
        made.map_err(internal)?.map_err(internal)
    }

    /// A CA certificate, signed by the root key in its backend.
    async fn ca_certificate(
        &self,
        kind: AuthorityKind,
        public_key: &[u8],
        issuer: Option<&IssuerView>,
        root: RootKey<'_>,
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
        let algorithm = Algorithm::of_public_key(root.public_key)
            .ok_or_else(|| internal("the root's key is of a kind that no backend makes"))?;
        let digest = algorithm.digest(tbs.as_bytes());
        let signature = root.home.backend().sign_digest(root.reference, &digest).await.map_err(backend_failed)?;
        // The backend held it against the key that it has; this is the key that everybody else knows.
        if !algorithm.verifies(root.public_key, &digest, &signature) {
            return Err(internal(format!("{} signed with another key than the root's", root.home.recipient)));
        }
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
        let mut for_recipients = Vec::new();
        for recipient in &self.recipients.list {
            match self.wrap(&recipient.id, pkcs8, &context).await {
                Ok(wrapped) => for_recipients.push(wrapped),
                Err(cause) if self.content => {
                    tracing::warn!(%kind, recipient = %recipient.id, "a new key is not wrapped for this recipient yet: {cause}");
                }
                Err(cause) => return Err(cause),
            }
        }
        if for_recipients.is_empty() {
            let detail =
                format!("no authority was made: no recipient's key backend can be used: {}", self.backends.described());
            return Err(Refusal::new(Reason::FailedPrecondition, detail));
        }
        authority.key = StoredKey::Wrapped { for_recipients };
        Ok(authority)
    }

    async fn wrap(&self, recipient: &str, pkcs8: &[u8], context: &[u8]) -> Result<WrappedKey, Refusal> {
        let opened = self.backends.of(recipient)?;
        let blob = opened.backend().wrap(pkcs8, context).await.map_err(backend_failed)?;
        Ok(WrappedKey { recipient: recipient.to_owned(), blob })
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
        let outside = None;
        Ok(Authority { kind, id, slot, public_key, certificate, key, created_at, not_after, life, outside })
    }
}

pub(super) fn backend_failed(cause: KmsError) -> Refusal {
    Refusal::new(Reason::FailedPrecondition, format!("no authority was made: {cause}"))
}

pub(super) fn internal(cause: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::Internal, format!("no authority was made: {cause}"))
}
