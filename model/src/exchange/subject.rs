//! The subject token: what it claims to be, whether that is true, and what follows for the transaction.

use std::sync::Arc;

use super::access_token;
use super::{Endpoint, OAuthCode, OAuthError, Request, Scope, SubjectTokenType};
use crate::json;
use crate::jwks::KeySet;
use crate::jws::Compact;
use crate::jwt_svid::{self, AudienceRule, JwtSvidError};
use crate::policy::{Issuer, Policy};
use crate::spiffe_id::SpiffeId;
use crate::time::UnixTime;
use crate::verify::VerifyError;

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

/// A verified subject. May be kept under the hash of the whole token, until `expires_at` or until policy or keys
/// change, if [`check_time`](Self::check_time) is asked at each use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Who vouches for it.
    pub source: SubjectSource,
    /// `sub` of the transaction token, unique in the trust domain.
    pub sub: String,
    /// The scope it names, or `None` if it names none.
    pub scope: Option<Scope>,
    /// Whom it was made for, as far as its issuer may make tokens for them.
    pub audiences: Vec<String>,
    /// When it ends.
    pub expires_at: UnixTime,
    /// When it begins, leeway taken off.
    pub not_before: UnixTime,
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
    if request.audience != endpoint.trust_domain.as_str() {
        let description = format!("audience must be the trust domain {}", endpoint.trust_domain);
        return Err(OAuthError::new(OAuthCode::InvalidTarget, "audience", description));
    }
    if !policy.knows_caller(caller) {
        let description = format!("no rule of the exchange policy is for {caller}");
        return Err(OAuthError::new(OAuthCode::UnauthorizedClient, "no_rule_for_caller", description));
    }
    let token = Compact::parse(&request.subject_token).map_err(|error| refused(error.into()))?;
    let is_svid = json::text(token.claims(), "sub").is_some_and(|sub| sub.starts_with("spiffe://"));
    if is_svid && request.subject_token_type == SubjectTokenType::Jwt {
        return Ok(Claimed::JwtSvid { token });
    }
    let Some(identifier) = json::text(token.claims(), "iss") else {
        return Err(OAuthError::request("subject_iss", "subject_token: iss is missing or not a text"));
    };
    let Some(issuer) = policy.issuer(identifier) else {
        return Err(OAuthError::request("subject_issuer", "subject_token: its issuer (iss) is not trusted here"));
    };
    access_token::check_header(&token, issuer).map_err(refused)?;
    Ok(Claimed::AccessToken { token, issuer: Arc::clone(issuer) })
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
    let subject = match claimed {
        Claimed::AccessToken { token, issuer } => access_token::verify(token, issuer, keys, now)?,
        Claimed::JwtSvid { token } => verify_jwt_svid(token, keys, endpoint, now)?,
    };
    subject.check_time(now)?;
    Ok(subject)
}

fn verify_jwt_svid(
    token: &Compact<'_>,
    keys: &KeySet,
    endpoint: &Endpoint,
    now: UnixTime,
) -> Result<Subject, OAuthError> {
    let accepted = [endpoint.token_issuer.as_str(), endpoint.trust_domain.as_str()];
    let svid = jwt_svid::validate(token, keys, &endpoint.trust_domain, AudienceRule::AnyOf(&accepted), now).map_err(
        |error| match error {
            JwtSvidError::Token(error) => refused(error),
            JwtSvidError::Expired => expired(),
            JwtSvidError::Audience => OAuthError::request(
                "subject_aud",
                format!("subject_token: a JWT-SVID must name {} or {} in aud", accepted[0], accepted[1]),
            ),
            JwtSvidError::Header | JwtSvidError::NoKeyName => {
                OAuthError::request("subject_header", format!("subject_token: {error}"))
            }
            JwtSvidError::Subject | JwtSvidError::TrustDomain => {
                OAuthError::request("subject_sub", format!("subject_token: {error}"))
            }
            JwtSvidError::Times | JwtSvidError::NotYetValid => {
                OAuthError::request("subject_times", format!("subject_token: {error}"))
            }
        },
    )?;
    access_token::check_bindings(token.claims())?;
    Ok(Subject {
        sub: svid.spiffe_id.to_string(),
        source: SubjectSource::JwtSvid(svid.spiffe_id),
        scope: None,
        audiences: svid.audience,
        expires_at: svid.expires_at,
        not_before: UnixTime::default(),
        client_id: None,
    })
}

impl Subject {
    /// Whether it is valid at `now`: to be asked again when a verified subject was kept.
    ///
    /// # Errors
    /// It has expired, or its time has not come.
    pub fn check_time(&self, now: UnixTime) -> Result<(), OAuthError> {
        if self.expires_at <= now {
            return Err(expired());
        }
        if self.not_before > now {
            return Err(OAuthError::request(
                "subject_not_yet_valid",
                "subject_token is not valid yet (nbf or iat lies ahead)",
            ));
        }
        Ok(())
    }
}

pub(super) fn expired() -> OAuthError {
    OAuthError::request("subject_expired", "subject_token expired")
}

pub(super) fn refused(error: VerifyError) -> OAuthError {
    let reason = match error {
        VerifyError::Malformed(_) => "subject_malformed",
        VerifyError::Algorithm => "subject_algorithm",
        VerifyError::Extension => "subject_header",
        VerifyError::Type => "subject_typ",
        VerifyError::KeyName | VerifyError::UnnamedKey => "subject_kid",
        VerifyError::UnknownKey => UNKNOWN_KEY,
        VerifyError::Signature => "subject_signature",
    };
    OAuthError::request(reason, format!("subject_token: {error}"))
}
