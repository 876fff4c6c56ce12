//! Roots whose certificates come from elsewhere: requests for an outside CA, and what it answered.

use signet_api::service::ForeignKey;
use signet_kms::{Algorithm, KeyReference};
use signet_model::authority::{Authority, AuthorityKind, CertificateRequest, Life, Slot, StoredKey};
use signet_model::command::Command;
use signet_model::refusal::{Reason, Refusal};
use signet_model::rotation::Hierarchy;
use signet_model::time::UnixTime;
use signet_model::x509::SubjectPublicKey;
use signet_model::x509::ca_request::{RequestInfo, Subject};
use signet_model::x509::chain::{CaChain, Rules};
use signet_model::x509::csr::Csr;

use super::Rotation;
use super::make::{Maker, backend_failed, internal};

impl Maker<'_> {
    /// A root's key, made where roots are made now, and the request for its certificate. Waits for three calls of the
    /// backend.
    ///
    /// # Errors
    /// The subject is none, or the backend failed. Nothing was changed but, perhaps, for an unused key in the backend.
    pub(super) async fn request(&self, subject: &str) -> Result<CertificateRequest, Refusal> {
        let subject = named(subject)?;
        let label = format!("{} {} {}", self.settings.trust_domain, AuthorityKind::X509Root, self.settings.cluster_id);
        let home = self.backends.of(&self.recipients.roots)?;
        let algorithm = self.settings.key_choice(AuthorityKind::X509Root).algorithm;
        let algorithm = Algorithm::try_from(algorithm).map_err(internal)?;
        let key = home.backend().create(&label, algorithm).await.map_err(backend_failed)?;
        let spki = home.backend().public_key(&key).await.map_err(backend_failed)?;
        let public_key = SubjectPublicKey::from_spki(&spki).map_err(internal)?;
        let subject = subject.unwrap_or_else(|| Subject::of(&public_key));
        let info = RequestInfo::new(&self.settings.trust_domain, &subject, &public_key);
        let signature = home.backend().sign_digest(&key, &algorithm.digest(info.as_bytes())).await;
        let request = info.assemble(&signature.map_err(backend_failed)?);
        Csr::parse(&request).map_err(internal)?;
        let (backend, recipient) = (home.backend().backend().to_owned(), Some(home.recipient.clone()));
        Ok(CertificateRequest {
            id: public_key.authority_id(),
            public_key: spki,
            key: StoredKey::InBackend { backend, reference: key.0, recipient },
            request,
            made_at: self.now,
        })
    }

    /// What a request would be like, without a key, for a plan.
    pub(super) fn sketch_request(&self, subject: &str) -> Result<CertificateRequest, Refusal> {
        named(subject)?;
        let recipient = Some(self.backends.of(&self.recipients.roots)?.recipient.clone());
        Ok(CertificateRequest {
            id: "to-be-made".to_owned(),
            public_key: Vec::new(),
            key: StoredKey::InBackend { backend: String::new(), reference: Vec::new(), recipient },
            request: Vec::new(),
            made_at: self.now,
        })
    }

    /// A root, prepared, from the certificate that somebody else made for a key of `waiting`, or for `key`. Waits for a
    /// call or two of the backend.
    ///
    /// # Errors
    /// What is wrong with the chain, or the key cannot be used. Nothing was changed.
    pub(super) async fn imported(
        &self,
        pem: &[u8],
        key: Option<ForeignKey>,
        waiting: &[CertificateRequest],
        notes: &mut Vec<String>,
    ) -> Result<Authority, Refusal> {
        let candidates = match key {
            Some(key) => vec![self.foreign(key).await?],
            None if waiting.is_empty() => {
                let detail = "no certificate request waits for a chain: make one with `signet authority csr`, or name the certificate's key (`--backend` with `--key`)";
                return Err(Refusal::new(Reason::FailedPrecondition, detail));
            }
            None => waiting.iter().map(|one| (one.public_key.clone(), one.key.clone())).collect(),
        };
        let keys: Vec<&[u8]> = candidates.iter().map(|(public_key, _)| public_key.as_slice()).collect();
        let at_least = self.settings.authority_lifetime(AuthorityKind::X509Issuing);
        let rules = Rules { trust_domain: &self.settings.trust_domain, now: self.now, at_least };
        let chain = CaChain::read(pem, &keys, rules).map_err(|cause| Refusal::invalid(cause.to_string()))?;
        notes.extend(chain.notes().iter().cloned());
        let public_key = chain.public_key().to_vec();
        let stored = candidates.into_iter().find(|(candidate, _)| *candidate == public_key).map(|(_, key)| key);
        let authority = Authority {
            kind: AuthorityKind::X509Root,
            id: chain.id().clone(),
            slot: Slot::Prepared,
            certificate: chain.certificate().to_vec(),
            key: stored.ok_or_else(|| internal("the chain is for no expected key"))?,
            created_at: self.now,
            not_after: chain.not_after(),
            life: Life::default(),
            outside: Some(chain.outside()),
            public_key,
        };
        self.signs(&authority).await?;
        Ok(authority)
    }

    /// The public half of a key that was made elsewhere, and how it is stored.
    async fn foreign(&self, key: ForeignKey) -> Result<(Vec<u8>, StoredKey), Refusal> {
        if !self.recipients.has(&key.recipient) {
            let detail = format!(
                "{} is no recipient of this cluster: add it first (`signet recipient add`), so that every node has that backend",
                key.recipient
            );
            return Err(Refusal::new(Reason::FailedPrecondition, detail));
        }
        let home = self.backends.of(&key.recipient)?;
        let public_key =
            home.backend().public_key(&KeyReference(key.reference.clone())).await.map_err(backend_failed)?;
        let (backend, recipient) = (home.backend().backend().to_owned(), Some(key.recipient));
        Ok((public_key, StoredKey::InBackend { backend, reference: key.reference, recipient }))
    }

    /// Sees to it that the key of `root` signs, so that a key nobody may use is found today.
    async fn signs(&self, root: &Authority) -> Result<(), Refusal> {
        let algorithm = Algorithm::of_public_key(&root.public_key).ok_or_else(|| {
            Refusal::invalid("the certificate's key is of a kind that roots do not have: have one issued for ECDSA on P-256 or P-384, or RSA of 2048 or 4096 bits with exponent 65537")
        })?;
        let StoredKey::InBackend { reference, .. } = &root.key else {
            return Err(internal(format!("the root {} is stored as a wrapped key", root.id)));
        };
        let (home, reference) = (self.backends.of_key(root)?, KeyReference(reference.clone()));
        if home.backend().public_key(&reference).await.map_err(backend_failed)? != root.public_key {
            return Err(internal(format!("{} has another key in the place of {}", home.recipient, root.id)));
        }
        // The backend holds the signature against the public key.
        home.backend().sign_digest(&reference, &algorithm.digest(SELF_TEST)).await.map_err(backend_failed)?;
        Ok(())
    }
}

