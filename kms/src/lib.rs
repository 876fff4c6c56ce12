//! Where keys live and how they sign: two traits, one module per backend.
//!
//! A backend holds what must never be seen (the X.509 root, a wrapping key). Issuing keys live in memory as
//! [`IssuingKey`](issuing::IssuingKey)s and are replicated only wrapped.

#[cfg(test)]
mod conformance;
pub mod issuing;
pub mod software;
pub mod uri;

use std::fmt;

use async_trait::async_trait;
use zeroize::Zeroizing;

/// Signs with keys that stay in the backend.
#[async_trait]
pub trait Signer: Send + Sync + fmt::Debug {
    /// The scheme of the backend's URI, as stored beside every key reference: `file`, `memory`.
    fn backend(&self) -> &'static str;

    /// Makes a signing key and returns what finds it again on every node that has this backend configured.
    /// `label` is for people who look into the backend; it must not be secret.
    async fn create(&self, label: &str) -> Result<KeyReference, KmsError>;

    /// The key's `SubjectPublicKeyInfo`, DER (91 bytes for P-256).
    async fn public_key(&self, key: &KeyReference) -> Result<Vec<u8>, KmsError>;

    /// Signs a SHA-256 digest with ECDSA P-256. The answer is `r ‖ s`, 64 bytes, and was verified against the key's
    /// public half before it is returned.
    async fn sign_digest(&self, key: &KeyReference, digest: &[u8; 32]) -> Result<[u8; 64], KmsError>;
}

/// Encrypts small secrets for itself.
#[async_trait]
pub trait Wrapper: Send + Sync + fmt::Debug {
    /// The name under which a wrapped key says who can open it. The same on every node with the same key-encryption key.
    fn recipient(&self) -> String;

    /// Encrypts and authenticates `plaintext` together with `context`.
    async fn wrap(&self, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, KmsError>;

    /// Opens what [`wrap`](Self::wrap) made under the same `context`.
    async fn unwrap(&self, blob: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, KmsError>;
}

/// A backend offers both.
pub trait Backend: Signer + Wrapper {}

impl<T: Signer + Wrapper> Backend for T {}

/// What a backend needs to find one of its keys again. Opaque to everybody else, and safe to replicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyReference(pub Vec<u8>);

/// A backend did not do what it was asked to. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum KmsError {
    /// The configuration does not name a usable backend; the operator corrects it.
    #[error("kms {uri}: {problem}")]
    Configuration {
        /// The URI, without secrets.
        uri: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The backend cannot be reached now. Retry.
    #[error("kms backend {backend} is not available: {problem}")]
    Unavailable {
        /// Which backend.
        backend: String,
        /// What happened.
        problem: String,
    },
    /// The key is not there, or not of the expected type. Permanent.
    #[error("kms backend {backend} has no usable key {key}: {problem}")]
    Key {
        /// Which backend.
        backend: String,
        /// Which key, as far as it can be named.
        key: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The blob does not open: another key-encryption key, another context, or damage. Permanent.
    #[error(
        "kms backend {backend} cannot open this blob: it was wrapped by another key, for another place, or is damaged"
    )]
    Open {
        /// Which backend.
        backend: String,
    },
    /// The backend's answer failed our check, such as a signature that does not verify. Do not use that backend.
    #[error("kms backend {backend} gave a wrong answer: {problem}")]
    Wrong {
        /// Which backend.
        backend: String,
        /// What was wrong.
        problem: String,
    },
}
