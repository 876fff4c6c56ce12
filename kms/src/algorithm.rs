//! What a backend's keys can be, what they sign, and how an answer is held against the public half.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{self, SHA256, SHA384};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use signet_model::algorithm::KeyAlgorithm;

/// The kind of a signing key, and with it the only signature that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// ECDSA on P-256 over SHA-256: `ES256`.
    EcdsaP256,
    /// ECDSA on P-384 over SHA-384: `ES384`.
    EcdsaP384,
    /// RSA of 2048 bits and exponent 65537, PKCS#1 v1.5 over SHA-256: `RS256`.
    Rsa2048,
    /// RSA of 4096 bits, otherwise as [`Rsa2048`](Self::Rsa2048).
    Rsa4096,
}

/// The hash of what is to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digest {
    /// SHA-256.
    Sha256([u8; 32]),
    /// SHA-384.
    Sha384([u8; 48]),
}

/// A name that is no [`Algorithm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an algorithm: ecdsa-p256, ecdsa-p384, rsa-2048 or rsa-4096 is expected")]
pub struct UnknownAlgorithm;

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::EcdsaP256, Self::EcdsaP384, Self::Rsa2048, Self::Rsa4096];

    /// `ecdsa-p256`, `ecdsa-p384`, `rsa-2048`, `rsa-4096`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa4096 => "rsa-4096",
        }
    }

    /// Bytes of a signature: `r ‖ s` for ECDSA, the modulus' length for RSA.
    #[must_use]
    pub const fn signature_bytes(self) -> usize {
        match self {
            Self::EcdsaP256 => 64,
            Self::EcdsaP384 => 96,
            Self::Rsa2048 => 256,
            Self::Rsa4096 => 512,
        }
    }

    /// The hash of `message` that a key of this kind signs.
    #[must_use]
    pub fn digest(self, message: &[u8]) -> Digest {
        match self {
            Self::EcdsaP256 | Self::Rsa2048 | Self::Rsa4096 => Digest::sha256(message),
            Self::EcdsaP384 => Digest::sha384(message),
        }
    }

    /// Whether a key of this kind signs digests like this one.
    #[must_use]
    pub const fn signs(self, digest: &Digest) -> bool {
        match self {
            Self::EcdsaP256 | Self::Rsa2048 | Self::Rsa4096 => matches!(digest, Digest::Sha256(_)),
            Self::EcdsaP384 => matches!(digest, Digest::Sha384(_)),
        }
    }

    /// The kind of the key with this `SubjectPublicKeyInfo` (DER), if it is one of ours: an uncompressed point, or an RSA
    /// key with exponent 65537. The number is taken as it is, not checked to be a point or a modulus.
    #[must_use]
    pub fn of_public_key(spki: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.number(spki).is_some())
    }

    /// The `SubjectPublicKeyInfo` (DER) of an uncompressed point (beginning with 4) or of an RSA modulus (big endian,
    /// without leading zeros, exponent 65537).
    #[must_use]
    pub fn public_key(self, number: &[u8]) -> Option<Vec<u8>> {
        let (before, after) = self.frame();
        let spki = [before, number, after].concat();
        self.number(&spki).is_some().then_some(spki)
    }

    /// Whether `signature` is this key's over `digest`. A malformed key, digest or signature is none.
    #[must_use]
    pub fn verifies(self, spki: &[u8], digest: &Digest, signature: &[u8]) -> bool {
        if self.number(spki).is_none() || !self.signs(digest) || signature.len() != self.signature_bytes() {
            return false;
        }
        let imported = match digest {
            Digest::Sha256(digest) => digest::Digest::import_less_safe(digest, &SHA256),
            Digest::Sha384(digest) => digest::Digest::import_less_safe(digest, &SHA384),
        };
        let Ok(imported) = imported else { return false };
        let verification: &'static dyn VerificationAlgorithm = match self {
            Self::EcdsaP256 => &ECDSA_P256_SHA256_FIXED,
            Self::EcdsaP384 => &ECDSA_P384_SHA384_FIXED,
            Self::Rsa2048 | Self::Rsa4096 => &RSA_PKCS1_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(verification, spki).verify_digest(&imported, signature).is_ok()
    }

    /// The point or the modulus in a `SubjectPublicKeyInfo` of this kind.
    fn number(self, spki: &[u8]) -> Option<&[u8]> {
        let (before, after) = self.frame();
        let number = spki.strip_prefix(before)?.strip_suffix(after)?;
        let first = *number.first()?;
        let as_expected = match self {
            Self::EcdsaP256 => number.len() == 65 && first == UNCOMPRESSED,
            Self::EcdsaP384 => number.len() == 97 && first == UNCOMPRESSED,
            Self::Rsa2048 => number.len() == 256 && first >= 0x80,
            Self::Rsa4096 => number.len() == 512 && first >= 0x80,
        };
        as_expected.then_some(number)
    }

    /// What stands before and behind the point or modulus in the key's `SubjectPublicKeyInfo` (RFC 5480 §2, RFC 3279
    /// §2.3.1). Both have one encoding only, since their lengths are fixed.
    const fn frame(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Self::EcdsaP256 => (P256, &[]),
            Self::EcdsaP384 => (P384, &[]),
            Self::Rsa2048 => (RSA_2048, EXPONENT_65537),
            Self::Rsa4096 => (RSA_4096, EXPONENT_65537),
        }
    }
}

