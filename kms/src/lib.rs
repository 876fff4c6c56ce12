//! Where keys live and how they sign: two traits, one module per backend.
//!
//! A backend holds what must never be seen (the X.509 root, a wrapping key). Issuing keys live in memory as
//! [`IssuingKey`](issuing::IssuingKey)s and are replicated only wrapped.

mod algorithm;
pub mod aws;
#[cfg(test)]
mod conformance;
mod foreign;
pub mod issuing;
pub mod pkcs11;
mod private_file;
pub mod software;
pub mod uri;

use std::fmt;

use async_trait::async_trait;
use zeroize::Zeroizing;

pub use self::algorithm::{Algorithm, Digest, UnknownAlgorithm};
pub use self::foreign::{ForeignKey, read_pkcs8_pem};

/// Signs with keys that stay in the backend.
#[async_trait]
pub trait Signer: Send + Sync + fmt::Debug {
    /// The scheme of the backend's URI, as stored beside every key reference: `file`, `memory`, `pkcs11`, `awskms`.
    fn backend(&self) -> &'static str;

    /// What status, logs and errors call this backend: the URI that opened it, which holds no secret.
    fn name(&self) -> String;

    /// Makes a signing key and returns what finds it again on every node that has this backend configured.
    /// `label` is for people who look into the backend; it must not be secret.
    async fn create(&self, label: &str, algorithm: Algorithm) -> Result<KeyReference, KmsError>;

    /// The key's `SubjectPublicKeyInfo`, DER, as it was when the key was made: a key that the backend has now under the
    /// same name, but which is another one, is refused with [`KmsError::Key`].
    async fn public_key(&self, key: &KeyReference) -> Result<Vec<u8>, KmsError>;

    /// Takes up a signing key that was made elsewhere, and returns what finds it again on every node that has this backend
    /// configured. Whether it may sign is found out by the first signature.
    async fn adopt(&self, _key: ForeignKey<'_>) -> Result<KeyReference, KmsError> {
        let problem = "this backend takes up no keys that were made elsewhere: have a certificate request signed (`signet authority csr`)";
        Err(KmsError::Configuration { uri: self.name(), problem: problem.to_owned() })
    }

    /// Signs a digest: one of SHA-384 with a P-384 key, of SHA-256 with any other; another one is [`KmsError::Key`].
    ///
    /// The answer has [`Algorithm::signature_bytes`]: `r ‖ s` for ECDSA, PKCS#1 v1.5 for RSA. It was verified against the
    /// key's public half before it is returned; one that does not verify is [`KmsError::Wrong`].
    async fn sign_digest(&self, key: &KeyReference, digest: &Digest) -> Result<Vec<u8>, KmsError>;
}

/// Encrypts small secrets for itself: up to [`MAX_WRAPPED_BYTES`], with up to [`MAX_CONTEXT_BYTES`] of context.
#[async_trait]
pub trait Wrapper: Send + Sync + fmt::Debug {
    /// The name under which a wrapped key says who can open it: the same on every node with the same key-encryption key,
    /// different for different ones, at most 256 bytes. Waits for the backend the first time, if its key has to be found
    /// there; known from then on.
    async fn recipient(&self) -> Result<String, KmsError>;

    /// Encrypts and authenticates `plaintext` together with `context`.
    async fn wrap(&self, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, KmsError>;

    /// Opens what [`wrap`](Self::wrap) made under the same `context`.
    async fn unwrap(&self, blob: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, KmsError>;

    /// Whether the backend wraps and unwraps now: one round trip with a random value that is of no use to anybody.
    async fn probe(&self) -> Result<(), KmsError> {
        let mut nonce = [0; 16];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| KmsError::Unavailable {
            backend: "probe".to_owned(),
            problem: "the system gave no randomness".to_owned(),
        })?;
        let blob = self.wrap(&nonce, PROBE_CONTEXT).await?;
        if self.unwrap(&blob, PROBE_CONTEXT).await?.as_slice() == nonce {
            return Ok(());
        }
        let problem = "it opened other bytes than it had wrapped".to_owned();
        Err(KmsError::Wrong { backend: self.recipient().await?, problem })
    }
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
    /// The backend cannot be reached now, is too slow, or has too much to do. Retry after a while.
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
        "kms backend {backend} cannot open a blob with key {key}: it was wrapped by another key, for another place, or is damaged; give this node the key backend of its cluster"
    )]
    Open {
        /// Which backend.
        backend: String,
        /// The recipient that was to open it.
        key: String,
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

/// Says what the answer of a backend must be before anybody sees it: the signature of the key that was asked for.
pub(crate) fn verified(
    backend: &str,
    algorithm: Algorithm,
    public_key: &[u8],
    digest: &Digest,
    signature: Vec<u8>,
) -> Result<Vec<u8>, KmsError> {
    if algorithm.verifies(public_key, digest, &signature) {
        return Ok(signature);
    }
    let key = signet_model::jwk::key_id(public_key);
    let problem = format!(
        "a signature that is not one of key {key} ({algorithm}); do not use this backend until its keys and its hardware have been checked"
    );
    Err(KmsError::Wrong { backend: backend.to_owned(), problem })
}

/// Refuses a digest that a key of this kind does not sign.
pub(crate) fn fitting(backend: &str, key: &str, algorithm: Algorithm, digest: &Digest) -> Result<(), KmsError> {
    if algorithm.signs(digest) {
        return Ok(());
    }
    let problem = format!("an {algorithm} key does not sign digests of {} bytes", digest.as_bytes().len());
    Err(KmsError::Key { backend: backend.to_owned(), key: key.to_owned(), problem })
}

/// What [`Wrapper::wrap`] takes at most: RSA-4096 in PKCS#8 is under 2,400 bytes, and AWS KMS ends at 4,096.
pub const MAX_WRAPPED_BYTES: usize = 4096;
/// What [`Wrapper::wrap`] takes at most as its context.
pub const MAX_CONTEXT_BYTES: usize = 2048;
/// No authority has this context, which has no fields.
const PROBE_CONTEXT: &[u8] = b"signet probe";
