//! Drives a token exchange: who asks, whose token it is, what the rules grant; then signs.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::sync::Cache;
use signet_model::authority::AuthorityKind;
use signet_model::caller::Caller;
use signet_model::exchange::{
    self, Claimed, OAuthCode, OAuthError, Request, Subject, TokenIds, TransactionClaims, UNKNOWN_KEY, authenticate,
    decide, peek, verify_subject,
};
use signet_model::jwks::KeySet;
use signet_model::record::CredentialKind;
use signet_model::refusal::{Reason, Refusal};
use signet_model::spiffe_id::SpiffeId;
use signet_model::time::UnixTime;

use super::dice;
use super::issue::{Issuer, Licence, TokenRecord, ended};
use super::issuer_keys::{FetchError, IssuerKeys};
use super::live::Live;
use signet_api::service::{Call, TokenAnswer};

/// The token endpoint, behind its door.
#[derive(Debug)]
pub(crate) struct Exchange {
    issuer: Arc<Issuer>,
    issuer_keys: Arc<IssuerKeys>,
    /// Subject tokens that were verified, by the digest of the whole token, signature included: a token with another
    /// signature over the same claims must be verified for itself.
    verified: Cache<[u8; 32], Arc<Verified>>,
}

#[derive(Debug)]
struct Verified {
    subject: Subject,
    basis: Basis,
}

/// What a verification rests on. When it changes, the token is verified anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Basis {
    policy_version: u64,
    /// The sequence number of the bundle.
    bundle: u64,
    /// The fetch of the issuer's keys, 0 for our own bundle.
    keys: u64,
}

impl Exchange {
    pub(crate) fn new(issuer: Arc<Issuer>, issuer_keys: Arc<IssuerKeys>) -> Self {
        Self { issuer, issuer_keys, verified: Cache::new(VERIFIED) }
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, call: &Call, parameters: &[(String, String)]) -> Result<TokenAnswer, OAuthError> {
        let request = Request::parse(parameters)?;
        let licence = self.issuer.licence().map_err(|refusal| unavailable(&refusal))?;
        let live = &licence.live;
        let peer = match &call.caller {
            Caller::Spiffe { id } => Some(id),
            Caller::Local { .. } | Caller::Node { .. } | Caller::Anonymous => None,
        };
        let caller = authenticate(&request, peer, &live.jwt_svid_keys, &live.endpoint, licence.now)?;
        let subject = self.subject(&request, &caller, live, licence.now).await?;
        let grant = decide(&live.policy, &caller, &subject.subject, &request)?;
        self.sign(&licence, &request, &caller, &subject.subject, &grant).await
    }

    async fn subject(
        &self,
        request: &Request,
        caller: &SpiffeId,
        live: &Live,
        now: UnixTime,
    ) -> Result<Arc<Verified>, OAuthError> {
        let claimed = peek(request, caller, &live.policy, &live.endpoint)?;
        let basis = |keys| Basis { policy_version: live.policy_version, bundle: live.bundle.sequence_number, keys };
        let issuer = match &claimed {
            Claimed::JwtSvid { .. } => {
                return self.verified(request, &claimed, &live.jwt_svid_keys, basis(0), live, now);
            }
            Claimed::AccessToken { issuer, .. } => issuer,
        };
        let fetched = self.issuer_keys.keys(issuer, &live.demo).await.map_err(|cause| no_keys(&cause))?;
        match self.verified(request, &claimed, &fetched.keys, basis(fetched.generation), live, now) {
            Err(error) if error.reason == UNKNOWN_KEY => {
                let newer = self.issuer_keys.keys_newer_than(&fetched, issuer, &live.demo).await;
                let newer = newer.map_err(|cause| no_keys(&cause))?;
                if newer.generation == fetched.generation {
                    return Err(error);
                }
                self.verified(request, &claimed, &newer.keys, basis(newer.generation), live, now)
            }
            result => result,
        }
    }

