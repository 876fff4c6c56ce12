//! Issuing keys: made and used in a node's memory, replicated only wrapped.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING,
    ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    VerificationAlgorithm,
};
use signet_model::algorithm::KeyAlgorithm;
use zeroize::Zeroizing;

/// A key pair in memory, wiped when it is dropped.
///
/// It cannot be copied, printed or serialized: the private half leaves this type once, at birth, to be wrapped.
pub struct IssuingKey {
    pair: Pair,
    algorithm: KeyAlgorithm,
    public_key: Vec<u8>,
    verifier: Verifier,
}

/// The public half of an issuing key, ready to verify with.
pub struct Verifier {
    algorithm: KeyAlgorithm,
    key: ParsedPublicKey,
}

impl Verifier {
    /// Of a `SubjectPublicKeyInfo`, DER; `None` if it is of no kind that this program signs with.
    #[must_use]
    pub fn new(public_key: &[u8]) -> Option<Self> {
        let algorithm = KeyAlgorithm::of_public_key(public_key)?;
        let verification: &'static dyn VerificationAlgorithm = match algorithm {
            KeyAlgorithm::EcdsaP256 => &ECDSA_P256_SHA256_FIXED,
            KeyAlgorithm::EcdsaP384 => &ECDSA_P384_SHA384_FIXED,
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa4096 => &RSA_PKCS1_2048_8192_SHA256,
            KeyAlgorithm::Ed25519 => &ED25519,
        };
        Some(Self { algorithm, key: ParsedPublicKey::new(verification, public_key).ok()? })
    }

    /// What it is.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// Whether `signature` over `message`, in the form in which [`IssuingKey::sign`] gives it, is this key's. Takes some
    /// 75 µs with P-256.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(rsa::KeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A key that cannot be used. Never holds a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssuingKeyError {
    /// The library could not make a key: no randomness or no memory. Retry.
    #[error("cannot generate a key ({0}): the system gave no randomness or memory")]
    Generate(KeyAlgorithm),
    /// Not the PKCS#8 form of a key of the expected kind. Permanent: the blob is damaged or of another program.
    #[error("the unwrapped bytes are not a private key ({0}) in PKCS#8 form")]
    NotPkcs8(KeyAlgorithm),
    /// The public half is of a kind that this program does not know. Permanent: a newer program made it.
    #[error("the public key is of no kind that this program signs with: a newer Signet made it; upgrade this node")]
    UnknownKind,
    /// The private half does not belong to the public half that was replicated. Permanent: somebody swapped the blob.
    #[error("the unwrapped private key does not belong to the public key it was stored with")]
    WrongPublicKey,
    /// The library could not sign, or signed wrongly. Do not use this key or this machine.
    #[error("signing with an issuing key failed: this machine's memory or processor may be faulty")]
    Sign,
}

impl IssuingKey {
    /// Makes a key, and its private half as PKCS#8 for wrapping. Tested by one signature before it is returned. RSA takes
    /// up to seconds of the calling thread.
    ///
    /// # Errors
    /// [`IssuingKeyError::Generate`], [`IssuingKeyError::Sign`].
    pub fn generate(algorithm: KeyAlgorithm) -> Result<(Self, Zeroizing<Vec<u8>>), IssuingKeyError> {
        let failed = |_: Unspecified| IssuingKeyError::Generate(algorithm);
        let pair = Pair::generate(algorithm).map_err(failed)?;
        let pkcs8 = pair.to_pkcs8().map_err(failed)?;
        Ok((Self::new(pair, algorithm)?.tested()?, pkcs8))
    }

