//! Checking a token's signature: the key is found by the issuer's set alone, never by what the token brings along.

use crate::jwks::{Algorithm, KeySet, NoKey, VerificationKey};
use crate::jws::{Compact, JwsError};

/// What a token's header must be.
#[derive(Debug, Clone, Copy)]
pub struct Expect<'a> {
    /// The algorithms that may have signed it.
    pub algorithms: &'a [Algorithm],
    /// What `typ` may be, in lower case without `application/`.
    pub types: &'a [&'a str],
    /// Whether `typ` may be missing.
    pub typ_may_be_absent: bool,
}

/// Why a token was not verified. In words, without any of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Not a compact JWS.
    #[error(transparent)]
    Malformed(#[from] JwsError),
    /// `alg` is missing, not a text, `none`, symmetric, unknown, or not allowed here.
    #[error("the token's alg is not allowed here")]
    Algorithm,
    /// `crit` names extensions, none of which we implement (RFC 7515 §4.1.11), or `b64`, `zip` or `cty` changes what the
    /// payload means.
    #[error("the token's header asks for an extension that is not supported (crit, b64, zip, cty)")]
    Extension,
    /// `typ` is not what this place takes.
    #[error("the token's typ is not the expected one")]
    Type,
    /// `kid` is not a text of 1 to 512 bytes.
    #[error("the token's kid is malformed")]
    KeyName,
    /// No such key in the set. It may be new: fetch the set again, if that was not done just now.
    #[error("the token's key is not among the issuer's keys")]
    UnknownKey,
    /// No `kid`, and not exactly one key fits.
    #[error("the token names no key (kid), and not exactly one fits")]
    UnnamedKey,
    /// The signature is not by that key.
    #[error("the token's signature is wrong")]
    Signature,
}

impl VerifyError {
    /// A stable word for logs and metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Algorithm => "algorithm",
            Self::Extension => "extension",
            Self::Type => "typ",
            Self::KeyName => "kid",
            Self::UnknownKey => "unknown_key",
            Self::UnnamedKey => "unnamed_key",
            Self::Signature => "signature",
        }
    }
}

/// Verifies `token` by a key of `keys`, and answers which.
///
/// `jwk`, `jku`, `x5u` and `x5c` in the header are not looked at. Costs one signature verification (ES256: 75 µs), and
/// only when everything else is in order.
///
/// # Errors
/// The token must not be believed.
pub fn verify<'k>(
    token: &Compact<'_>,
    keys: &'k KeySet,
    expect: &Expect<'_>,
) -> Result<&'k VerificationKey, VerifyError> {
    let algorithm = check_header(token, expect)?;
    let kid = kid(token)?;
    let key = keys.find(kid, algorithm).map_err(|no_key| match no_key {
        NoKey::Unknown => VerifyError::UnknownKey,
        NoKey::OtherAlgorithm => VerifyError::Algorithm,
        NoKey::Unnamed => VerifyError::UnnamedKey,
    })?;
    if key.verifies(token.signing_input().as_bytes(), token.signature()) {
        Ok(key)
    } else {
        Err(VerifyError::Signature)
    }
}

/// What can be said of the header without any key.
///
/// # Errors
/// No key could make this token acceptable.
pub fn check_header(token: &Compact<'_>, expect: &Expect<'_>) -> Result<Algorithm, VerifyError> {
    let header = token.header();
    let algorithm = crate::json::text(header, "alg").and_then(Algorithm::named).ok_or(VerifyError::Algorithm)?;
    if !expect.algorithms.contains(&algorithm) {
        return Err(VerifyError::Algorithm);
    }
    if EXTENSIONS.iter().any(|name| header.contains_key(*name)) {
        return Err(VerifyError::Extension);
    }
    match token.typ().map_err(|()| VerifyError::Type)? {
        Some(typ) if expect.types.contains(&typ.as_str()) => {}
        None if expect.typ_may_be_absent => {}
        Some(_) | None => return Err(VerifyError::Type),
    }
    kid(token)?;
    Ok(algorithm)
}

fn kid<'t>(token: &'t Compact<'_>) -> Result<Option<&'t str>, VerifyError> {
    match token.header().get("kid") {
        None => Ok(None),
        Some(kid) => match kid.as_str() {
            Some(kid) if (1..=MAX_KID_BYTES).contains(&kid.len()) => Ok(Some(kid)),
            Some(_) | None => Err(VerifyError::KeyName),
        },
    }
}

/// `crit` is refused even when empty or naming what we know: nothing we take needs it. `cty` would nest a token.
const EXTENSIONS: [&str; 4] = ["crit", "b64", "zip", "cty"];
const MAX_KID_BYTES: usize = 512;

#[cfg(test)]
mod tests;
