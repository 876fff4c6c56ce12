//! Public keys as JSON Web Keys, and the two forms of an ECDSA signature.
//!
//! A key's id is derived from the key, so that every node computes the same one.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use der::asn1::UintRef;
use der::{Decode as _, Encode as _, Sequence};
use serde::{Deserialize, Serialize};

use crate::x509::{PublicKeyKind, SubjectPublicKey};

/// A public key as the members of a JWK: those that its `kty` has, the others empty and not written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PublicJwk {
    /// `EC` (RFC 7518 §6.2), `RSA` (§6.3) or `OKP` (RFC 8037 §2).
    pub kty: String,
    /// `P-256`, `P-384` or `Ed25519`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub crv: String,
    /// The x coordinate, or the Ed25519 key, base64url.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub x: String,
    /// The y coordinate, base64url.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub y: String,
    /// The RSA modulus, base64url.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub n: String,
    /// The RSA exponent, base64url.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub e: String,
}

/// The bytes are not the key or signature they were taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormError {
    /// Not a `SubjectPublicKeyInfo` of an uncompressed P-256 point.
    #[error("not a P-256 public key: 91 bytes of SubjectPublicKeyInfo with an uncompressed point are expected")]
    NotP256,
    /// Not a `SubjectPublicKeyInfo` of a kind that has a JWK here.
    #[error("not a public key that can be published: P-256, P-384, Ed25519 or RSA of 2048 to 4096 bits is expected")]
    NotPublishable,
    /// Not the JWK of such a key.
    #[error(
        "not a JWK that can be used: kty \"EC\" with crv \"P-256\" or \"P-384\", \"RSA\" of 2048 to 4096 bits, or \"OKP\" with crv \"Ed25519\" is expected, in base64url without padding"
    )]
    NotJwk,
    /// Not a DER `Ecdsa-Sig-Value` of two integers of at most 256 bits.
    #[error("not an ECDSA signature in DER: a SEQUENCE of two positive INTEGERs of at most 256 bits is expected")]
    NotSignature,
}

/// RFC 8017 A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
}

impl PublicJwk {
    /// The JWK of a `SubjectPublicKeyInfo`. A point is taken as it is, not checked to be on the curve.
    ///
    /// # Errors
    /// [`KeyFormError::NotPublishable`]: the key is of another kind.
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyFormError> {
        let not_publishable = KeyFormError::NotPublishable;
        let key = SubjectPublicKey::from_spki(spki).map_err(|_| not_publishable)?;
        let point = |crv: &str| {
            let (x, y) = key.bits().split_at_checked(1)?.1.split_at_checked(key.bits().len() / 2)?;
            let (kty, crv) = ("EC".to_owned(), crv.to_owned());
            Some(Self { kty, crv, x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y), ..Self::default() })
        };
        match key.kind() {
            PublicKeyKind::P256 => point("P-256").ok_or(not_publishable),
            PublicKeyKind::P384 => point("P-384").ok_or(not_publishable),
            PublicKeyKind::Ed25519 => {
                let (kty, crv) = ("OKP".to_owned(), "Ed25519".to_owned());
                Ok(Self { kty, crv, x: URL_SAFE_NO_PAD.encode(key.bits()), ..Self::default() })
            }
            PublicKeyKind::Rsa => {
                let numbers = RsaPublicKey::from_der(key.bits()).map_err(|_| not_publishable)?;
                let n = URL_SAFE_NO_PAD.encode(numbers.modulus.as_bytes());
                let e = URL_SAFE_NO_PAD.encode(numbers.public_exponent.as_bytes());
                Ok(Self { kty: "RSA".to_owned(), n, e, ..Self::default() })
            }
        }
    }

    /// The `SubjectPublicKeyInfo` of the JWK, DER.
    ///
    /// # Errors
    /// [`KeyFormError::NotJwk`]: of another kind, or a member is not as RFC 7518 §6 or RFC 8037 §2 has it.
    pub fn to_spki(&self) -> Result<Vec<u8>, KeyFormError> {
        let not_jwk = KeyFormError::NotJwk;
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| not_jwk);
        let point = |prefix: &[u8], coordinate: usize| {
            let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
            let right = x.len() == coordinate && y.len() == coordinate;
            right.then(|| [prefix, &[UNCOMPRESSED], &x, &y].concat()).ok_or(not_jwk)
        };
        let spki = match (self.kty.as_str(), self.crv.as_str()) {
            ("EC", "P-256") => point(P256_SPKI_PREFIX, COORDINATE_BYTES)?,
            ("EC", "P-384") => point(P384_SPKI_PREFIX, 48)?,
            ("OKP", "Ed25519") => [ED25519_SPKI_PREFIX, &bytes(&self.x)?].concat(),
            ("RSA", _) => rsa_spki(&bytes(&self.n)?, &bytes(&self.e)?).ok_or(not_jwk)?,
            _ => return Err(not_jwk),
        };
        SubjectPublicKey::from_spki(&spki).map(|_| spki).map_err(|_| not_jwk)
    }
}

fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Option<Vec<u8>> {
    // Leading zeros are not the shortest form (RFC 7518 §6.3.1.1).
    if modulus.first().is_none_or(|first| *first == 0) || exponent.first().is_none_or(|first| *first == 0) {
        return None;
    }
    let key = RsaPublicKey { modulus: UintRef::new(modulus).ok()?, public_exponent: UintRef::new(exponent).ok()? };
    let bits = der::asn1::BitString::from_bytes(&key.to_der().ok()?).ok()?;
    let algorithm = x509_cert::spki::AlgorithmIdentifier { oid: RSA, parameters: Some(der::asn1::AnyRef::NULL) };
    x509_cert::spki::SubjectPublicKeyInfo { algorithm, subject_public_key: bits }.to_der().ok()
}

/// The `kid` of a key: the first 22 characters of base64url(SHA-256(SPKI)), 132 bits.
#[must_use]
pub fn key_id(spki: &[u8]) -> String {
    let mut text = URL_SAFE_NO_PAD.encode(digest(&SHA256, spki));
    text.truncate(KEY_ID_CHARACTERS);
    text
}

/// The uncompressed point (65 bytes, beginning with 4) of a P-256 `SubjectPublicKeyInfo`: what `aws-lc-rs` verifies with.
///
/// # Errors
/// [`KeyFormError::NotP256`]: the key is of another kind, or compressed.
pub fn p256_point(spki: &[u8]) -> Result<&[u8], KeyFormError> {
    match spki.strip_prefix(P256_SPKI_PREFIX) {
        Some(point) if point.len() == 1 + 2 * COORDINATE_BYTES && point.first() == Some(&UNCOMPRESSED) => Ok(point),
        _ => Err(KeyFormError::NotP256),
    }
}

/// The `SubjectPublicKeyInfo` of an uncompressed P-256 point.
///
/// # Errors
/// [`KeyFormError::NotP256`]: not 65 bytes that begin with 4.
pub fn p256_spki(point: &[u8]) -> Result<Vec<u8>, KeyFormError> {
    let spki = [P256_SPKI_PREFIX, point].concat();
    p256_point(&spki)?;
    Ok(spki)
}

/// A P-256 or P-384 signature `r ‖ s` (RFC 7518 §3.4) as the DER `Ecdsa-Sig-Value` that certificates carry (RFC 3279
/// §2.2.3).
#[must_use]
pub fn signature_to_der(fixed: &[u8]) -> Vec<u8> {
    let (r, s) = fixed.split_at(fixed.len() / 2);
    let mut integers = Vec::with_capacity(fixed.len() + 8);
    integers.extend_from_slice(&[0x30, 0]);
    for number in [r, s] {
        let zeros = number.iter().take_while(|byte| **byte == 0).count().min(number.len().saturating_sub(1));
        let digits = number.get(zeros..).unwrap_or_default();
        let sign = digits.first().is_some_and(|first| *first >= 0x80);
        integers.extend_from_slice(&[0x02, small(digits.len() + usize::from(sign))]);
        if sign {
            integers.push(0);
        }
        integers.extend_from_slice(digits);
    }
    let length = small(integers.len() - 2);
    if let Some(byte) = integers.get_mut(1) {
        *byte = length;
    }
    integers
}