/// An algorithm whose keys no backend makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key backends make no {0} keys; choose ECDSA or RSA for keys that stay in a backend")]
pub struct NotInBackends(pub KeyAlgorithm);

impl TryFrom<KeyAlgorithm> for Algorithm {
    type Error = NotInBackends;

    fn try_from(algorithm: KeyAlgorithm) -> Result<Self, NotInBackends> {
        match algorithm {
            KeyAlgorithm::EcdsaP256 => Ok(Self::EcdsaP256),
            KeyAlgorithm::EcdsaP384 => Ok(Self::EcdsaP384),
            KeyAlgorithm::Rsa2048 => Ok(Self::Rsa2048),
            KeyAlgorithm::Rsa4096 => Ok(Self::Rsa4096),
            KeyAlgorithm::Ed25519 => Err(NotInBackends(algorithm)),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or(UnknownAlgorithm)
    }
}

impl Digest {
    /// SHA-256 of `message`.
    #[must_use]
    pub fn sha256(message: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&SHA256, message).as_ref());
        Self::Sha256(bytes)
    }

    /// SHA-384 of `message`.
    #[must_use]
    pub fn sha384(message: &[u8]) -> Self {
        let mut bytes = [0; 48];
        bytes.copy_from_slice(digest::digest(&SHA384, message).as_ref());
        Self::Sha384(bytes)
    }

    /// The digest itself.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha384(bytes) => bytes,
        }
    }
}

const UNCOMPRESSED: u8 = 4;
const P256: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\0";
const P384: &[u8] = b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\0\x22\x03\x62\0";
const RSA_2048: &[u8] = b"\x30\x82\x01\x22\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\0\x03\x82\x01\x0f\0\
\x30\x82\x01\x0a\x02\x82\x01\x01\0";
const RSA_4096: &[u8] = b"\x30\x82\x02\x22\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\0\x03\x82\x02\x0f\0\
\x30\x82\x02\x0a\x02\x82\x02\x01\0";
const EXPONENT_65537: &[u8] = b"\x02\x03\x01\0\x01";

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        KeyPair as _, RsaKeyPair,
    };

    use super::*;

    fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> Vec<u8> {
        EcdsaKeyPair::generate(algorithm).unwrap().public_key().as_der().unwrap().as_ref().to_vec()
    }

    #[test]
    fn knows_a_public_key_from_its_encoding_and_encodes_it_alike() {
        let rsa = |size| RsaKeyPair::generate(size).unwrap().public_key().as_der().unwrap().as_ref().to_vec();
        for (algorithm, spki) in [
            (Algorithm::EcdsaP256, ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING)),
            (Algorithm::EcdsaP384, ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING)),
            (Algorithm::Rsa2048, rsa(KeySize::Rsa2048)),
            (Algorithm::Rsa4096, rsa(KeySize::Rsa4096)),
        ] {
            assert_eq!(Algorithm::of_public_key(&spki), Some(algorithm));
            let number = algorithm.number(&spki).unwrap();
            assert_eq!(algorithm.public_key(number).unwrap(), spki);
            assert_eq!(Algorithm::of_public_key(&[&spki[..], &[0]].concat()), None);
            assert_eq!(Algorithm::of_public_key(&spki[1..]), None);
            assert_eq!(algorithm.public_key(&number[1..]), None);
        }
        assert_eq!(Algorithm::of_public_key(&rsa(KeySize::Rsa3072)), None);
        assert_eq!(Algorithm::of_public_key(b""), None);
    }

    #[test]
    fn a_name_reads_back() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
        assert_eq!("rsa".parse::<Algorithm>(), Err(UnknownAlgorithm));
    }
}
