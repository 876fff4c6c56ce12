//! Verification keys: what a JWK Set (RFC 7517) or a trust bundle gives us to check signatures with.
//!
//! Whatever could make a key mean two things is settled when the set is loaded: each key has one algorithm and no two
//! keys share a `kid`. A key that cannot be used is left out with its reason; the others still serve.

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::json::{self, JsonError, Limits, Object};
use crate::svid::JwtAuthority;

mod rsa;

macro_rules! algorithms {
    ($($(#[$doc:meta])+ $name:ident = $text:literal, $family:ident, $verifier:expr;)+) => {
        /// A signature algorithm of JWS that we verify (RFC 7518 §3.1, RFC 8037 §3.1). No `none`, nothing symmetric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Algorithm {
            $($(#[$doc])+ $name,)+
        }

        impl Algorithm {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its name in `alg`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The algorithm of exactly this name.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$name),)+ _ => None }
            }

            const fn family(self) -> Family {
                match self { $(Self::$name => Family::$family,)+ }
            }

            fn verifier(self) -> &'static dyn VerificationAlgorithm {
                match self { $(Self::$name => $verifier,)+ }
            }
        }
    };
}

algorithms! {
    /// ECDSA, P-256, SHA-256.
    Es256 = "ES256", P256, &signature::ECDSA_P256_SHA256_FIXED;
    /// ECDSA, P-384, SHA-384.
    Es384 = "ES384", P384, &signature::ECDSA_P384_SHA384_FIXED;
    /// ECDSA, P-521, SHA-512.
    Es512 = "ES512", P521, &signature::ECDSA_P521_SHA512_FIXED;
    /// RSA PKCS#1 v1.5, SHA-256.
    Rs256 = "RS256", Rsa, &signature::RSA_PKCS1_2048_8192_SHA256;
    /// RSA PKCS#1 v1.5, SHA-384.
    Rs384 = "RS384", Rsa, &signature::RSA_PKCS1_2048_8192_SHA384;
    /// RSA PKCS#1 v1.5, SHA-512.
    Rs512 = "RS512", Rsa, &signature::RSA_PKCS1_2048_8192_SHA512;
    /// RSA PSS, SHA-256.
    Ps256 = "PS256", Rsa, &signature::RSA_PSS_2048_8192_SHA256;
    /// RSA PSS, SHA-384.
    Ps384 = "PS384", Rsa, &signature::RSA_PSS_2048_8192_SHA384;
    /// RSA PSS, SHA-512.
    Ps512 = "PS512", Rsa, &signature::RSA_PSS_2048_8192_SHA512;
    /// EdDSA with Ed25519.
    EdDsa = "EdDSA", Ed25519, &signature::ED25519;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    P256,
    P384,
    P521,
    Rsa,
    Ed25519,
}

/// Which keys of a demonstration may be believed: none, except by the very cluster that made them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoRule {
    /// This cluster was made for demonstration.
    pub demo: bool,
    /// This cluster's id.
    pub cluster_id: String,
}

/// A public key, the one algorithm it verifies, and its name.
#[derive(Debug)]
pub struct VerificationKey {
    kid: Option<String>,
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

impl VerificationKey {
    /// Its name, if it has one.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one algorithm it is for.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

/// The usable keys of one issuer, and what was left out.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<VerificationKey>,
    skipped: Vec<SkippedKey>,
}

/// A key that was left out of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its position in the document, from 0.
    pub position: usize,
    /// Why.
    pub reason: SkipReason,
}

