//! Who calls the token endpoint (draft-ietf-oauth-spiffe-client-auth, RFC 8705, RFC 7521 §4.2).

use super::{Endpoint, OAuthError, Request};
use crate::jwks::KeySet;
use crate::jws::Compact;
use crate::jwt_svid::{self, AudienceRule, JwtSvidError, ValidJwtSvid};
use crate::spiffe_id::SpiffeId;
use crate::time::UnixTime;
use crate::verify::VerifyError;

/// The caller: the holder of the X.509-SVID that was proven by TLS, or of the JWT-SVID sent as client assertion. Exactly
/// one of the two. `bundle_keys` are the JWT-SVID keys of the trust domain.
///
/// # Errors
/// `invalid_client` (401): nobody proved anything. `invalid_request`: two proofs at once (RFC 6749 §2.3).
pub fn authenticate(
    request: &Request,
    mtls_peer: Option<&SpiffeId>,
    bundle_keys: &KeySet,
    endpoint: &Endpoint,
    now: UnixTime,
) -> Result<SpiffeId, OAuthError> {
    let caller = match (mtls_peer, request.client_assertion.as_deref()) {
        (Some(_), Some(_)) => {
            let description = "an X.509-SVID in TLS and a client_assertion at once: use one of them";
            return Err(OAuthError::request("two_authentications", description));
        }
        (None, None) => {
            let description =
                "no client authentication: present an X.509-SVID in TLS, or a JWT-SVID as client_assertion";
            return Err(OAuthError::client("no_authentication", description));
        }
        (Some(peer), None) => peer.clone(),
        (None, Some(assertion)) => by_assertion(assertion, bundle_keys, endpoint, now)?.spiffe_id,
    };
    if !caller.is_member_of(&endpoint.trust_domain) {
        return Err(OAuthError::client(
            "caller_trust_domain",
            "the client's SPIFFE ID belongs to another trust domain",
        ));
    }
    if request.client_id.as_ref().is_some_and(|id| *id != caller.to_string()) {
        return Err(OAuthError::client(
            "client_id",
            "client_id is not the authenticated SPIFFE ID: leave it out or correct it",
        ));
    }
    Ok(caller)
}

fn by_assertion(
    assertion: &str,
    keys: &KeySet,
    endpoint: &Endpoint,
    now: UnixTime,
) -> Result<ValidJwtSvid, OAuthError> {
    let refused = |error: JwtSvidError| {
        let description = if error == JwtSvidError::Audience {
            format!("client_assertion: aud must be the issuer identifier {} and nothing else", endpoint.token_issuer)
        } else {
            format!("client_assertion: {error}")
        };
        OAuthError::client(reason(error), description)
    };
    let token = Compact::parse(assertion).map_err(|error| refused(VerifyError::from(error).into()))?;
    let rule = AudienceRule::Solely(&endpoint.token_issuer);
    let svid = jwt_svid::validate(&token, keys, &endpoint.trust_domain, rule, now).map_err(refused)?;
    let lifetime = svid.expires_at.since(svid.issued_at.unwrap_or(now));
    if lifetime > endpoint.max_assertion_lifetime {
        let most = endpoint.max_assertion_lifetime.as_secs();
        let description =
            format!("client_assertion: the JWT-SVID lives longer than {most} seconds: ask for a shorter one");
        return Err(OAuthError::client("assertion_lifetime", description));
    }
    Ok(svid)
}

const fn reason(error: JwtSvidError) -> &'static str {
    match error {
        JwtSvidError::Token(VerifyError::Malformed(_)) => "assertion_malformed",
        JwtSvidError::Token(VerifyError::Algorithm) => "assertion_algorithm",
        JwtSvidError::Token(VerifyError::Extension) | JwtSvidError::Header => "assertion_header",
        JwtSvidError::Token(VerifyError::Type) => "assertion_typ",
        JwtSvidError::Token(VerifyError::KeyName | VerifyError::UnnamedKey) | JwtSvidError::NoKeyName => {
            "assertion_kid"
        }
        JwtSvidError::Token(VerifyError::UnknownKey) => "assertion_unknown_key",
        JwtSvidError::Token(VerifyError::Signature) => "assertion_signature",
        JwtSvidError::Subject | JwtSvidError::TrustDomain => "assertion_sub",
        JwtSvidError::Audience => "assertion_aud",
        JwtSvidError::Times | JwtSvidError::NotYetValid => "assertion_times",
        JwtSvidError::Expired => "assertion_expired",
    }
}
