//! A signing key in memory.

use std::fmt;

use aws_lc_rs::digest::{self, SHA256, SHA384};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    KeyPair as _, RSA_PKCS1_SHA256,
};
use zeroize::Zeroizing;

use crate::{Algorithm, Digest};

/// A key pair. Wiped when dropped: AWS-LC cleanses what it frees.
pub(super) struct SigningKey {
    pair: Pair,
    algorithm: Algorithm,
    public_key: Vec<u8>,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(rsa::KeyPair),
}

impl SigningKey {
    /// Makes a key. RSA takes up to seconds of the calling thread.
    pub(super) fn generate(algorithm: Algorithm) -> Result<Self, Unspecified> {
        let pair = match algorithm {
            Algorithm::EcdsaP256 => Pair::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?),
            Algorithm::EcdsaP384 => Pair::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)?),
            Algorithm::Rsa2048 => Pair::Rsa(rsa::KeyPair::generate(KeySize::Rsa2048)?),
            Algorithm::Rsa4096 => Pair::Rsa(rsa::KeyPair::generate(KeySize::Rsa4096)?),
        };
        Self::new(pair)
    }

    /// Takes up a key of any of our kinds.
    pub(super) fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, Unspecified> {
        let ecdsa = |kind: &'static EcdsaSigningAlgorithm| EcdsaKeyPair::from_pkcs8(kind, pkcs8).map(Pair::Ecdsa);
        let pair = ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .or_else(|_| ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING))
            .or_else(|_| rsa::KeyPair::from_pkcs8(pkcs8).map(Pair::Rsa))
            .map_err(|_| Unspecified)?;
        Self::new(pair)
    }

    pub(super) fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
        // The library wipes its own copy when it frees it.
        match &self.pair {
            Pair::Ecdsa(pair) => pair.to_pkcs8v1().map(|document| Zeroizing::new(document.as_ref().to_vec())),
            Pair::Rsa(pair) => {
                let document = AsDer::<Pkcs8V1Der<'_>>::as_der(pair)?;
                Ok(Zeroizing::new(document.as_ref().to_vec()))
            }
        }
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `SubjectPublicKeyInfo`, DER.
    pub(super) fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Signs a digest of the kind that this key signs; refuses another one.
    pub(super) fn sign(&self, digest: &Digest) -> Result<Vec<u8>, Unspecified> {
        if !self.algorithm.signs(digest) {
            return Err(Unspecified);
        }
        let imported = match digest {
            Digest::Sha256(digest) => digest::Digest::import_less_safe(digest, &SHA256)?,
            Digest::Sha384(digest) => digest::Digest::import_less_safe(digest, &SHA384)?,
        };
        match &self.pair {
            Pair::Ecdsa(pair) => pair.sign_digest(&imported).map(|signature| signature.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign_digest(&RSA_PKCS1_SHA256, &imported, &mut signature)?;
                Ok(signature)
            }
        }
    }

    fn new(pair: Pair) -> Result<Self, Unspecified> {
        let public_key = match &pair {
            Pair::Ecdsa(pair) => pair.public_key().as_der()?.as_ref().to_vec(),
            Pair::Rsa(pair) => pair.public_key().as_der()?.as_ref().to_vec(),
        };
        let algorithm = Algorithm::of_public_key(&public_key).ok_or(Unspecified)?;
        Ok(Self { pair, algorithm, public_key })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm, signet_model::jwk::key_id(&self.public_key))
    }
}