/// Why a key was left out. Its owner corrects the document, or nothing is wrong and the key is for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SkipReason {
    /// Not an object.
    #[error("is not an object")]
    NotAnObject,
    /// `kid` is not a text of 1 to 512 bytes.
    #[error("has a kid that is not a text of 1 to 512 bytes")]
    Kid,
    /// For encryption, or for another purpose than verifying.
    #[error("is not for verifying signatures (use, key_ops)")]
    Use,
    /// A key type or curve that is not taken, such as a symmetric one.
    #[error("has a key type or curve that is not accepted")]
    Type,
    /// The document holds the private half.
    #[error("contains a private key and can no longer be trusted")]
    Private,
    /// Its `alg` does not fit the key, or is not one the issuer may use.
    #[error("has an alg that does not fit the key or is not allowed for this issuer")]
    Algorithm,
    /// An RSA key without `alg`, while the issuer may use several RSA algorithms: one key, one algorithm (RFC 8725 §3.1).
    #[error("names no alg, and this issuer may use several RSA algorithms")]
    Ambiguous,
    /// The numbers are missing, badly encoded, off the curve, or of a size that is not taken.
    #[error(
        "is not a valid public key of an accepted size (EC P-256, P-384, P-521; RSA 2048 to 8192 bits, e ≥ 65537; Ed25519)"
    )]
    Value,
    /// An RSA modulus as faulty smart cards made them (ROCA, CVE-2017-15361).
    #[error("is an RSA key of a kind that is easily factored (ROCA)")]
    Weak,
    /// Another key has the same `kid`.
    #[error("shares its kid with another key")]
    DuplicateKid,
    /// Marked as made by a demonstration, which is not this cluster.
    #[error("is the key of a demonstration (signet dev), which no other cluster accepts")]
    Demo,
}

/// A document that is no JWK Set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Not one strict JSON object.
    #[error("the JWK Set {0}")]
    Json(JsonError),
    /// No array `keys`.
    #[error("the JWK Set has no array \"keys\"")]
    NoKeys,
    /// More keys than anyone needs.
    #[error("the JWK Set has more than {MAX_KEYS} keys")]
    TooManyKeys,
}

/// Why no key was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoKey {
    /// No key of this name and algorithm: the set may be out of date.
    Unknown,
    /// The key is there, for another algorithm.
    OtherAlgorithm,
    /// The token names no key, and not exactly one fits.
    Unnamed,
}

impl KeySet {
    /// Reads an issuer's JWK Set, taking the keys that fit `algorithms`.
    ///
    /// # Errors
    /// The document is not a JWK Set at all. Single keys that cannot be used are in [`skipped`](Self::skipped).
    pub fn parse(document: &[u8], algorithms: &[Algorithm], demo: &DemoRule) -> Result<Self, JwksError> {
        let document = json::parse_object(document, LIMITS).map_err(JwksError::Json)?;
        let Some(Value::Array(keys)) = document.get("keys") else { return Err(JwksError::NoKeys) };
        if keys.len() > MAX_KEYS {
            return Err(JwksError::TooManyKeys);
        }
        let parsed = keys.iter().map(|key| match key {
            Value::Object(key) => from_jwk(key, algorithms, demo),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err(SkipReason::NotAnObject)
            }
        });
        Ok(Self::collect(parsed))
    }

    /// The JWT-SVID keys of a trust bundle, for the algorithms of JWT-SVID §2.1.
    #[must_use]
    pub fn from_jwt_authorities(authorities: &[JwtAuthority]) -> Self {
        Self::collect(authorities.iter().map(|authority| {
            let (algorithm, key) = from_spki(&authority.public_key)?;
            if authority.key_id.is_empty() || algorithm == Algorithm::EdDsa {
                return Err(if authority.key_id.is_empty() { SkipReason::Kid } else { SkipReason::Algorithm });
            }
            Ok(VerificationKey { kid: Some(authority.key_id.clone()), algorithm, key })
        }))
    }

    /// The usable keys.
    #[must_use]
    pub fn keys(&self) -> &[VerificationKey] {
        &self.keys
    }

    /// What was left out, and why.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// The key a token names, or, if it names none, the only one that fits.
    ///
    /// # Errors
    /// There is no such key, or it is not clear which is meant.
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&VerificationKey, NoKey> {
        let Some(kid) = kid else {
            let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm);
            return match (fitting.next(), fitting.next()) {
                (Some(only), None) => Ok(only),
                (Some(_), Some(_)) | (None, _) => Err(NoKey::Unnamed),
            };
        };
        let key = self.keys.iter().find(|key| key.kid.as_deref() == Some(kid)).ok_or(NoKey::Unknown)?;
        if key.algorithm == algorithm { Ok(key) } else { Err(NoKey::OtherAlgorithm) }
    }

    fn collect(parsed: impl Iterator<Item = Result<VerificationKey, SkipReason>>) -> Self {
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (position, key) in parsed.enumerate() {
            match key {
                Ok(key) => keys.push((position, key)),
                Err(reason) => skipped.push(SkippedKey { position, reason }),
            }
        }
        let mut names: Vec<String> = keys.iter().filter_map(|(_, key)| key.kid.clone()).collect();
        names.sort();
        let twice = |kid: &str| {
            let from = names.partition_point(|name| name.as_str() < kid);
            names.get(from + 1).is_some_and(|next| next == kid)
        };
        keys.retain(|(position, key)| {
            let ambiguous = key.kid.as_deref().is_some_and(twice);
            if ambiguous {
                skipped.push(SkippedKey { position: *position, reason: SkipReason::DuplicateKid });
            }
            !ambiguous
        });
        skipped.sort_by_key(|skip| skip.position);
        Self { keys: keys.into_iter().map(|(_, key)| key).collect(), skipped }
    }
}

