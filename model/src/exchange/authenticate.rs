//! Who calls the token endpoint (draft-ietf-oauth-spiffe-client-auth, RFC 8705, RFC 7521 §4.2).

use super::{Endpoint, OAuthError, Request};
use crate::jwks::KeySet;
use crate::spiffe_id::SpiffeId;
use crate::time::UnixTime;

/// The caller: the holder of the X.509-SVID that was proven by TLS, or of the JWT-SVID sent as client assertion. Exactly
/// one of the two. `bundle_keys` are the JWT-SVID keys of the trust domain.
///
/// # Errors
/// `invalid_client` (401): nobody proved anything. `invalid_request`: two proofs at once.
pub fn authenticate(
    request: &Request,
    mtls_peer: Option<&SpiffeId>,
    bundle_keys: &KeySet,
    endpoint: &Endpoint,
    now: UnixTime,
) -> Result<SpiffeId, OAuthError> {
    let _ = (request, mtls_peer, bundle_keys, endpoint, now);
    todo!()
}