/// A DER `Ecdsa-Sig-Value` as `r ‖ s`, 64 bytes. Strict: minimal positive integers, nothing behind.
///
/// # Errors
/// [`KeyFormError::NotSignature`]: not DER, or an integer does not fit 256 bits.
pub fn signature_from_der(der: &[u8]) -> Result<[u8; 64], KeyFormError> {
    let not_signature = KeyFormError::NotSignature;
    let [0x30, length, body @ ..] = der else { return Err(not_signature) };
    if usize::from(*length) != body.len() {
        return Err(not_signature);
    }
    let (r, rest) = positive_integer(body).ok_or(not_signature)?;
    let (s, rest) = positive_integer(rest).ok_or(not_signature)?;
    if !rest.is_empty() {
        return Err(not_signature);
    }
    let mut fixed = [0; 64];
    for (number, half) in [r, s].into_iter().zip(fixed.chunks_exact_mut(COORDINATE_BYTES)) {
        let start = half.len().checked_sub(number.len()).ok_or(not_signature)?;
        half.get_mut(start..).ok_or(not_signature)?.copy_from_slice(number);
    }
    Ok(fixed)
}

/// A minimal positive DER INTEGER without its sign byte, and what comes behind it.
fn positive_integer(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x02, length, rest @ ..] = der else { return None };
    let (number, rest) = rest.split_at_checked(usize::from(*length))?;
    match number {
        [0, digits @ ..] if digits.first().is_some_and(|first| *first >= 0x80) => Some((digits, rest)),
        [1..=0x7f, ..] => Some((number, rest)),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "lengths within a P-384 signature are below 128")]
const fn small(length: usize) -> u8 {
    length as u8
}

