//! Keys in software: a key-encryption key in memory or in a file seals everything else.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use zeroize::Zeroizing;

use self::key_file::Key;
use self::seal::{Purpose, SealingKey};
use self::signing_key::SigningKey;
use crate::{Algorithm, Digest, ForeignKey, KeyReference, KmsError, Signer, Wrapper, fitting, verified};

mod key_file;
mod seal;
mod signing_key;

/// The software backend.
///
/// A signing key is a key pair made here and sealed under the key-encryption key; its reference *is* the sealed
/// key, so every node with the same key-encryption key can sign with it, and nothing is stored beside the reference.
pub struct Software {
    scheme: &'static str,
    name: String,
    recipient: String,
    sealing: SealingKey,
    /// Signing keys that were used, newest last. Bounded, because each costs memory and there are a few only.
    opened: Mutex<Vec<(KeyReference, Arc<SigningKey>)>>,
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
        Self::new(MEMORY, "memory:".to_owned(), &key)
    }

    /// Under the key in the file at `path`.
    ///
    /// # Errors
    /// [`KmsError::Configuration`]: others may read the file, or it holds no key; the text says what to do.
    pub fn from_file(path: &Path) -> Result<Self, KmsError> {
        Self::new(FILE, format!("file:{}", path.display()), &key_file::read_plain(path)?)
    }

    /// Under the key in the file at `path`, opened by the passphrase in the file `passphrase`. Takes up to a second of
    /// the calling thread, and 64 MiB.
    ///
    /// # Errors
    /// [`KmsError::Configuration`]: as [`from_file`](Self::from_file), or the passphrase is a wrong one.
    pub fn from_protected_file(path: &Path, passphrase: &Path) -> Result<Self, KmsError> {
        Self::new(FILE, format!("file:{}", path.display()), &key_file::read_protected(path, passphrase)?)
    }

    fn new(scheme: &'static str, name: String, key: &Key) -> Result<Self, KmsError> {
        let sealing = SealingKey::new(key);
        let id = sealing.id().map_err(|_| unavailable(&name))?;
        Ok(Self { scheme, recipient: format!("{scheme}:{id}"), name, sealing, opened: Mutex::default() })
    }

    fn opened(&self, reference: &KeyReference) -> Result<Arc<SigningKey>, KmsError> {
        let known = |opened: &[(KeyReference, Arc<SigningKey>)]| {
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
        let key = SigningKey::from_pkcs8(&pkcs8).map_err(|_| {
            self.unusable("it is neither ECDSA P-256 or P-384 nor RSA of 2048 or 4096 bits: a newer Signet made it")
        })?;
        let key = Arc::new(key);
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if known(&opened).is_none() {
            if opened.len() >= MAX_OPENED {
                opened.remove(0);
            }
            opened.push((reference.clone(), Arc::clone(&key)));
        }
        Ok(key)
    }

    fn unusable(&self, problem: &str) -> KmsError {
        KmsError::Key {
            backend: self.name.clone(),
            key: format!("of this reference under {}", self.recipient),
            problem: problem.to_owned(),
        }
    }
}

#[async_trait]
impl Signer for Software {
    fn backend(&self) -> &'static str {
        self.scheme
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    /// The label is not kept: there is no place where people would look for it.
    async fn create(&self, _label: &str, algorithm: Algorithm) -> Result<KeyReference, KmsError> {
        // Finding the primes of an RSA key takes up to seconds.
        let made = tokio::task::spawn_blocking(move || SigningKey::generate(algorithm)).await;
        let key = made.map_err(|_| unavailable(&self.name))?.map_err(|_| unavailable(&self.name))?;
        let pkcs8 = key.to_pkcs8().map_err(|_| unavailable(&self.name))?;
        let sealed = self.sealing.seal(Purpose::SigningKey, &pkcs8, &[]);
        sealed.map(KeyReference).map_err(|_| unavailable(&self.name))
    }

    /// Seals the key, as one that was made here.
    async fn adopt(&self, key: ForeignKey<'_>) -> Result<KeyReference, KmsError> {
        let refuse = |problem: &str| KmsError::Configuration { uri: self.name.clone(), problem: problem.to_owned() };
        let ForeignKey::Pkcs8(pkcs8) = key else {
            return Err(refuse("keys have no names here: take the key up from its file (`--key FILE`)"));
        };
        SigningKey::from_pkcs8(pkcs8).map_err(|_| {
            refuse("the private key is neither ECDSA P-256 or P-384 nor RSA of 2048 or 4096 bits: make one of these")
        })?;
        let sealed = self.sealing.seal(Purpose::SigningKey, pkcs8, &[]);
        sealed.map(KeyReference).map_err(|_| unavailable(&self.name))
    }

    async fn public_key(&self, key: &KeyReference) -> Result<Vec<u8>, KmsError> {
        Ok(self.opened(key)?.public_key().to_vec())
    }

    async fn sign_digest(&self, key: &KeyReference, digest: &Digest) -> Result<Vec<u8>, KmsError> {
        let key = self.opened(key)?;
        fitting(&self.name, &signet_model::jwk::key_id(key.public_key()), key.algorithm(), digest)?;
        let signature = key.sign(digest).map_err(|_| KmsError::Wrong {
            backend: self.name.clone(),
            problem: "no signature: this machine's memory or processor may be faulty".to_owned(),
        })?;
        verified(&self.name, key.algorithm(), key.public_key(), digest, signature)
    }
}

#[async_trait]
impl Wrapper for Software {
    async fn recipient(&self) -> Result<String, KmsError> {
        Ok(self.recipient.clone())
    }

    async fn wrap(&self, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, KmsError> {
        self.sealing.seal(Purpose::Wrapping, plaintext, context).map_err(|_| unavailable(&self.name))
    }

    async fn unwrap(&self, blob: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let opened = self.sealing.open(Purpose::Wrapping, blob, context);
        opened.map_err(|_| KmsError::Open { backend: self.name.clone(), key: self.recipient.clone() })
    }
}

impl fmt::Debug for Software {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Software({})", self.recipient)
    }
}

fn unavailable(name: &str) -> KmsError {
    KmsError::Unavailable { backend: name.to_owned(), problem: "the system gave no randomness or memory".to_owned() }
}

const MEMORY: &str = "memory";
const FILE: &str = "file";
const MAX_OPENED: usize = 16;

#[cfg(test)]
mod tests;
