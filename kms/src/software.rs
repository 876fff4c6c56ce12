//! Keys in software: a key-encryption key in memory or in a file seals everything else.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use zeroize::Zeroizing;

use self::key_file::Key;
use self::seal::{Purpose, SealingKey};
use crate::{KeyReference, KmsError, Signer, Wrapper};

mod key_file;
mod seal;

/// The software backend.
///
/// A signing key is a P-256 key pair made here and sealed under the key-encryption key; its reference *is* the sealed
/// key, so every node with the same key-encryption key can sign with it, and nothing is stored beside the reference.
pub struct Software {
    scheme: &'static str,
    recipient: String,
    sealing: SealingKey,
    /// Signing keys that were used, newest last. Bounded, because each costs memory and there are a few only.
    opened: Mutex<Vec<(KeyReference, Arc<EcdsaKeyPair>)>>,
}

/// Makes a new key file of 32 random bytes at `path`, mode 0600. The operator gives the same file to every node.
///
/// # Errors
/// [`KmsError::Configuration`]: there is something at `path` already (it is never overwritten), or it cannot be written.
pub fn generate_key_file(path: &Path) -> Result<(), KmsError> {
    key_file::create_plain(path)
}

/// Makes a new key file at `path`, mode 0600, under the passphrase in the file `passphrase`, which has mode 0600 too.
/// Takes up to a second of the calling thread, and 64 MiB. The operator gives both files to every node.
///
/// # Errors
/// [`KmsError::Configuration`]: there is something at `path` already (it is never overwritten), it cannot be written,
/// or the passphrase cannot be read or is too short.
pub fn generate_protected_key_file(path: &Path, passphrase: &Path) -> Result<(), KmsError> {
    key_file::create_protected(path, passphrase, key_file::Cost::NEW)
}

impl Software {
    /// Under a random key-encryption key that ends with the process: for a cluster of one that may be forgotten.
    ///
    /// # Errors
    /// [`KmsError::Unavailable`]: the system gave no randomness.
    pub fn in_memory() -> Result<Self, KmsError> {
        let mut key = Zeroizing::new([0; seal::KEY_BYTES]);
        aws_lc_rs::rand::fill(key.as_mut()).map_err(|_| unavailable(MEMORY))?;
        Self::new(MEMORY, &key)
    }

    /// Under the key in the file at `path`.
    ///
    /// # Errors
    /// [`KmsError::Configuration`]: others may read the file, or it holds no key; the text says what to do.
    pub fn from_file(path: &Path) -> Result<Self, KmsError> {
        Self::new(FILE, &key_file::read_plain(path)?)
    }

    /// Under the key in the file at `path`, opened by the passphrase in the file `passphrase`. Takes up to a second of
    /// the calling thread, and 64 MiB.
    ///
    /// # Errors
    /// [`KmsError::Configuration`]: as [`from_file`](Self::from_file), or the passphrase is a wrong one.
    pub fn from_protected_file(path: &Path, passphrase: &Path) -> Result<Self, KmsError> {
        Self::new(FILE, &key_file::read_protected(path, passphrase)?)
    }

    fn new(scheme: &'static str, key: &Key) -> Result<Self, KmsError> {
        let sealing = SealingKey::new(key);
        let id = sealing.id().map_err(|_| unavailable(scheme))?;
        Ok(Self { scheme, recipient: format!("{scheme}:{id}"), sealing, opened: Mutex::default() })
    }

    fn opened(&self, reference: &KeyReference) -> Result<Arc<EcdsaKeyPair>, KmsError> {
        let known = |opened: &[(KeyReference, Arc<EcdsaKeyPair>)]| {
            opened.iter().find(|(known, _)| known == reference).map(|(_, pair)| Arc::clone(pair))
        };
        if let Some(pair) = known(&self.opened.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(pair);
        }
        let pkcs8 = self.sealing.open(Purpose::SigningKey, &reference.0, &[]).map_err(|_| {
            self.unusable(
            "it was made under another key file, or its reference is damaged; configure the key file of this cluster",
        )
        })?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8)
            .map_err(|_| self.unusable("it is not a P-256 key"))?;
        let pair = Arc::new(pair);
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if known(&opened).is_none() {
            if opened.len() >= MAX_OPENED {
                opened.remove(0);
            }
            opened.push((reference.clone(), Arc::clone(&pair)));
        }
        Ok(pair)
    }

    fn unusable(&self, problem: &str) -> KmsError {
        KmsError::Key {
            backend: self.recipient.clone(),
            key: "of this reference".to_owned(),
            problem: problem.to_owned(),
        }
    }

    fn wrong(&self, problem: &str) -> KmsError {
        KmsError::Wrong { backend: self.recipient.clone(), problem: problem.to_owned() }
    }
}

#[async_trait]
impl Signer for Software {
    fn backend(&self) -> &'static str {
        self.scheme
    }

    /// The label is not kept: there is no place where people would look for it.
    async fn create(&self, _label: &str) -> Result<KeyReference, KmsError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| unavailable(self.scheme))?;
        // The document is wiped by AWS-LC's own free.
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| unavailable(self.scheme))?;
        let sealed = self.sealing.seal(Purpose::SigningKey, pkcs8.as_ref(), &[]);
        sealed.map(KeyReference).map_err(|_| unavailable(self.scheme))
    }

    async fn public_key(&self, key: &KeyReference) -> Result<Vec<u8>, KmsError> {
        let pair = self.opened(key)?;
        let der = pair.public_key().as_der().map_err(|_| self.wrong("a key without a public half"))?;
        Ok(der.as_ref().to_vec())
    }

    async fn sign_digest(&self, key: &KeyReference, digest: &[u8; 32]) -> Result<[u8; 64], KmsError> {
        let pair = self.opened(key)?;
        let digest = Digest::import_less_safe(digest, &SHA256).map_err(|_| self.wrong("no SHA-256 digest"))?;
        let signature = pair.sign_digest(&digest).map_err(|_| self.wrong("no signature"))?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref())
            .verify_digest(&digest, signature.as_ref())
            .map_err(|_| self.wrong("a signature that does not verify"))?;
        signature.as_ref().try_into().map_err(|_| self.wrong("a signature of a wrong length"))
    }
}

#[async_trait]
impl Wrapper for Software {
    fn recipient(&self) -> String {
        self.recipient.clone()
    }

    async fn wrap(&self, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, KmsError> {
        self.sealing.seal(Purpose::Wrapping, plaintext, context).map_err(|_| unavailable(self.scheme))
    }

    async fn unwrap(&self, blob: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let opened = self.sealing.open(Purpose::Wrapping, blob, context);
        opened.map_err(|_| KmsError::Open { backend: self.recipient.clone() })
    }
}

impl fmt::Debug for Software {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Software({})", self.recipient)
    }
}

fn unavailable(scheme: &str) -> KmsError {
    KmsError::Unavailable { backend: scheme.to_owned(), problem: "the system gave no randomness or memory".to_owned() }
}

const MEMORY: &str = "memory";
const FILE: &str = "file";
const MAX_OPENED: usize = 16;

#[cfg(test)]
mod tests;
