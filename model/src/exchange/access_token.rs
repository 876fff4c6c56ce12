//! Users' access tokens as subject tokens (RFC 9068, RFC 8725).

use std::sync::Arc;

use serde_json::Value;

use super::subject::{Subject, SubjectSource, refused};
use super::{OAuthError, Scope};
use crate::json::{self, Object};
use crate::jwks::{Algorithm, KeySet};
use crate::jws::Compact;
use crate::jwt_svid::{audiences, numeric_date};
use crate::policy::Issuer;
use crate::time::UnixTime;
use crate::verify::{self, Expect, VerifyError};

/// What the header must be for this issuer.
pub(super) fn check_header(token: &Compact<'_>, issuer: &Issuer) -> Result<Algorithm, VerifyError> {
    with_expectation(issuer, |expect| verify::check_header(token, expect))
}

fn with_expectation<T>(issuer: &Issuer, check: impl FnOnce(&Expect<'_>) -> T) -> T {
    let types: Vec<&str> = issuer.types.iter().map(String::as_str).collect();
    check(&Expect { algorithms: &issuer.algorithms, types: &types, typ_may_be_absent: false })
}

/// Verifies an access token that claims to be from `issuer`. Everything else is checked before the signature, which is
/// what costs.
pub(super) fn verify(
    token: &Compact<'_>,
    issuer: &Arc<Issuer>,
    keys: &KeySet,
    now: UnixTime,
) -> Result<Subject, OAuthError> {
    let claims = token.claims();
    if json::text(claims, "iss") != Some(&issuer.issuer) {
        return Err(OAuthError::request("subject_iss", "subject_token: iss is not the issuer's identifier"));
    }
    check_kind(token, claims)?;
    check_bindings(claims)?;
    let subject = read(claims, issuer, now)?;
    with_expectation(issuer, |expect| verify::verify(token, keys, expect)).map_err(refused)?;
    Ok(subject)
}

fn read(claims: &Object, issuer: &Arc<Issuer>, now: UnixTime) -> Result<Subject, OAuthError> {
    let (expires_at, not_before) = times(claims, issuer, now)?;
    let audiences = audiences(claims)
        .ok_or_else(|| OAuthError::request("subject_aud", "subject_token: aud is missing, empty or malformed"))?;
    let accepted: Vec<String> = audiences.into_iter().filter(|audience| issuer.audiences.contains(audience)).collect();
    if accepted.is_empty() {
        return Err(OAuthError::request(
            "subject_aud",
            "subject_token: none of its audiences (aud) is accepted of its issuer",
        ));
    }
    let sub = json::text(claims, "sub")
        .filter(|sub| (1..=MAX_SUB_BYTES).contains(&sub.len()) && !sub.chars().any(char::is_control))
        .ok_or_else(|| OAuthError::request("subject_sub", "subject_token: sub is not a text of 1 to 1024 bytes"))?;
    let scope = match claims.get("scope") {
        None => None,
        Some(scope) => {
            let scope = scope.as_str().and_then(|scope| scope.parse::<Scope>().ok());
            let malformed =
                || OAuthError::request("subject_scope", "subject_token: scope is not words separated by one space");
            Some(scope.ok_or_else(malformed)?)
        }
    };
    Ok(Subject {
        source: SubjectSource::Issuer(Arc::clone(issuer)),
        sub: format!("{}{sub}", issuer.subject_prefix),
        scope,
        audiences: accepted,
        expires_at,
        not_before,
        client_id: json::text(claims, "client_id").map(str::to_owned),
    })
}

/// `exp`, and the time before which the token is not valid. Leeway is for clocks that are ahead of ours, never for
/// `exp`: an expired token yields nothing.
fn times(claims: &Object, issuer: &Issuer, now: UnixTime) -> Result<(UnixTime, UnixTime), OAuthError> {
    let malformed =
        || OAuthError::request("subject_times", "subject_token: exp and iat must be whole seconds, nbf too if given");
    let date = |name| numeric_date(claims, name).map_err(|()| malformed());
    let (exp, iat) = (date("exp")?.ok_or_else(malformed)?, date("iat")?.ok_or_else(malformed)?);
    let nbf = date("nbf")?;
    if exp <= now {
        return Err(super::subject::expired());
    }
    if exp <= iat {
        return Err(OAuthError::request("subject_times", "subject_token: exp is not after iat"));
    }
    if exp.since(iat) > issuer.max_lifetime {
        return Err(OAuthError::request(
            "subject_lifetime",
            "subject_token: it lives longer than its issuer's max_lifetime",
        ));
    }
    let begins = nbf.map_or(iat, |nbf| nbf.max(iat));
    Ok((exp, begins.before(issuer.leeway)))
}

/// That it is an access token, and no other token of the same issuer.
fn check_kind(token: &Compact<'_>, claims: &Object) -> Result<(), OAuthError> {
    let typed = token.typ().ok().flatten().is_some_and(|typ| typ == "at+jwt");
    if typed {
        for name in ["client_id", "jti"] {
            if json::text(claims, name).is_none_or(str::is_empty) {
                let description = format!("subject_token: {name} is missing, which RFC 9068 requires");
                return Err(OAuthError::request("subject_claims", description));
            }
        }
        return Ok(());
    }
    // Other tokens that are typed `JWT` or not at all give themselves away by claims that no access token has.
    let foreign =
        ["nonce", "at_hash", "c_hash", "s_hash", "events", "txn_claims", "req_wl", "tctx", "rctx", "htm", "wth"];
    let labelled = json::text(claims, "typ").is_some_and(|typ| !typ.eq_ignore_ascii_case("bearer"));
    if labelled || foreign.iter().any(|name| claims.contains_key(*name)) {
        return Err(OAuthError::request("subject_kind", "subject_token: it is not an access token"));
    }
    Ok(())
}

/// Whoever bound a token to a holder or a chain of actors meant it: without a way to check that, it is refused.
pub(super) fn check_bindings(claims: &Object) -> Result<(), OAuthError> {
    let holds = |name: &str| claims.get(name).is_some_and(|value| !matches!(value, Value::Null));
    if holds("cnf") {
        let description = "subject_token: it is bound to a key (cnf), and proof of possession is not supported yet";
        return Err(OAuthError::request("subject_cnf", description));
    }
    if holds("act") || holds("may_act") {
        let description =
            "subject_token: it names actors (act, may_act), which needs an actor_token; not supported yet";
        return Err(OAuthError::request("subject_act", description));
    }
    Ok(())
}

const MAX_SUB_BYTES: usize = 1024;
