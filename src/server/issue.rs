//! Issuing: template, record and sign side by side, check what was signed, release when signature and record are safe.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use signet_model::authority::{AuthorityKind, KeyId};
use signet_model::caller::Caller;
use signet_model::entry::EntryId;
use signet_model::jws;
use signet_model::jwt_svid::{self, JwtSvidRequest};
use signet_model::record::{CredentialKind, IssuanceRecord};
use signet_model::refusal::{Reason, Refusal};
use signet_model::spiffe_id::SpiffeId;
use signet_model::svid::{JwtSvid, X509Svid};
use signet_model::time::UnixTime;
use signet_model::x509::{SerialNumber, SubjectPublicKey, leaf};

use super::dice;
use super::disk::DiskWatch;
use super::journal::{Journal, Pending};
use super::keyring::{JwtKey, Keys};
use super::lease::Lease;
use super::live::{Live, LiveState};
use super::signing::SigningKey;
use crate::clock;

/// Signs what others decided, and never without lease and record.
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) live: Arc<LiveState>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) lease: Arc<Lease>,
    pub(crate) disk: Arc<DiskWatch>,
    /// Opened once this node is a member and knows what of its journal is replicated.
    pub(crate) journal: OnceLock<Journal>,
    signatures: AtomicU64,
    /// One in so many signatures made in memory is verified. Not zero.
    verify_every: u64,
}

/// Proof that this node may sign now, with what it signs from.
#[derive(Debug)]
pub(crate) struct Licence {
    pub(crate) live: Arc<Live>,
    journal: Journal,
    pub(crate) now: UnixTime,
}

/// A credential that is signed and not yet released.
#[derive(Debug)]
pub(crate) struct Unreleased<T> {
    credential: T,
    record: Pending,
}

impl<T> Unreleased<T> {
    /// The credential, once its record is on disk.
    pub(crate) async fn release(self) -> Result<T, Refusal> {
        self.record.durable().await?;
        Ok(self.credential)
    }
}

/// What an X.509-SVID is to say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct X509Request<'a> {
    pub(crate) spiffe_id: &'a SpiffeId,
    pub(crate) dns_names: &'a [String],
    pub(crate) ip_addresses: &'a [IpAddr],
    pub(crate) public_key: &'a SubjectPublicKey,
    /// 0 for the default.
    pub(crate) ttl_secs: u32,
    pub(crate) hint: &'a str,
    pub(crate) entry: Option<&'a EntryId>,
    pub(crate) caller: &'a Caller,
}

/// What a JWT-SVID is to say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JwtRequest<'a> {
    pub(crate) spiffe_id: &'a SpiffeId,
    pub(crate) audience: &'a [String],
    /// 0 for the default.
    pub(crate) ttl_secs: u32,
    pub(crate) include_jti: bool,
    pub(crate) hint: &'a str,
    pub(crate) entry: Option<&'a EntryId>,
    pub(crate) caller: &'a Caller,
}

/// What the record of a token says besides its hash and key.
#[derive(Debug)]
pub(crate) struct TokenRecord<'a> {
    pub(crate) kind: CredentialKind,
    pub(crate) id: Vec<u8>,
    pub(crate) subject: String,
    pub(crate) entry: Option<&'a EntryId>,
    pub(crate) not_after: UnixTime,
    pub(crate) caller: &'a Caller,
}

impl Issuer {
    pub(crate) fn new(
        live: Arc<LiveState>,
        keys: Arc<Keys>,
        lease: Arc<Lease>,
        disk: Arc<DiskWatch>,
        verify_every: u64,
    ) -> Self {
        Self { live, keys, lease, disk, journal: OnceLock::new(), signatures: AtomicU64::new(0), verify_every }
    }

    /// Whether this node may sign at this moment.
    ///
    /// # Errors
    /// Not a member yet, no lease, no room on the disk, or no journal: the caller asks another node.
    pub(crate) fn licence(&self) -> Result<Licence, Refusal> {
        let live = self.live.current().ok_or_else(not_initialized)?;
        let now = clock::now();
        self.lease.check(clock::boottime(), now)?;
        self.disk.may_issue()?;
        let journal = self.journal.get().cloned().ok_or_else(|| {
            Refusal::new(
                Reason::LeaseExpired,
                "this node is still starting and does not sign yet; ask another node or retry",
            )
        })?;
        Ok(Licence { live, journal, now })
    }

