//! The public documents of the token endpoint: metadata (RFC 8414) and the keys of transaction tokens (RFC 7517).

use serde_json::Value;

use super::Endpoint;
use super::request::TOKEN_EXCHANGE;
use crate::algorithm::KeyAlgorithm;
use crate::authority::{Authority, AuthorityKind};
use crate::jwk::PublicJwk;

/// Metadata of the token endpoint, JSON.
#[must_use]
pub fn metadata_document(endpoint: &Endpoint) -> Vec<u8> {
    let base = endpoint.token_issuer.trim_end_matches('/');
    // A client's assertion is a JWT-SVID: whatever the keys of those may be, now or after a change.
    let assertions: Vec<&str> =
        KeyAlgorithm::of_kind(AuthorityKind::JwtSvid).iter().map(|algorithm| algorithm.jws().name()).collect();
    let metadata = serde_json::json!({
        "issuer": endpoint.token_issuer,
        "token_endpoint": format!("{base}/token"),
        "jwks_uri": format!("{base}/keys"),
        "grant_types_supported": [TOKEN_EXCHANGE],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["spiffe_jwt", "spiffe_x509"],
        "token_endpoint_auth_signing_alg_values_supported": assertions,
    });
    metadata.to_string().into_bytes()
}

/// The JWK Set of the transaction-token keys among `authorities`, in whatever slot: what is prepared must be known
/// before it signs, what is retiring still verifies.
#[must_use]
pub fn jwks_document(authorities: &[Authority]) -> Vec<u8> {
    let keys: Vec<Value> = authorities
        .iter()
        .filter(|authority| authority.kind == AuthorityKind::TransactionToken)
        .filter_map(|authority| {
            let algorithm = authority.algorithm()?.jws().name();
            let jwk = PublicJwk::from_spki(&authority.public_key).ok()?;
            let mut jwk = serde_json::to_value(jwk).ok()?;
            let members = jwk.as_object_mut()?;
            for (name, value) in [("use", "sig"), ("alg", algorithm), ("kid", authority.id.as_str())] {
                members.insert(name.to_owned(), value.into());
            }
            Some(jwk)
        })
        .collect();
    serde_json::json!({ "keys": keys }).to_string().into_bytes()
}
