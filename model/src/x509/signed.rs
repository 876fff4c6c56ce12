//! What is signed in X.509: certificates and requests have one outer form (RFC 5280 §4.1, RFC 2986 §4.2).

use der::asn1::{AnyRef, BitStringRef};
use der::{Decode as _, Reader as _, SliceReader};
use rustls_pki_types::SignatureVerificationAlgorithm;
use webpki::aws_lc_rs as verify;
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::SubjectPublicKey;

/// The three parts, as they were sent.
pub(super) struct Signed<'a> {
    /// What is signed, DER.
    pub(super) body: &'a [u8],
    /// Content of the `AlgorithmIdentifier`.
    pub(super) algorithm: &'a [u8],
    signature: &'a [u8],
}

/// Why a signature counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadSignature {
    /// The key that should have made it cannot be read.
    Key,
    /// The algorithm is weak, unknown, or not one of the key's.
    Algorithm,
    /// It is not this key's.
    Signature,
}

impl<'a> Signed<'a> {
    pub(super) fn parse(der: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let signed = reader.sequence(|reader| {
            let body = reader.tlv_bytes()?;
            let algorithm = AnyRef::decode(reader)?.value();
            let signature = BitStringRef::decode(reader)?;
            let signature = signature.as_bytes().ok_or(der::ErrorKind::Value { tag: der::Tag::BitString })?;
            Ok::<_, der::Error>(Self { body, algorithm, signature })
        })?;
        reader.finish()?;
        Ok(signed)
    }

    /// The algorithm is found by the signature's *and* the key's identifier, so that a P-384 key signing as P-256 is
    /// not taken for what it says it is.
    pub(super) fn check(&self, key: &SubjectPublicKey) -> Result<(), BadSignature> {
        let spki = SubjectPublicKeyInfoRef::from_der(key.as_der()).map_err(|_| BadSignature::Key)?;
        let key_bits = spki.subject_public_key.as_bytes().ok_or(BadSignature::Key)?;
        let mut reader = SliceReader::new(key.as_der()).map_err(|_| BadSignature::Key)?;
        let key_algorithm = reader.sequence(|reader| {
            let algorithm = AnyRef::decode(reader)?.value();
            reader.tlv_bytes()?;
            Ok::<_, der::Error>(algorithm)
        });
        let key_algorithm = key_algorithm.map_err(|_| BadSignature::Key)?;
        let algorithm = ALGORITHMS
            .iter()
            .find(|a| {
                a.signature_alg_id().as_ref() == self.algorithm && a.public_key_alg_id().as_ref() == key_algorithm
            })
            .ok_or(BadSignature::Algorithm)?;
        algorithm.verify_signature(key_bits, self.body, self.signature).map_err(|_| BadSignature::Signature)
    }
}

/// What may be signed with. No SHA-1, no P-521, no RSA below 2048 bits.
static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    verify::ECDSA_P256_SHA256,
    verify::ECDSA_P256_SHA384,
    verify::ECDSA_P256_SHA512,
    verify::ECDSA_P384_SHA256,
    verify::ECDSA_P384_SHA384,
    verify::ECDSA_P384_SHA512,
    verify::ED25519,
    verify::RSA_PKCS1_2048_8192_SHA256,
    verify::RSA_PKCS1_2048_8192_SHA384,
    verify::RSA_PKCS1_2048_8192_SHA512,
    verify::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    verify::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    verify::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];