/// `SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING …` up to the point (RFC 5480 §2).
const P256_SPKI_PREFIX: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The same with secp384r1.
const P384_SPKI_PREFIX: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22, 0x03, 0x62, 0x00,
];
/// `SEQUENCE { SEQUENCE { id-Ed25519 }, BIT STRING …` up to the key (RFC 8410 §4).
const ED25519_SPKI_PREFIX: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const RSA: der::asn1::ObjectIdentifier = der::asn1::ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const UNCOMPRESSED: u8 = 4;
const COORDINATE_BYTES: usize = 32;
const KEY_ID_CHARACTERS: usize = 22;

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RsaKeyPair,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::algorithm::KeyAlgorithm;
    use crate::jwks::Algorithm;

    #[derive(Sequence)]
    struct Signature<'a> {
        r: UintRef<'a>,
        s: UintRef<'a>,
    }

    fn spki() -> Vec<u8> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        pair.public_key().as_der().unwrap().as_ref().to_vec()
    }

    /// One key of every kind, with what its JWK says of it.
    fn every_kind() -> [(Vec<u8>, &'static str, &'static str); 5] {
        let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let rsa = |bits| {
            RsaKeyPair::from_pkcs8(crate::test_keys::rsa_pkcs8(bits))
                .unwrap()
                .public_key()
                .as_der()
                .unwrap()
                .as_ref()
                .to_vec()
        };
        let ed25519 = Ed25519KeyPair::generate().unwrap();
        [
            (spki(), "EC", "P-256"),
            (p384.public_key().as_der().unwrap().as_ref().to_vec(), "EC", "P-384"),
            (ed25519.public_key().as_der().unwrap().as_ref().to_vec(), "OKP", "Ed25519"),
            (rsa(2048), "RSA", ""),
            (rsa(4096), "RSA", ""),
        ]
    }

    #[test]
    fn a_key_of_every_kind_survives_the_way_to_jwk_and_back() {
        for (spki, kty, crv) in every_kind() {
            let jwk = PublicJwk::from_spki(&spki).unwrap();
            assert_eq!((jwk.kty.as_str(), jwk.crv.as_str()), (kty, crv));
            assert_eq!(jwk.to_spki().unwrap(), spki, "{jwk:?}");
            let json = serde_json::to_value(&jwk).unwrap();
            let members = json.as_object().unwrap();
            assert!(members.values().all(|value| value != ""), "{json}");
            let document = serde_json::json!({ "keys": [json] }).to_string();
            let read = crate::jwks::KeySet::parse(
                document.as_bytes(),
                &[Algorithm::Es256, Algorithm::Es384, Algorithm::Rs256, Algorithm::EdDsa],
                &crate::test_keys::no_demo(),
            );
            let algorithm = KeyAlgorithm::of_public_key(&spki).unwrap().jws();
            assert_eq!(read.unwrap().keys().iter().map(|key| key.algorithm()).collect::<Vec<_>>(), [algorithm]);
        }
    }

    #[test]
    fn refuses_jwks_that_are_malformed_or_too_weak() {
        for (spki, ..) in every_kind() {
            let good = PublicJwk::from_spki(&spki).unwrap();
            for bad in [
                PublicJwk { kty: "oct".to_owned(), ..good.clone() },
                PublicJwk { x: format!("{}=", good.x), n: format!("{}=", good.n), ..good.clone() },
                PublicJwk { x: "AAAA".to_owned(), n: "AAAA".to_owned(), ..good.clone() },
                PublicJwk { x: String::new(), n: String::new(), ..good.clone() },
            ] {
                assert_eq!(bad.to_spki(), Err(KeyFormError::NotJwk), "{bad:?}");
            }
        }
    }

    #[test]
    fn a_p256_key_has_coordinates_of_32_bytes() {
        let spki = spki();
        let jwk = PublicJwk::from_spki(&spki).unwrap();
        assert_eq!(jwk.to_spki().unwrap(), spki);
        assert_eq!(p256_spki(p256_point(&spki).unwrap()).unwrap(), spki);
        assert_eq!((jwk.kty.as_str(), jwk.crv.as_str(), jwk.x.len(), jwk.y.len()), ("EC", "P-256", 43, 43));
    }

    #[test]
    fn refuses_what_is_not_a_public_key() {
        let mut compressed = spki();
        compressed[26] = 2;
        let mut longer = spki();
        longer.push(0);
        for bad in [&compressed, &longer, &spki()[..90].to_vec(), &Vec::new()] {
            assert_eq!(PublicJwk::from_spki(bad), Err(KeyFormError::NotPublishable));
            assert_eq!(p256_point(bad), Err(KeyFormError::NotP256));
        }
        let mut jwk = PublicJwk::from_spki(&spki()).unwrap();
        jwk.x.truncate(42);
        assert_eq!(jwk.to_spki(), Err(KeyFormError::NotJwk));
    }

    #[test]
    fn a_key_id_is_22_characters_of_its_sha256() {
        // printf abc | openssl dgst -sha256 -binary | base64
        assert_eq!(key_id(b"abc"), "ungWv48Bz-pBQUDeXa4iI7");
    }

    #[test]
    fn refuses_signatures_that_are_not_minimal_der() {
        for bad in [
            &[0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x01][..], // r is zero
            &[0x30, 0x06, 0x02, 0x01, 0x80, 0x02, 0x01, 0x01],     // r is negative
            &[0x30, 0x07, 0x02, 0x02, 0x00, 0x01, 0x02, 0x01, 0x01], // r has a needless zero
            &[0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01, 0x00], // something behind
            &[0x30, 0x07, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01, 0x00], // something within
            &[0x30, 0x05, 0x02, 0x01, 0x01, 0x02, 0x01],           // cut off
            &[],
        ] {
            assert_eq!(signature_from_der(bad), Err(KeyFormError::NotSignature), "{bad:02x?}");
        }
    }

    proptest! {
        /// Integers of 33, 32, 31 and fewer bytes all occur, because zeros are put in front.
        #[test]
        fn both_signature_forms_say_the_same(long in any::<bool>(), mut fixed in any::<[u8; 32]>(), zeros in 0usize..32, s in 1u8..) {
            fixed[..zeros].fill(0);
            fixed[31] |= 1;
            let half = if long { 48 } else { 32 };
            let mut both = vec![s; 2 * half];
            both[half - 32..half].copy_from_slice(&fixed);
            let der = signature_to_der(&both);
            let (r, s) = (UintRef::new(&both[..half]).unwrap(), UintRef::new(&both[half..]).unwrap());
            prop_assert_eq!(&der, &Signature { r, s }.to_der().unwrap());
            if !long {
                prop_assert_eq!(signature_from_der(&der).unwrap().to_vec(), both);
            }
        }
    }
}