fn from_jwk(jwk: &Object, algorithms: &[Algorithm], demo: &DemoRule) -> Result<VerificationKey, SkipReason> {
    let kid = match jwk.get("kid") {
        None => None,
        Some(Value::String(kid)) if (1..=MAX_KID_BYTES).contains(&kid.len()) => Some(kid.clone()),
        Some(_) => return Err(SkipReason::Kid),
    };
    check_demo(jwk, kid.as_deref(), demo)?;
    check_use(jwk)?;
    if jwk.contains_key("d") || jwk.contains_key("k") {
        return Err(if jwk.contains_key("k") { SkipReason::Type } else { SkipReason::Private });
    }
    let (family, bytes) = public_bytes(jwk)?;
    let algorithm = algorithm_of(jwk, family, algorithms)?;
    let key = parse(algorithm, &bytes)?;
    Ok(VerificationKey { kid, algorithm, key })
}

fn check_demo(jwk: &Object, kid: Option<&str>, rule: &DemoRule) -> Result<(), SkipReason> {
    let mark = jwk.get("signet_demo");
    if mark.is_none() && !kid.is_some_and(|kid| kid.starts_with(DEMO_KID_PREFIX)) {
        return Ok(());
    }
    let ours = mark.and_then(Value::as_str).is_some_and(|mark| mark == rule.cluster_id);
    if rule.demo && ours { Ok(()) } else { Err(SkipReason::Demo) }
}

fn check_use(jwk: &Object) -> Result<(), SkipReason> {
    let used_for_signing = jwk.get("use").is_none_or(|u| u.as_str() == Some("sig"));
    let may_verify = jwk
        .get("key_ops")
        .is_none_or(|ops| ops.as_array().is_some_and(|ops| ops.iter().any(|op| op.as_str() == Some("verify"))));
    if used_for_signing && may_verify { Ok(()) } else { Err(SkipReason::Use) }
}

/// The algorithm the key is for: what its `alg` says, or the only one its type allows.
fn algorithm_of(jwk: &Object, family: Family, allowed: &[Algorithm]) -> Result<Algorithm, SkipReason> {
    let mut fitting = allowed.iter().copied().filter(|algorithm| algorithm.family() == family);
    if let Some(named) = jwk.get("alg") {
        let named = named.as_str().and_then(Algorithm::named).ok_or(SkipReason::Algorithm)?;
        return fitting.find(|algorithm| *algorithm == named).ok_or(SkipReason::Algorithm);
    }
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(SkipReason::Ambiguous),
        (None, _) => Err(SkipReason::Algorithm),
    }
}

/// The key in the form that the verifier parses: an uncompressed point, an `RSAPublicKey`, or 32 bytes.
fn public_bytes(jwk: &Object) -> Result<(Family, Vec<u8>), SkipReason> {
    match (json::text(jwk, "kty"), json::text(jwk, "crv")) {
        (Some("EC"), Some("P-256")) => Ok((Family::P256, point(jwk, 32)?)),
        (Some("EC"), Some("P-384")) => Ok((Family::P384, point(jwk, 48)?)),
        (Some("EC"), Some("P-521")) => Ok((Family::P521, point(jwk, 66)?)),
        (Some("OKP"), Some("Ed25519")) => Ok((Family::Ed25519, coordinate(jwk, "x", 32)?)),
        (Some("RSA"), _) => Ok((Family::Rsa, rsa::public_key(&bytes(jwk, "n")?, &bytes(jwk, "e")?)?)),
        _ => Err(SkipReason::Type),
    }
}