    /// Takes up an unwrapped key. `public_key` is the `SubjectPublicKeyInfo` it was stored with; another one is refused.
    /// Tested by one signature before it is returned.
    ///
    /// # Errors
    /// [`IssuingKeyError::UnknownKind`], [`IssuingKeyError::NotPkcs8`], [`IssuingKeyError::WrongPublicKey`],
    /// [`IssuingKeyError::Sign`].
    pub fn from_pkcs8(pkcs8: &[u8], public_key: &[u8]) -> Result<Self, IssuingKeyError> {
        let algorithm = KeyAlgorithm::of_public_key(public_key).ok_or(IssuingKeyError::UnknownKind)?;
        let pair = Pair::from_pkcs8(algorithm, pkcs8).map_err(|_| IssuingKeyError::NotPkcs8(algorithm))?;
        let key = Self::new(pair, algorithm)?;
        if key.public_key == public_key { key.tested() } else { Err(IssuingKeyError::WrongPublicKey) }
    }

    /// What it is.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// `SubjectPublicKeyInfo`, DER.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Signs `message`. The answer is `r ‖ s` for ECDSA, else as the algorithm has it. Takes the calling thread some 24 µs
    /// with P-256, 17 µs with Ed25519, 130 µs with P-384, 0.9 ms with RSA-2048; any number of threads may sign at once.
    ///
    /// # Errors
    /// [`IssuingKeyError::Sign`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, IssuingKeyError> {
        self.pair.sign(message).map_err(|_| IssuingKeyError::Sign)
    }

    /// Whether `signature` over `message` is this key's. As [`Verifier::verifies`].
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifier.verifies(message, signature)
    }

    fn new(pair: Pair, algorithm: KeyAlgorithm) -> Result<Self, IssuingKeyError> {
        let not_pkcs8 = IssuingKeyError::NotPkcs8(algorithm);
        let public_key = pair.public_key().map_err(|_| not_pkcs8)?;
        let verifier = Verifier::new(&public_key).filter(|verifier| verifier.algorithm == algorithm);
        Ok(Self { pair, algorithm, public_key, verifier: verifier.ok_or(not_pkcs8)? })
    }

    fn tested(self) -> Result<Self, IssuingKeyError> {
        let signature = self.sign(SELF_TEST)?;
        if self.verify(SELF_TEST, &signature) { Ok(self) } else { Err(IssuingKeyError::Sign) }
    }
}

impl Pair {
    fn generate(algorithm: KeyAlgorithm) -> Result<Self, Unspecified> {
        Ok(match algorithm {
            KeyAlgorithm::EcdsaP256 => Self::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?),
            KeyAlgorithm::EcdsaP384 => Self::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)?),
            KeyAlgorithm::Rsa2048 => Self::Rsa(rsa::KeyPair::generate(KeySize::Rsa2048)?),
            KeyAlgorithm::Rsa4096 => Self::Rsa(rsa::KeyPair::generate(KeySize::Rsa4096)?),
            KeyAlgorithm::Ed25519 => Self::Ed25519(Ed25519KeyPair::generate()?),
        })
    }

    fn from_pkcs8(algorithm: KeyAlgorithm, pkcs8: &[u8]) -> Result<Self, Unspecified> {
        let pair = match algorithm {
            KeyAlgorithm::EcdsaP256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map(Self::Ecdsa)
            }
            KeyAlgorithm::EcdsaP384 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8).map(Self::Ecdsa)
            }
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa4096 => rsa::KeyPair::from_pkcs8(pkcs8).map(Self::Rsa),
            KeyAlgorithm::Ed25519 => Ed25519KeyPair::from_pkcs8(pkcs8).map(Self::Ed25519),
        };
        pair.map_err(|_| Unspecified)
    }

    fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
        // The library wipes its own copy when it frees it.
        Ok(Zeroizing::new(match self {
            Self::Ecdsa(pair) => pair.to_pkcs8v1()?.as_ref().to_vec(),
            Self::Rsa(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair)?.as_ref().to_vec(),
            Self::Ed25519(pair) => pair.to_pkcs8v1()?.as_ref().to_vec(),
        }))
    }

    fn public_key(&self) -> Result<Vec<u8>, Unspecified> {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Ecdsa(pair) => pair.public_key().as_der()?,
            Self::Rsa(pair) => pair.public_key().as_der()?,
            Self::Ed25519(pair) => pair.public_key().as_der()?,
        };
        Ok(der.as_ref().to_vec())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        match self {
            Self::Ecdsa(pair) => Ok(pair.sign(&SystemRandom::new(), message)?.as_ref().to_vec()),
            Self::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({})", self.algorithm)
    }
}