    fn verified(
        &self,
        request: &Request,
        claimed: &Claimed<'_>,
        keys: &KeySet,
        basis: Basis,
        live: &Live,
        now: UnixTime,
    ) -> Result<Arc<Verified>, OAuthError> {
        let key: [u8; 32] = digest(&SHA256, request.subject_token.as_bytes()).as_ref().try_into().unwrap_or_default();
        if let Some(known) = self.verified.get(&key)
            && known.basis == basis
        {
            known.subject.check_time(now)?;
            return Ok(known);
        }
        let subject = verify_subject(claimed, keys, &live.endpoint, now)?;
        let verified = Arc::new(Verified { subject, basis });
        self.verified.insert(key, verified.clone());
        Ok(verified)
    }

    async fn sign(
        &self,
        licence: &Licence,
        request: &Request,
        caller: &SpiffeId,
        subject: &Subject,
        grant: &exchange::Grant,
    ) -> Result<TokenAnswer, OAuthError> {
        let refused = |refusal: Refusal| unavailable(&refusal);
        let signer = self.issuer.keys.transaction_token().map_err(refused)?;
        let ids = TokenIds { txn: uuid(licence.now).map_err(refused)?, jti: uuid(licence.now).map_err(refused)? };
        let left = signer.not_after.since(licence.now);
        if left < Duration::from_secs(1) {
            return Err(unavailable(&ended(AuthorityKind::TransactionToken)));
        }
        // Nothing outlives the key that verifies it.
        let cut;
        let grant = if grant.lifetime > left {
            cut = exchange::Grant { lifetime: left, ..grant.clone() };
            &cut
        } else {
            grant
        };
        let endpoint = &licence.live.endpoint;
        let claims = TransactionClaims::new(endpoint, request, caller, subject, grant, ids, licence.now)?;
        let caller = Caller::Spiffe { id: caller.clone() };
        let record = TokenRecord {
            kind: CredentialKind::TransactionToken,
            id: claims.jti.clone().into_bytes(),
            subject: claims.sub.clone(),
            entry: None,
            not_after: UnixTime::from_secs(claims.exp),
            caller: &caller,
        };
        let unreleased =
            self.issuer.token(licence, &signer, &claims, record).await.map_err(|refusal| overloaded(&refusal))?;
        let token = unreleased.release().await.map_err(refused)?;
        Ok(TokenAnswer { status: 200, body: exchange::response(&token, &claims, request), headers: Vec::new() })
    }
}

/// The answer for a refused exchange.
pub(crate) fn refusal(error: &OAuthError) -> TokenAnswer {
    let mut headers = Vec::new();
    if error.code == OAuthCode::TemporarilyUnavailable {
        headers.push(("retry-after", "1".to_owned()));
    }
    TokenAnswer { status: error.status, body: error.body(), headers }
}

/// UUIDv7: unique without coordination, and in the order of time (RFC 9562 §5.7).
fn uuid(now: UnixTime) -> Result<String, Refusal> {
    let random: [u8; 10] = dice::bytes()?;
    Ok(uuid::Builder::from_unix_timestamp_millis(now.millis(), &random).into_uuid().to_string())
}

fn unavailable(refusal: &Refusal) -> OAuthError {
    OAuthError::new(OAuthCode::TemporarilyUnavailable, refusal.reason.code(), &refusal.detail)
}

/// Too much to do is told apart from not being able to: 429 asks this caller to slow down (RFC 6585 §4).
fn overloaded(refusal: &Refusal) -> OAuthError {
    let status = if refusal.reason == Reason::ResourceExhausted { 429 } else { 503 };
    OAuthError { status, ..unavailable(refusal) }
}

fn no_keys(cause: &FetchError) -> OAuthError {
    let description = format!("the keys of the subject_token's issuer cannot be fetched now: {cause}");
    OAuthError::new(OAuthCode::TemporarilyUnavailable, "issuer_keys_unavailable", description)
}

/// Verified subject tokens that are kept, about 1 KiB each.
const VERIFIED: usize = 65_536;
