//! Public keys that may stand in a certificate.

use std::fmt;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode as _, Sequence};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::authority::KeyId;

/// A `SubjectPublicKeyInfo` of a kind that we certify: P-256, P-384, Ed25519, or RSA of 2048 to 4096 bits.
#[derive(Clone, PartialEq, Eq)]
pub struct SubjectPublicKey {
    der: Vec<u8>,
    kind: PublicKeyKind,
    key_id: [u8; 20],
    /// Where the key's bits begin; they are the last bytes.
    bits_at: usize,
}

/// The kinds of public keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicKeyKind {
    /// ECDSA on P-256, as an uncompressed point.
    P256,
    /// ECDSA on P-384, as an uncompressed point.
    P384,
    /// Ed25519.
    Ed25519,
    /// RSA, 2048 to 4096 bits.
    Rsa,
}

/// A public key that we do not certify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Not DER, or not a `SubjectPublicKeyInfo`.
    #[error("malformed public key: DER SubjectPublicKeyInfo is expected, without anything behind it")]
    Malformed,
    /// An algorithm or curve that we do not certify.
    #[error(
        "public keys of this kind ({algorithm}) are not certified; use P-256, P-384, Ed25519, or RSA of 2048 to 4096 bits"
    )]
    Kind {
        /// Algorithm or curve, as an object identifier.
        algorithm: String,
    },
    /// Not as long as keys of its kind are.
    #[error("the public key has a wrong length or form for its kind ({expected})")]
    Form {
        /// What is expected.
        expected: &'static str,
    },
}

impl SubjectPublicKey {
    /// Reads a `SubjectPublicKeyInfo` strictly. That the key is a point on its curve is proven by the signature of the
    /// request it comes in.
    ///
    /// # Errors
    /// [`PublicKeyError`]: the key is not one we certify; its owner makes another.
    pub fn from_spki(der: &[u8]) -> Result<Self, PublicKeyError> {
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| PublicKeyError::Malformed)?;
        let bits = spki.subject_public_key.as_bytes().ok_or(PublicKeyError::Malformed)?;
        let kind = kind(&spki)?;
        check_form(kind, bits)?;
        let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, bits);
        let key_id = sha1.as_ref().try_into().map_err(|_| PublicKeyError::Malformed)?;
        Ok(Self { der: der.to_vec(), kind, key_id, bits_at: der.len().saturating_sub(bits.len()) })
    }

    /// `SubjectPublicKeyInfo`, DER.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// The key itself: a point, 32 bytes, or an `RSAPublicKey` (RFC 8017 A.1.1).
    #[must_use]
    pub fn bits(&self) -> &[u8] {
        self.der.get(self.bits_at..).unwrap_or_default()
    }

    /// How many bits the modulus of an RSA key with exponent 65537 has.
    #[must_use]
    pub fn rsa_bits(&self) -> Option<usize> {
        let exponent = RsaPublicKey::from_der(self.bits()).ok()?.public_exponent;
        (exponent.as_bytes() == [1, 0, 1]).then(|| rsa_bits(self.bits()))?
    }

    /// What kind it is.
    #[must_use]
    pub const fn kind(&self) -> PublicKeyKind {
        self.kind
    }

    /// SHA-1 of the key's bits (RFC 5280 §4.2.1.2 method 1), as SPIRE and Go have it. A name, not a protection.
    #[must_use]
    pub const fn key_id(&self) -> &[u8; 20] {
        &self.key_id
    }

    /// [`key_id`](Self::key_id) in lower-case hex: the id of an X.509 authority.
    #[must_use]
    pub fn authority_id(&self) -> KeyId {
        super::hex(&self.key_id)
    }
}

impl fmt::Debug for SubjectPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubjectPublicKey({:?} {})", self.kind, self.authority_id())
    }
}

fn kind(spki: &SubjectPublicKeyInfoRef<'_>) -> Result<PublicKeyKind, PublicKeyError> {
    let parameters = spki.algorithm.parameters;
    match spki.algorithm.oid {
        EC => match parameters.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok()) {
            Some(P256) => Ok(PublicKeyKind::P256),
            Some(P384) => Ok(PublicKeyKind::P384),
            Some(other) => Err(PublicKeyError::Kind { algorithm: format!("curve {other}") }),
            None => Err(PublicKeyError::Form { expected: "an elliptic curve named by its object identifier" }),
        },
        ED25519 if parameters.is_none() => Ok(PublicKeyKind::Ed25519),
        RSA if parameters.is_some_and(der::asn1::AnyRef::is_null) => Ok(PublicKeyKind::Rsa),
        ED25519 | RSA => Err(PublicKeyError::Form { expected: "the algorithm parameters of RFC 8410 or RFC 3279" }),
        other => Err(PublicKeyError::Kind { algorithm: other.to_string() }),
    }
}

fn check_form(kind: PublicKeyKind, bits: &[u8]) -> Result<(), PublicKeyError> {
    let (good, expected) = match kind {
        PublicKeyKind::P256 => (uncompressed(bits, 32), "an uncompressed point of 65 bytes"),
        PublicKeyKind::P384 => (uncompressed(bits, 48), "an uncompressed point of 97 bytes"),
        PublicKeyKind::Ed25519 => (bits.len() == 32, "32 bytes"),
        PublicKeyKind::Rsa => (rsa_bits(bits).is_some_and(|n| (2048..=4096).contains(&n)), "RSA of 2048 to 4096 bits"),
    };
    if good { Ok(()) } else { Err(PublicKeyError::Form { expected }) }
}

fn uncompressed(bits: &[u8], coordinate: usize) -> bool {
    bits.len() == 1 + 2 * coordinate && bits.first() == Some(&4)
}

/// The length of the modulus, in bits.
fn rsa_bits(bits: &[u8]) -> Option<usize> {
    let modulus = RsaPublicKey::from_der(bits).ok()?.modulus.as_bytes();
    let first = modulus.first()?;
    Some(modulus.len() * 8 - usize::try_from(first.leading_zeros()).ok()?)
}

/// RFC 8017 A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
}

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