impl fmt::Debug for IssuingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuingKey({} {})", self.algorithm, signet_model::jwk::key_id(&self.public_key))
    }
}

/// Begins with bytes that neither a certificate nor a JWS begins with, so that the signature can serve for neither.
const SELF_TEST: &[u8] = b"\0signet self test of an issuing key";

#[cfg(test)]
mod tests {
    use super::*;

    const P256: KeyAlgorithm = KeyAlgorithm::EcdsaP256;

    #[test]
    fn a_key_of_every_kind_taken_up_again_signs_what_the_first_one_verifies() {
        for &algorithm in KeyAlgorithm::ALL {
            let (key, pkcs8) = IssuingKey::generate(algorithm).unwrap();
            let again = IssuingKey::from_pkcs8(&pkcs8, key.public_key()).unwrap();
            let signature = again.sign(b"hello").unwrap();
            assert!(key.verify(b"hello", &signature), "{algorithm}");
            assert!(!key.verify(b"hallo", &signature), "{algorithm}");
            assert!(!key.verify(b"hello", &signature[1..]), "{algorithm}");
            assert_eq!(again.algorithm(), algorithm);
            // What wraps it takes no more, in hardware neither.
            assert!(pkcs8.len() <= crate::MAX_WRAPPED_BYTES, "{algorithm}: {} bytes", pkcs8.len());
        }
    }

    #[test]
    fn refuses_a_private_key_of_another_public_key() {
        let (_, pkcs8) = IssuingKey::generate(P256).unwrap();
        let (other, _) = IssuingKey::generate(P256).unwrap();
        assert_eq!(IssuingKey::from_pkcs8(&pkcs8, other.public_key()).unwrap_err(), IssuingKeyError::WrongPublicKey);
    }

    #[test]
    fn refuses_what_is_not_a_private_key_of_the_expected_kind() {
        let (key, pkcs8) = IssuingKey::generate(P256).unwrap();
        let (_, p384) = IssuingKey::generate(KeyAlgorithm::EcdsaP384).unwrap();
        let (ed25519, _) = IssuingKey::generate(KeyAlgorithm::Ed25519).unwrap();
        for bad in [&p384[..], &pkcs8[..pkcs8.len() - 1], b""] {
            assert_eq!(IssuingKey::from_pkcs8(bad, key.public_key()).unwrap_err(), IssuingKeyError::NotPkcs8(P256));
        }
        let wrong = IssuingKey::from_pkcs8(&pkcs8, ed25519.public_key()).unwrap_err();
        assert_eq!(wrong, IssuingKeyError::NotPkcs8(KeyAlgorithm::Ed25519));
        assert_eq!(IssuingKey::from_pkcs8(&pkcs8, b"").unwrap_err(), IssuingKeyError::UnknownKind);
    }

    #[test]
    fn its_debug_form_shows_only_the_key_id() {
        let (key, pkcs8) = IssuingKey::generate(P256).unwrap();
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("IssuingKey(ecdsa-p256 {})", signet_model::jwk::key_id(key.public_key())));
        assert!(!shown.as_bytes().windows(8).any(|w| pkcs8.windows(8).any(|secret| secret == w)));
    }

    #[test]
    fn many_threads_sign_with_one_key() {
        let (key, _) = IssuingKey::generate(P256).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8u8 {
                let key = &key;
                scope.spawn(move || {
                    for round in 0..25u8 {
                        let message = [thread, round];
                        assert!(key.verify(&message, &key.sign(&message).unwrap()));
                    }
                });
            }
        });
    }
}
