//! Compact JWS (RFC 7515 §7.1): writing our own, and taking foreign ones apart before anything in them is believed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::json::{self, JsonError, Limits, Object};
use crate::jwks::Algorithm;

/// The first segment of the tokens that one key signs, encoded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderSegment(String);

impl HeaderSegment {
    /// The header `{"alg":…,"kid":…,"typ":…}`.
    #[must_use]
    pub fn new(algorithm: Algorithm, key_id: &str, typ: &str) -> Self {
        let header = serde_json::json!({ "alg": algorithm.name(), "kid": key_id, "typ": typ });
        Self(URL_SAFE_NO_PAD.encode(header.to_string()))
    }
}

/// The bytes to sign: header and claims, each encoded, with a `.` between (RFC 7515 §5.1).
#[must_use]
pub fn signing_input<C: Serialize>(header: &HeaderSegment, claims: &C) -> String {
    let claims = match serde_json::to_vec(claims) {
        Ok(claims) => claims,
        // Our claims are structs of texts, numbers and JSON values, whose maps have text keys.
        Err(never) => unreachable!("claims always encode: {never}"),
    };
    let mut input = String::with_capacity(header.0.len() + 1 + claims.len() * 4 / 3 + 4 + SIGNATURE_SEGMENT_BYTES);
    input.push_str(&header.0);
    input.push('.');
    URL_SAFE_NO_PAD.encode_string(&claims, &mut input);
    input
}

/// The token: what was signed, and the signature, for ECDSA as `r ‖ s` (RFC 7518 §3.4).
#[must_use]
pub fn assemble(mut signing_input: String, signature: &[u8]) -> String {
    signing_input.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut signing_input);
    signing_input
}

/// A token that is well formed and nothing more: no signature was checked.
///
/// Parsing refuses, before any cryptography: more than 16 KiB, not exactly three segments, base64url that is padded or
/// not canonical, header or payload that is not one JSON object, a duplicate member anywhere, nesting deeper than 16.
#[derive(Clone)]
pub struct Compact<'a> {
    token: &'a str,
    signing_input: &'a str,
    header: Object,
    claims: Object,
    signature: Vec<u8>,
}

/// Why a text is not an acceptable compact JWS. Never holds a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Longer than 16 KiB.
    #[error("the token is longer than 16 KiB")]
    TooLong,
    /// Not three segments: not a JWS in compact serialization.
    #[error("the token is not three segments separated by '.'")]
    Segments,
    /// Five segments: an encrypted token, which is not taken.
    #[error("the token is encrypted (JWE), which is not accepted")]
    Encrypted,
    /// A segment holds what base64url without padding does not.
    #[error("a segment of the token is not canonical base64url without padding")]
    Base64,
    /// The header is not one strict JSON object.
    #[error("the token's header {0}")]
    Header(JsonError),
    /// The payload is not one strict JSON object.
    #[error("the token's payload {0}")]
    Payload(JsonError),
}

impl<'a> Compact<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// It is not a compact JWS within the limits.
    pub fn parse(token: &'a str) -> Result<Self, JwsError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(JwsError::TooLong);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(JwsError::Segments)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JwsError::Segments)?;
        if payload.contains('.') {
            let dots = token.bytes().filter(|b| *b == b'.').count();
            return Err(if dots == 4 { JwsError::Encrypted } else { JwsError::Segments });
        }
        let decode = |segment: &str| URL_SAFE_NO_PAD.decode(segment).map_err(|_| JwsError::Base64);
        let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
        let header = json::parse_object(&header, LIMITS).map_err(JwsError::Header)?;
        let claims = json::parse_object(&payload, LIMITS).map_err(JwsError::Payload)?;
        Ok(Self { token, signing_input, header, claims, signature })
    }

    /// The whole token: a bearer credential.
    #[must_use]
    pub fn token(&self) -> &'a str {
        self.token
    }

    /// What the signature covers.
    #[must_use]
    pub fn signing_input(&self) -> &'a str {
        self.signing_input
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Object {
        &self.header
    }

    /// The payload. Not to be believed before the signature was verified.
    #[must_use]
    pub fn claims(&self) -> &Object {
        &self.claims
    }

    /// The signature's bytes.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// `typ`, in lower case and without the `application/` that may be left out (RFC 7515 §4.1.9). An error when it is
    /// there and not a string.
    pub(crate) fn typ(&self) -> Result<Option<String>, ()> {
        let Some(value) = self.header.get("typ") else { return Ok(None) };
        let typ = value.as_str().ok_or(())?.to_ascii_lowercase();
        Ok(Some(match typ.strip_prefix("application/") {
            Some(short) if !short.contains('/') => short.to_owned(),
            Some(_) | None => typ,
        }))
    }
}

impl std::fmt::Debug for Compact<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compact").field("bytes", &self.token.len()).finish_non_exhaustive()
    }
}

const MAX_TOKEN_BYTES: usize = 16 * 1024;
const SIGNATURE_SEGMENT_BYTES: usize = 87;
const LIMITS: Limits = Limits { bytes: MAX_TOKEN_BYTES, depth: 16, members: 1024, exact_integers: false };

#[cfg(test)]
mod tests;
