//! Public keys as JSON Web Keys, and the two forms of an ECDSA signature.
//!
//! Our own keys are P-256. A key's id is derived from the key, so that every node computes the same one.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// A P-256 public key as the members of a JWK (RFC 7518 §6.2.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EcPublicJwk {
    /// Always `EC`.
    pub kty: String,
    /// Always `P-256`.
    pub crv: String,
    /// The x coordinate: 32 bytes, base64url.
    pub x: String,
    /// The y coordinate: 32 bytes, base64url.
    pub y: String,
}

/// The bytes are not the key or signature they were taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormError {
    /// Not a `SubjectPublicKeyInfo` of an uncompressed P-256 point.
    #[error("not a P-256 public key: 91 bytes of SubjectPublicKeyInfo with an uncompressed point are expected")]
    NotP256,
    /// Not a JWK of a P-256 key.
    #[error("not a P-256 JWK: kty \"EC\", crv \"P-256\" and 32 bytes of base64url in x and y are expected")]
    NotP256Jwk,
    /// Not a DER `Ecdsa-Sig-Value` of two integers of at most 256 bits.
    #[error("not an ECDSA signature in DER: a SEQUENCE of two positive INTEGERs of at most 256 bits is expected")]
    NotSignature,
}

impl EcPublicJwk {
    /// The JWK of a `SubjectPublicKeyInfo`. The point is taken as it is, not checked to be on the curve.
    ///
    /// # Errors
    /// [`KeyFormError::NotP256`]: the key is of another kind.
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyFormError> {
        let (x, y) = p256_point(spki)?.split_at(1).1.split_at(COORDINATE_BYTES);
        Ok(Self {
            kty: "EC".to_owned(),
            crv: "P-256".to_owned(),
            x: URL_SAFE_NO_PAD.encode(x),
            y: URL_SAFE_NO_PAD.encode(y),
        })
    }

    /// The `SubjectPublicKeyInfo` of the JWK, DER.
    ///
    /// # Errors
    /// [`KeyFormError::NotP256Jwk`]: a member is not as RFC 7518 §6.2.1 has it.
    pub fn to_spki(&self) -> Result<Vec<u8>, KeyFormError> {
        if self.kty != "EC" || self.crv != "P-256" {
            return Err(KeyFormError::NotP256Jwk);
        }
        let mut spki = P256_SPKI_PREFIX.to_vec();
        spki.push(UNCOMPRESSED);
        for coordinate in [&self.x, &self.y] {
            let bytes = URL_SAFE_NO_PAD.decode(coordinate).map_err(|_| KeyFormError::NotP256Jwk)?;
            if bytes.len() != COORDINATE_BYTES {
                return Err(KeyFormError::NotP256Jwk);
            }
            spki.extend_from_slice(&bytes);
        }
        Ok(spki)
    }
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

/// A P-256 signature `r ‖ s` (RFC 7518 §3.4) as the DER `Ecdsa-Sig-Value` that certificates carry (RFC 3279 §2.2.3).
#[must_use]
pub fn signature_to_der(fixed: &[u8; 64]) -> Vec<u8> {
    let (r, s) = fixed.split_at(COORDINATE_BYTES);
    let mut integers = Vec::with_capacity(72);
    integers.extend_from_slice(&[0x30, 0]);
    for number in [r, s] {
        let zeros = number.iter().take_while(|byte| **byte == 0).count().min(COORDINATE_BYTES - 1);
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

#[expect(clippy::cast_possible_truncation, reason = "lengths within a P-256 signature are below 128")]
const fn small(length: usize) -> u8 {
    length as u8
}

/// `SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING …` up to the point (RFC 5480 §2).
const P256_SPKI_PREFIX: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const UNCOMPRESSED: u8 = 4;
const COORDINATE_BYTES: usize = 32;
const KEY_ID_CHARACTERS: usize = 22;

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
    use der::asn1::UintRef;
    use der::{Encode as _, Sequence};
    use proptest::prelude::*;

    use super::*;

    #[derive(Sequence)]
    struct Signature<'a> {
        r: UintRef<'a>,
        s: UintRef<'a>,
    }

    fn spki() -> Vec<u8> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        pair.public_key().as_der().unwrap().as_ref().to_vec()
    }

    #[test]
    fn a_key_survives_the_way_to_jwk_and_back() {
        let spki = spki();
        let jwk = EcPublicJwk::from_spki(&spki).unwrap();
        assert_eq!(jwk.to_spki().unwrap(), spki);
        assert_eq!(p256_spki(p256_point(&spki).unwrap()).unwrap(), spki);
        assert_eq!((jwk.kty.as_str(), jwk.crv.as_str(), jwk.x.len(), jwk.y.len()), ("EC", "P-256", 43, 43));
    }

    #[test]
    fn refuses_what_is_not_a_p256_key() {
        let mut compressed = spki();
        compressed[26] = 2;
        let mut longer = spki();
        longer.push(0);
        for bad in [&compressed, &longer, &spki()[..90].to_vec(), &Vec::new()] {
            assert_eq!(EcPublicJwk::from_spki(bad), Err(KeyFormError::NotP256));
        }
        let mut jwk = EcPublicJwk::from_spki(&spki()).unwrap();
        jwk.x.truncate(42);
        assert_eq!(jwk.to_spki(), Err(KeyFormError::NotP256Jwk));
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
        fn both_signature_forms_say_the_same(mut fixed in any::<[u8; 32]>(), zeros in 0usize..32, s in 1u8..) {
            fixed[..zeros].fill(0);
            fixed[31] |= 1;
            let mut both = [s; 64];
            both[..32].copy_from_slice(&fixed);
            let der = signature_to_der(&both);
            let reference = Signature { r: UintRef::new(&both[..32]).unwrap(), s: UintRef::new(&both[32..]).unwrap() };
            prop_assert_eq!(&der, &reference.to_der().unwrap());
            prop_assert_eq!(signature_from_der(&der).unwrap(), both);
        }
    }
}