    /// Signs an X.509-SVID.
    ///
    /// # Errors
    /// The key is sealed, the journal is full, or the machine failed.
    pub(crate) async fn x509_svid(
        &self,
        licence: &Licence,
        request: X509Request<'_>,
    ) -> Result<Unreleased<X509Svid>, Refusal> {
        let signer = self.keys.x509()?;
        let settings = &licence.live.settings;
        let serial = SerialNumber::from_random(dice::bytes()?);
        let default = Duration::from_secs(settings.x509_svid_ttl_secs.into());
        let requested = Duration::from_secs(request.ttl_secs.into());
        let validity = leaf::validity(licence.now, requested, default, &signer.issuer);
        if validity.not_after <= licence.now {
            return Err(ended(AuthorityKind::X509Issuing));
        }
        let tbs = leaf::Template {
            spiffe_id: request.spiffe_id,
            dns_names: request.dns_names,
            ip_addresses: request.ip_addresses,
            public_key: request.public_key,
            serial,
            validity,
            issuer: &signer.issuer,
        }
        .to_be_signed();
        let early = self.sign_elsewhere(licence, &signer.key, &signer.id, tbs.as_bytes()).await?;
        let record = licence.journal.append(&IssuanceRecord {
            kind: CredentialKind::X509Svid,
            id: serial.as_bytes().to_vec(),
            subject: request.spiffe_id.to_string(),
            entry: request.entry.cloned(),
            key: signer.id.clone(),
            signed_hash: tbs.digest(),
            issued_at: licence.now,
            not_after: validity.not_after,
            caller: request.caller.clone(),
        })?;
        let signature = self.sign(early, &signer.key, &signer.id, tbs.as_bytes())?;
        let credential = X509Svid {
            spiffe_id: request.spiffe_id.clone(),
            cert_chain: std::iter::once(tbs.assemble(&signature)).chain(signer.chain.iter().cloned()).collect(),
            expires_at_secs: validity.not_after.secs(),
            hint: request.hint.to_owned(),
        };
        Ok(Unreleased { credential, record })
    }

    /// Signs a JWT-SVID.
    ///
    /// # Errors
    /// As [`x509_svid`](Self::x509_svid); or the audience is missing.
    pub(crate) async fn jwt_svid(
        &self,
        licence: &Licence,
        request: JwtRequest<'_>,
    ) -> Result<Unreleased<JwtSvid>, Refusal> {
        let signer = self.keys.jwt_svid()?;
        let settings = &licence.live.settings;
        let ttl_secs = if request.ttl_secs == 0 { settings.jwt_svid_ttl_secs } else { request.ttl_secs };
        let id: [u8; 16] = dice::bytes()?;
        let claims = jwt_svid::template(
            JwtSvidRequest {
                spiffe_id: request.spiffe_id,
                audience: request.audience,
                ttl: Duration::from_secs(ttl_secs.into()),
                issuer: &settings.jwt_svid_issuer,
                jti: request.include_jti.then(|| uuid::Builder::from_random_bytes(id).into_uuid().to_string()),
            },
            signer.not_after,
            licence.now,
        )?;
        let id = claims.jti.clone().map_or_else(|| id.to_vec(), String::into_bytes);
        let (issued_at_secs, expires_at_secs) = (claims.iat, claims.exp);
        let record = TokenRecord {
            kind: CredentialKind::JwtSvid,
            id,
            subject: request.spiffe_id.to_string(),
            entry: request.entry,
            not_after: UnixTime::from_secs(expires_at_secs),
            caller: request.caller,
        };
        let Unreleased { credential, record } = self.token(licence, &signer, &claims, record).await?;
        let spiffe_id = request.spiffe_id.clone();
        let hint = request.hint.to_owned();
        let credential = JwtSvid { spiffe_id, token: credential, issued_at_secs, expires_at_secs, hint };
        Ok(Unreleased { credential, record })
    }

