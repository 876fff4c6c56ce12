//! What no implementation can leave out: the signatures, and nothing around them.

use anyhow::Context;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING,
    EcdsaKeyPair, KeyPair, ParsedPublicKey, UnparsedPublicKey,
};

/// Keys and messages of the sizes that the real operations have.
pub(super) struct Bare {
    random: SystemRandom,
    certificates: EcdsaKeyPair,
    tokens: EcdsaKeyPair,
    /// A request's key is new each time, so it is parsed each time.
    csr_key: UnparsedPublicKey<Vec<u8>>,
    csr_signature: Vec<u8>,
    /// An issuer's key is known, so it is parsed once.
    issuer_key: ParsedPublicKey,
    user_signature: Vec<u8>,
}

/// The library did not do what it does; the floor cannot be measured.
#[derive(Debug, thiserror::Error)]
#[error("the cryptographic library refused to sign or verify")]
pub(super) struct Broken;

impl Bare {
    pub(super) fn new() -> anyhow::Result<Self> {
        let generate = |algorithm| EcdsaKeyPair::generate(algorithm).ok().context("no P-256 key could be made");
        let random = SystemRandom::new();
        let requester = generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
        let issuer = generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let csr_signature = requester.sign(&random, &REQUEST_INFO).ok().context("no signature could be made")?;
        let user_signature = issuer.sign(&random, &ACCESS_TOKEN).ok().context("no signature could be made")?;
        let issuer_key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, issuer.public_key().as_ref());
        Ok(Self {
            random,
            certificates: generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?,
            tokens: generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?,
            csr_key: UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, requester.public_key().as_ref().to_vec()),
            csr_signature: csr_signature.as_ref().to_vec(),
            issuer_key: issuer_key.ok().context("a P-256 public key was refused")?,
            user_signature: user_signature.as_ref().to_vec(),
        })
    }

    /// An X.509-SVID: the request's signature is verified, the certificate is signed.
    pub(super) fn x509(&self) -> Result<(), Broken> {
        self.csr_key.verify(&REQUEST_INFO, &self.csr_signature).map_err(|_| Broken)?;
        sign(&self.certificates, &self.random, &TBS_CERTIFICATE)
    }

    /// A JWT-SVID, or a transaction token for a user's token that was seen before: one signature.
    pub(super) fn token(&self) -> Result<(), Broken> {
        sign(&self.tokens, &self.random, &SIGNING_INPUT)
    }

    /// The signature of a user's token that was not seen before.
    pub(super) fn user_token(&self) -> Result<(), Broken> {
        self.issuer_key.verify_sig(&ACCESS_TOKEN, &self.user_signature).map_err(|_| Broken)
    }
}

fn sign(key: &EcdsaKeyPair, random: &SystemRandom, message: &[u8]) -> Result<(), Broken> {
    let signature = key.sign(random, message).map_err(|_| Broken)?;
    // Keeps the compiler from finding out that nobody looks at it.
    std::hint::black_box(signature);
    Ok(())
}

/// A P-256 certification request's signed part, with one URI name.
const REQUEST_INFO: [u8; 200] = [0x30; 200];
/// An X.509-SVID's signed part.
const TBS_CERTIFICATE: [u8; 450] = [0x30; 450];
/// A token's header and claims.
const SIGNING_INPUT: [u8; 500] = [b'e'; 500];
/// A user's access token without its signature.
const ACCESS_TOKEN: [u8; 450] = [b'e'; 450];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_verifies_and_notices_a_wrong_signature() {
        let mut bare = Bare::new().unwrap();
        assert!(bare.x509().is_ok() && bare.token().is_ok() && bare.user_token().is_ok());
        bare.user_signature[10] ^= 1;
        assert!(bare.user_token().is_err());
        bare.csr_signature = b"not a signature".to_vec();
        assert!(bare.x509().is_err());
    }
}
