//! JWT-SVIDs: the claims of those we issue, and the checks of those we are shown (JWT-SVID §§2–4).

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::json::{self, Object};
use crate::jwks::{Algorithm, KeySet};
use crate::jws::Compact;
use crate::refusal::Refusal;
use crate::spiffe_id::{SpiffeId, TrustDomain};
use crate::time::UnixTime;
use crate::verify::{self, Expect, VerifyError};

/// `typ` of the JWT-SVIDs we issue.
pub const TYP: &str = "JWT";

/// The claims of a JWT-SVID to be signed. Field order is the order on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JwtSvidClaims {
    /// The identity.
    pub sub: SpiffeId,
    /// Whom it is for, always an array.
    pub aud: Vec<String>,
    /// When it ends, seconds since the epoch.
    pub exp: u64,
    /// When it was made, seconds since the epoch.
    pub iat: u64,
    /// Who made it, where the trust domain has set that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// A name of its own, where the entry asks for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
}

/// What is asked of a new JWT-SVID.
#[derive(Debug, Clone)]
pub struct JwtSvidRequest<'a> {
    /// Whom it names.
    pub spiffe_id: &'a SpiffeId,
    /// Whom it is for: at least one, none empty.
    pub audience: &'a [String],
    /// How long it should last.
    pub ttl: Duration,
    /// `iss`, or empty for none.
    pub issuer: &'a str,
    /// `jti`, if it is to have one.
    pub jti: Option<String>,
}

/// The claims for `request`. The lifetime is cut to what is left of the signing key's.
///
/// # Errors
/// No audience or too much of it, or the key's life has ended.
pub fn template(request: JwtSvidRequest<'_>, key_not_after: UnixTime, now: UnixTime) -> Result<JwtSvidClaims, Refusal> {
    let (id, audience) = (request.spiffe_id, request.audience);
    if audience.is_empty() || audience.iter().any(String::is_empty) {
        return Err(Refusal::invalid("audience: a JWT-SVID names at least one audience, and none is empty"));
    }
    if audience.len() > MAX_AUDIENCES || audience.iter().map(String::len).sum::<usize>() > MAX_AUDIENCE_BYTES {
        return Err(Refusal::invalid("audience: at most 32 audiences of 4096 bytes together"));
    }
    if id.path().is_empty() {
        return Err(Refusal::invalid("spiffe_id: a JWT-SVID names a workload, so the path cannot be empty"));
    }
    let exp = now.after(request.ttl).min(key_not_after).secs();
    if exp <= now.secs() {
        return Err(Refusal::new(
            crate::refusal::Reason::FailedPrecondition,
            "the JWT-SVID would end before it begins: the ttl is below a second, or the signing key has expired",
        ));
    }
    Ok(JwtSvidClaims {
        sub: id.clone(),
        aud: audience.to_vec(),
        exp,
        iat: now.secs(),
        iss: (!request.issuer.is_empty()).then(|| request.issuer.to_owned()),
        jti: request.jti,
    })
}

/// Which `aud` a JWT-SVID must have.
#[derive(Debug, Clone, Copy)]
pub enum AudienceRule<'a> {
    /// This value and no other: the rule for client assertions.
    Solely(&'a str),
    /// At least one of these.
    AnyOf(&'a [&'a str]),
}

/// What a verified JWT-SVID says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidJwtSvid {
    /// Who its holder is.
    pub spiffe_id: SpiffeId,
    /// Whom it is for.
    pub audience: Vec<String>,
    /// When it was made, if it says so.
    pub issued_at: Option<UnixTime>,
    /// When it ends.
    pub expires_at: UnixTime,
}

/// Why a JWT-SVID is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtSvidError {
    /// Header or signature.
    #[error(transparent)]
    Token(#[from] VerifyError),
    /// The header has members that no JWT-SVID has (JWT-SVID §2).
    #[error("a JWT-SVID's header holds alg, kid and typ, and nothing else")]
    Header,
    /// The header names no key; bundles name every key (JWT-SVID §4).
    #[error("a JWT-SVID names its key (kid)")]
    NoKeyName,
    /// `sub` is missing or no SPIFFE ID of a workload.
    #[error("sub is not the SPIFFE ID of a workload")]
    Subject,
    /// `sub` belongs to another trust domain.
    #[error("sub belongs to another trust domain")]
    TrustDomain,
    /// `aud` is missing or malformed, or not what this place takes.
    #[error("aud is not what is accepted here")]
    Audience,
    /// `exp` or another time is missing or not a whole number of seconds.
    #[error("exp, iat or nbf is missing or malformed")]
    Times,
    /// `exp` has passed.
    #[error("expired")]
    Expired,
    /// `nbf` lies ahead.
    #[error("not valid yet")]
    NotYetValid,
}