    /// Signs a token with these claims.
    ///
    /// # Errors
    /// As [`x509_svid`](Self::x509_svid).
    pub(crate) async fn token<C: Serialize>(
        &self,
        licence: &Licence,
        signer: &JwtKey,
        claims: &C,
        record: TokenRecord<'_>,
    ) -> Result<Unreleased<String>, Refusal> {
        let signing_input = jws::signing_input(&signer.header, claims);
        let hash = digest(&SHA256, signing_input.as_bytes());
        let early = self.sign_elsewhere(licence, &signer.key, &signer.id, signing_input.as_bytes()).await?;
        let record = licence.journal.append(&IssuanceRecord {
            kind: record.kind,
            id: record.id,
            subject: record.subject,
            entry: record.entry.cloned(),
            key: signer.id.clone(),
            signed_hash: hash.as_ref().try_into().unwrap_or_default(),
            issued_at: licence.now,
            not_after: record.not_after,
            caller: record.caller.clone(),
        })?;
        let signature = self.sign(early, &signer.key, &signer.id, signing_input.as_bytes())?;
        Ok(Unreleased { credential: jws::assemble(signing_input, &signature), record })
    }

    /// The signature, if a key backend or another node makes it: before the record, so that what is refused there is not
    /// recorded.
    ///
    /// While it was waited for, the licence must not have grown old: what was decided holds for as long as a lease does.
    async fn sign_elsewhere(
        &self,
        licence: &Licence,
        key: &SigningKey,
        id: &KeyId,
        message: &[u8],
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let signature = match key {
            SigningKey::Memory(_) => return Ok(None),
            SigningKey::Backend(key) => key.sign(message).await?,
            SigningKey::Lent(key) => key.sign(message).await?,
        };
        let now = clock::now();
        self.lease.check(clock::boottime(), now)?;
        let lease = Duration::from_secs(licence.live.settings.lease_secs.into());
        if now.since(licence.now) > lease || !self.keys.signs(id) {
            let detail = "it took so long to be signed that this node may not use the signature any more; retry";
            return Err(Refusal::new(Reason::LeaseExpired, detail));
        }
        Ok(Some(signature))
    }

    /// Signs in memory, unless there is a signature `early`, and checks one in so many: the check costs four times what it
    /// checks, and what it guards against, a machine that computes wrongly, does not strike once.
    fn sign(&self, early: Option<Vec<u8>>, key: &SigningKey, id: &KeyId, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let key = match (early, key) {
            (Some(signature), _) => return Ok(signature),
            (None, SigningKey::Memory(key)) => key,
            (None, SigningKey::Backend(_) | SigningKey::Lent(_)) => {
                return Err(Refusal::new(Reason::Internal, "a key that is not in memory cannot sign there"));
            }
        };
        let failed = |cause: &str| {
            tracing::error!(key = %id, "{cause}: this machine's memory or processor may be faulty; take it out of service");
            Refusal::new(Reason::Internal, "the signature could not be made; ask another node")
        };
        let signature = key.sign(message).map_err(|cause| failed(&cause.to_string()))?;
        let nth = self.signatures.fetch_add(1, Ordering::Relaxed);
        if nth.is_multiple_of(self.verify_every) && !key.verify(message, &signature) {
            return Err(failed("a signature did not verify"));
        }
        Ok(signature)
    }
}

/// The refusal of a signature that would be worth nothing.
pub(crate) fn ended(kind: AuthorityKind) -> Refusal {
    let detail = format!(
        "the active {kind} authority has ended, and none has taken its place: see `signet authority show` for the plan, and the leader's log for what holds it up"
    );
    Refusal::new(Reason::Sealed, detail)
}

/// The refusal of everything that needs a trust domain.
pub(crate) fn not_initialized() -> Refusal {
    Refusal::new(
        Reason::NotInitialized,
        "this node belongs to no cluster with a trust domain yet: run `signet cluster init` on the first node, or start this one with --join-token-file",
    )
}
