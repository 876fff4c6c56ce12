//! The subject token: what it claims to be, whether that is true, and what follows for the transaction.

use std::sync::Arc;

use super::{Endpoint, OAuthError, Request, Scope};
use crate::jwks::KeySet;
use crate::jws::Compact;
use crate::policy::{Issuer, Policy};
use crate::spiffe_id::SpiffeId;
use crate::time::UnixTime;

/// [`OAuthError::reason`] when the issuer's set has no key of the token's name: fetch the set again, if that was not
/// done just now, and verify once more.
pub const UNKNOWN_KEY: &str = "subject_unknown_key";

/// What a subject token claims to be, before anything of it was verified: enough to know whose keys are needed.
#[derive(Debug, Clone)]
pub enum Claimed<'r> {
    /// An access token of this issuer.
    AccessToken {
        /// The token.
        token: Compact<'r>,
        /// Its alleged issuer.
        issuer: Arc<Issuer>,
    },
    /// A JWT-SVID of our trust domain.
    JwtSvid {
        /// The token.
        token: Compact<'r>,
    },
}

/// A verified subject. May be kept with the hash of the whole token as key, until `expires_at` or until policy or keys
/// change, if [`check_time`](Self::check_time) is asked at each use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Who vouches for it.
    pub source: SubjectSource,
    /// `sub` of the transaction token, unique in the trust domain.
    pub sub: String,
    /// The scope it names, or `None` if it names none.
    pub scope: Option<Scope>,
    /// Whom it was made for.
    pub audiences: Vec<String>,
    /// When it ends.
    pub expires_at: UnixTime,
    /// When it begins, if it says so.
    pub not_before: Option<UnixTime>,
    /// `client_id`, if it has one.
    pub client_id: Option<String>,
}

/// Who vouches for a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectSource {
    /// An issuer of the policy.
    Issuer(Arc<Issuer>),
    /// Our own trust domain: this identity.
    JwtSvid(SpiffeId),
}

/// What the subject token claims to be. Refuses what needs no key to be refused: another trust domain as target, a
/// caller for whom there is no rule, an issuer that is not configured, a header that no key could make good.
///
/// # Errors
/// The answer to the caller.
pub fn peek<'r>(
    request: &'r Request,
    caller: &SpiffeId,
    policy: &Policy,
    endpoint: &Endpoint,
) -> Result<Claimed<'r>, OAuthError> {
    let _ = (request, caller, policy, endpoint);
    todo!()
}

/// Verifies a subject token by the keys of whom it claims to be from: the issuer's JWK Set, or the bundle's JWT-SVID
/// keys. Costs one signature verification.
///
/// # Errors
/// The answer to the caller. Its reason is [`UNKNOWN_KEY`] when the keys may be out of date.
pub fn verify_subject(
    claimed: &Claimed<'_>,
    keys: &KeySet,
    endpoint: &Endpoint,
    now: UnixTime,
) -> Result<Subject, OAuthError> {
    let _ = (claimed, keys, endpoint, now);
    todo!()
}

impl Subject {
    /// Whether it is valid at `now`: to be asked again when a verified subject was kept.
    ///
    /// # Errors
    /// It has expired, or its time has not come.
    pub fn check_time(&self, now: UnixTime) -> Result<(), OAuthError> {
        let _ = now;
        todo!()
    }
}
