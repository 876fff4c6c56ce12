//! Issuing keys: made and used in a node's memory, replicated only wrapped.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use signet_model::jwk::p256_point;
use zeroize::Zeroizing;

/// A P-256 key pair in memory, wiped when it is dropped.
///
/// It cannot be copied, printed or serialized: the private half leaves this type once, at birth, to be wrapped.
pub struct IssuingKey {
    pair: EcdsaKeyPair,
    public_key: Vec<u8>,
}

/// A key that cannot be used. Never holds a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssuingKeyError {
    /// The library could not make a key: no randomness or no memory. Retry.
    #[error("cannot generate a P-256 key: the system gave no randomness or memory")]
    Generate,
    /// Not the PKCS#8 form of a P-256 key. Permanent: the blob is damaged or of another program.
    #[error("the unwrapped bytes are not a P-256 private key in PKCS#8 form")]
    NotP256,
    /// The private half does not belong to the public half that was replicated. Permanent: somebody swapped the blob.
    #[error("the unwrapped private key does not belong to the public key it was stored with")]
    WrongPublicKey,
    /// The library could not sign, or signed wrongly. Do not use this key or this machine.
    #[error("signing with an issuing key failed: this machine's memory or processor may be faulty")]
    Sign,
}

impl IssuingKey {
    /// Makes a key, and its private half as PKCS#8 for wrapping. Tested by one signature before it is returned.
    ///
    /// # Errors
    /// [`IssuingKeyError::Generate`], [`IssuingKeyError::Sign`].
    pub fn generate() -> Result<(Self, Zeroizing<Vec<u8>>), IssuingKeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| IssuingKeyError::Generate)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| IssuingKeyError::Generate)?;
        let pkcs8 = Zeroizing::new(pkcs8.as_ref().to_vec());
        Ok((Self::new(pair)?.tested()?, pkcs8))
    }

    /// Takes up an unwrapped key. `public_key` is the `SubjectPublicKeyInfo` it was stored with; another one is refused.
    /// Tested by one signature before it is returned.
    ///
    /// # Errors
    /// [`IssuingKeyError::NotP256`], [`IssuingKeyError::WrongPublicKey`], [`IssuingKeyError::Sign`].
    pub fn from_pkcs8(pkcs8: &[u8], public_key: &[u8]) -> Result<Self, IssuingKeyError> {
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| IssuingKeyError::NotP256)?;
        let key = Self::new(pair)?;
        if key.public_key == public_key { key.tested() } else { Err(IssuingKeyError::WrongPublicKey) }
    }

    /// `SubjectPublicKeyInfo`, DER, 91 bytes.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Signs SHA-256 of `message` with ECDSA. The answer is `r ‖ s`. Takes some 24 µs of the calling thread; any number
    /// of threads may sign at once.
    ///
    /// # Errors
    /// [`IssuingKeyError::Sign`].
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], IssuingKeyError> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| IssuingKeyError::Sign)?;
        signature.as_ref().try_into().map_err(|_| IssuingKeyError::Sign)
    }

    /// Whether `signature` (`r ‖ s`) over `message` is this key's. Takes some 75 µs.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        aws_lc_rs::signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref())
            .verify(message, signature)
            .is_ok()
    }

    fn new(pair: EcdsaKeyPair) -> Result<Self, IssuingKeyError> {
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|_| IssuingKeyError::NotP256)?;
        let public_key = der.as_ref().to_vec();
        p256_point(&public_key).map_err(|_| IssuingKeyError::NotP256)?;
        Ok(Self { pair, public_key })
    }

    fn tested(self) -> Result<Self, IssuingKeyError> {
        let signature = self.sign(SELF_TEST)?;
        if self.verify(SELF_TEST, &signature) { Ok(self) } else { Err(IssuingKeyError::Sign) }
    }
}

impl fmt::Debug for IssuingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuingKey({})", signet_model::jwk::key_id(&self.public_key))
    }
}

/// Begins with bytes that neither a certificate nor a JWS begins with, so that the signature can serve for neither.
const SELF_TEST: &[u8] = b"\0signet self test of an issuing key";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_taken_up_again_signs_what_the_first_one_verifies() {
        let (key, pkcs8) = IssuingKey::generate().unwrap();
        let again = IssuingKey::from_pkcs8(&pkcs8, key.public_key()).unwrap();
        let signature = again.sign(b"hello").unwrap();
        assert!(key.verify(b"hello", &signature));
        assert!(!key.verify(b"hallo", &signature));
    }

    #[test]
    fn refuses_a_private_key_of_another_public_key() {
        let (_, pkcs8) = IssuingKey::generate().unwrap();
        let (other, _) = IssuingKey::generate().unwrap();
        assert_eq!(IssuingKey::from_pkcs8(&pkcs8, other.public_key()).unwrap_err(), IssuingKeyError::WrongPublicKey);
    }

    #[test]
    fn refuses_what_is_not_a_p256_private_key() {
        let (key, pkcs8) = IssuingKey::generate().unwrap();
        let p384 = EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let p384 = p384.to_pkcs8v1().unwrap();
        for bad in [p384.as_ref(), &pkcs8[..pkcs8.len() - 1], b""] {
            assert_eq!(IssuingKey::from_pkcs8(bad, key.public_key()).unwrap_err(), IssuingKeyError::NotP256);
        }
    }

    #[test]
    fn its_debug_form_shows_only_the_key_id() {
        let (key, pkcs8) = IssuingKey::generate().unwrap();
        let shown = format!("{key:?}");
        assert_eq!(shown, format!("IssuingKey({})", signet_model::jwk::key_id(key.public_key())));
        assert!(!shown.as_bytes().windows(8).any(|w| pkcs8.windows(8).any(|secret| secret == w)));
    }

    #[test]
    fn many_threads_sign_with_one_key() {
        let (key, _) = IssuingKey::generate().unwrap();
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