fn point(jwk: &Object, size: usize) -> Result<Vec<u8>, SkipReason> {
    let mut point = vec![UNCOMPRESSED];
    point.extend(coordinate(jwk, "x", size)?);
    point.extend(coordinate(jwk, "y", size)?);
    Ok(point)
}

fn coordinate(jwk: &Object, name: &str, size: usize) -> Result<Vec<u8>, SkipReason> {
    bytes(jwk, name).and_then(|bytes| if bytes.len() == size { Ok(bytes) } else { Err(SkipReason::Value) })
}

fn bytes(jwk: &Object, name: &str) -> Result<Vec<u8>, SkipReason> {
    let text = json::text(jwk, name).ok_or(SkipReason::Value)?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| SkipReason::Value)
}

fn from_spki(der: &[u8]) -> Result<(Algorithm, ParsedPublicKey), SkipReason> {
    use x509_cert::der::Decode as _;
    let spki = x509_cert::spki::SubjectPublicKeyInfoRef::from_der(der).map_err(|_| SkipReason::Value)?;
    let curve = spki.algorithm.parameters_oid().ok().map(|oid| oid.to_string());
    let algorithm = match (spki.algorithm.oid.to_string().as_str(), curve.as_deref()) {
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => Algorithm::Es256,
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => Algorithm::Es384,
        ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => Algorithm::Es512,
        ("1.2.840.113549.1.1.1", _) => Algorithm::Rs256,
        ("1.3.101.112", _) => Algorithm::EdDsa,
        _ => return Err(SkipReason::Type),
    };
    let bytes = spki.subject_public_key.as_bytes().ok_or(SkipReason::Value)?;
    let bytes = if algorithm == Algorithm::Rs256 { rsa::checked(bytes)? } else { bytes.to_vec() };
    Ok((algorithm, parse(algorithm, &bytes)?))
}

fn parse(algorithm: Algorithm, bytes: &[u8]) -> Result<ParsedPublicKey, SkipReason> {
    if algorithm == Algorithm::EdDsa && SMALL_ORDER.iter().any(|point| small_order_matches(point, bytes)) {
        return Err(SkipReason::Weak);
    }
    ParsedPublicKey::new(algorithm.verifier(), bytes).map_err(|_| SkipReason::Value)
}

/// A point of small order verifies signatures nobody made. The sign bit of `x` does not matter for that.
fn small_order_matches(point: &[u8; 32], bytes: &[u8]) -> bool {
    bytes.len() == point.len()
        && bytes.iter().zip(point).enumerate().all(|(i, (a, b))| if i == 31 { a & 0x7f == b & 0x7f } else { a == b })
}

/// The points of Ed25519 whose order divides 8, each in its encodings (RFC 8032 §5.1.7, and as listed by libsodium).
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    hex32(*b"0100000000000000000000000000000000000000000000000000000000000000"),
    hex32(*b"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    hex32(*b"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    hex32(*b"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    hex32(*b"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    hex32(*b"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
];

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks the bounds")]
const fn hex32(digits: [u8; 64]) -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut i = 0;
    while i < 32 {
        bytes[i] = nibble(digits[2 * i]) << 4 | nibble(digits[2 * i + 1]);
        i += 1;
    }
    bytes
}

const fn nibble(digit: u8) -> u8 {
    if digit.is_ascii_digit() { digit - b'0' } else { digit - b'a' + 10 }
}

/// What the `kid` of a demonstration's issuer begins with.
pub const DEMO_KID_PREFIX: &str = "signet-demo-";
const UNCOMPRESSED: u8 = 4;
const MAX_KEYS: usize = 100;
const MAX_KID_BYTES: usize = 512;
const LIMITS: Limits = Limits { bytes: 256 * 1024, depth: 8, members: 4096, exact_integers: false };

#[cfg(test)]
mod tests;
