//! The signature alone, as the library makes it: no backend, no check of the answer.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use signet_kms::Algorithm;

/// A key in this process.
pub(crate) enum BareKey {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl BareKey {
    pub(crate) fn generate(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::EcdsaP256 => Self::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            Algorithm::EcdsaP384 => Self::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()),
            Algorithm::Rsa2048 => Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
            Algorithm::Rsa4096 => Self::Rsa(RsaKeyPair::generate(KeySize::Rsa4096).unwrap()),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) {
        match self {
            Self::Ecdsa(key) => {
                std::hint::black_box(key.sign(&SystemRandom::new(), message).unwrap());
            }
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                std::hint::black_box(signature);
            }
        }
    }
}