impl Rotation {
    /// As the leader, when a root from elsewhere needs a successor: sees to it that there is a request to be signed, and
    /// says what a person has to do.
    pub(super) async fn ask_for_chain(&self, hierarchy: &Hierarchy, now: UnixTime) -> Refusal {
        if hierarchy.certificate_requests.is_empty() {
            match self.maker(hierarchy, false, now).request("").await {
                Ok(request) => {
                    let id = request.id.clone();
                    match self.propose(Command::KeepCertificateRequest { request }).await {
                        Ok(()) => tracing::info!(request = %id, "made a certificate request for the outside CA"),
                        Err(refusal) => {
                            tracing::warn!(%refusal, "the certificate request for the outside CA was not kept")
                        }
                    }
                }
                Err(refusal) => return refusal,
            }
        }
        let detail = "the root comes from elsewhere, so its successor does too: have the request signed that `signet authority csr` prints, and import a chain with `signet authority import --chain FILE`";
        Refusal::new(Reason::FailedPrecondition, detail)
    }
}

fn named(subject: &str) -> Result<Option<Subject>, Refusal> {
    if subject.is_empty() {
        return Ok(None);
    }
    Subject::parse(subject).map(Some).map_err(|cause| Refusal::invalid(format!("subject: {cause}")))
}

/// Begins with a byte that no certificate begins with, so that the signature can serve for none.
const SELF_TEST: &[u8] = b"\0signet self test of an imported root key";