impl JwtSvidError {
    /// A stable word for logs and metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Token(error) => error.reason(),
            Self::Header => "header",
            Self::NoKeyName => "unnamed_key",
            Self::Subject => "sub",
            Self::TrustDomain => "trust_domain",
            Self::Audience => "aud",
            Self::Times => "times",
            Self::Expired => "expired",
            Self::NotYetValid => "nbf",
        }
    }
}

/// Checks a JWT-SVID of `trust_domain` against the keys of its bundle. No leeway at `exp`.
///
/// # Errors
/// It proves nothing.
pub fn validate(
    token: &Compact<'_>,
    keys: &KeySet,
    trust_domain: &TrustDomain,
    audience: AudienceRule<'_>,
    now: UnixTime,
) -> Result<ValidJwtSvid, JwtSvidError> {
    verify::check_header(token, &EXPECT)?;
    if token.header().keys().any(|name| !matches!(name.as_str(), "alg" | "kid" | "typ")) {
        return Err(JwtSvidError::Header);
    }
    if !token.header().contains_key("kid") {
        return Err(JwtSvidError::NoKeyName);
    }
    let valid = check_claims(token.claims(), trust_domain, audience, now)?;
    verify::verify(token, keys, &EXPECT)?;
    Ok(valid)
}

fn check_claims(
    claims: &Object,
    trust_domain: &TrustDomain,
    rule: AudienceRule<'_>,
    now: UnixTime,
) -> Result<ValidJwtSvid, JwtSvidError> {
    let spiffe_id: SpiffeId =
        json::text(claims, "sub").and_then(|sub| sub.parse().ok()).ok_or(JwtSvidError::Subject)?;
    if spiffe_id.path().is_empty() {
        return Err(JwtSvidError::Subject);
    }
    if !spiffe_id.is_member_of(trust_domain) {
        return Err(JwtSvidError::TrustDomain);
    }
    let audience = audiences(claims).ok_or(JwtSvidError::Audience)?;
    let accepted = match rule {
        AudienceRule::Solely(only) => audience.len() == 1 && audience.iter().all(|aud| aud == only),
        AudienceRule::AnyOf(accepted) => audience.iter().any(|aud| accepted.contains(&aud.as_str())),
    };
    if !accepted {
        return Err(JwtSvidError::Audience);
    }
    let expires_at = numeric_date(claims, "exp").map_err(|()| JwtSvidError::Times)?.ok_or(JwtSvidError::Times)?;
    let issued_at = numeric_date(claims, "iat").map_err(|()| JwtSvidError::Times)?;
    let not_before = numeric_date(claims, "nbf").map_err(|()| JwtSvidError::Times)?;
    if expires_at <= now {
        return Err(JwtSvidError::Expired);
    }
    if not_before.is_some_and(|nbf| nbf > now.after(NBF_LEEWAY)) {
        return Err(JwtSvidError::NotYetValid);
    }
    Ok(ValidJwtSvid { spiffe_id, audience, issued_at, expires_at })
}

/// `aud` as a list: a text, or an array of texts that is neither empty nor long (RFC 7519 §4.1.3).
pub(crate) fn audiences(claims: &Object) -> Option<Vec<String>> {
    let audiences = match claims.get("aud")? {
        Value::String(one) => vec![one.clone()],
        Value::Array(several) if (1..=MAX_AUDIENCES).contains(&several.len()) => {
            several.iter().map(|aud| aud.as_str().map(str::to_owned)).collect::<Option<_>>()?
        }
        Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => return None,
    };
    audiences.iter().all(|aud| !aud.is_empty()).then_some(audiences)
}

/// A NumericDate of whole seconds (RFC 7519 §2). An error when it is there and something else.
pub(crate) fn numeric_date(claims: &Object, name: &str) -> Result<Option<UnixTime>, ()> {
    match claims.get(name) {
        None => Ok(None),
        Some(date) => {
            date.as_u64().filter(|secs| *secs <= MAX_NUMERIC_DATE).map(|secs| Some(UnixTime::from_secs(secs))).ok_or(())
        }
    }
}

pub(crate) const EXPECT: Expect<'static> = Expect {
    algorithms: &[
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::Es512,
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
    ],
    types: &["jwt", "jose"],
    typ_may_be_absent: true,
};
const MAX_AUDIENCES: usize = 32;
const MAX_AUDIENCE_BYTES: usize = 4096;
/// The year 9999, past which no clock of a verifier counts.
const MAX_NUMERIC_DATE: u64 = 253_402_300_799;
/// Clocks of honest hosts differ this much.
const NBF_LEEWAY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
