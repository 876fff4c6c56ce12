//! Finding an issuer's keys by its metadata (RFC 8414, OpenID Connect Discovery 1.0).

use crate::json::{self, JsonError, Limits};

/// Metadata that does not lead to keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// Not one strict JSON object.
    #[error("the issuer's metadata {0}")]
    Json(JsonError),
    /// It speaks for another issuer: a mix-up, or a mistake in the policy (RFC 8414 §3.3).
    #[error("the issuer's metadata is that of another issuer: its \"issuer\" must be exactly the configured one")]
    OtherIssuer,
    /// No `jwks_uri`, or not an HTTPS URL.
    #[error("the issuer's metadata has no acceptable jwks_uri: an https URL is needed (http only to a loopback host)")]
    JwksUri,
}

/// `jwks_uri` of the metadata of exactly this issuer.
///
/// # Errors
/// The document must not be followed.
pub fn jwks_uri(metadata: &[u8], issuer: &str) -> Result<String, DiscoveryError> {
    let metadata = json::parse_object(metadata, LIMITS).map_err(DiscoveryError::Json)?;
    if json::text(&metadata, "issuer") != Some(issuer) {
        return Err(DiscoveryError::OtherIssuer);
    }
    let uri = json::text(&metadata, "jwks_uri").ok_or(DiscoveryError::JwksUri)?;
    super::value::web_url(uri).map_err(|_| DiscoveryError::JwksUri)?;
    Ok(uri.to_owned())
}

/// OpenID Connect appends its well-known path, RFC 8414 §3.1 puts it between host and path.
pub(super) fn metadata_urls(issuer: &str) -> Vec<String> {
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    let authority = base.find("://").map_or(0, |scheme| scheme + 3);
    let path = base.get(authority..).and_then(|rest| rest.find('/')).map_or(base.len(), |slash| authority + slash);
    let (origin, path) = base.split_at(path);
    vec![
        format!("{base}/.well-known/openid-configuration"),
        format!("{origin}/.well-known/oauth-authorization-server{path}"),
    ]
}

const LIMITS: Limits = Limits { bytes: 256 * 1024, depth: 16, members: 4096, exact_integers: false };
