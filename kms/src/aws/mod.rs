//! Keys in AWS KMS.
//!
//! Signing keys are asymmetric keys of KMS, which sign digests; secrets are wrapped by one symmetric key of KMS, with
//! their context as its encryption context. What KMS answers is checked before anybody else sees it. With multi-Region
//! keys another region takes over when one does not answer.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_kms::primitives::Blob as Bytes;
use aws_sdk_kms::types::{KeyState, KeyUsageType, MessageType, SigningAlgorithmSpec};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use self::blob::{Blob, DataKey, Form};
use self::failure::Failure;
use self::reference::SigningKey;
use self::regions::{Budget, Regions, Repeat};
use self::uri::{CredentialsFrom, MULTI_REGION, Owner, WrappingKeyName, is_key_id};
use crate::{Algorithm, Digest, KeyReference, KmsError, MAX_CONTEXT_BYTES, Signer, Wrapper};

mod blob;
mod breaker;
mod credentials;
mod failure;
mod keys;
mod ledger;
mod reference;
mod regions;
mod signature;
#[cfg(test)]
mod tests;
mod uri;

pub use self::ledger::{LedgerKey, Stage};
pub use self::signature::fixed_from_der;
pub use self::uri::AwsUri;

/// The AWS KMS backend.
pub struct AwsKms {
    uri: AwsUri,
    name: String,
    regions: Regions,
    /// Found once, if it is named by alias.
    wrapping_key: OnceCell<WrappingKeyName>,
    /// Keys whose public half KMS has confirmed. Bounded, because there are a few only.
    confirmed: Mutex<Vec<String>>,
}

impl AwsKms {
    /// Opens the backend. Nothing is asked of AWS yet, so that a server starts while KMS is away.
    ///
    /// # Errors
    /// [`KmsError::Configuration`]: the credentials file is not as it must be.
    pub fn open(uri: AwsUri) -> Result<Self, KmsError> {
        Self::open_with(uri, Budget::NORMAL)
    }

    fn open_with(uri: AwsUri, budget: Budget) -> Result<Self, KmsError> {
        let name = uri.to_string();
        if let CredentialsFrom::File { path, profile } = &uri.credentials {
            let read = credentials::read(path, profile);
            read.map_err(|problem| KmsError::Configuration { uri: name.clone(), problem })?;
        }
        let wrapping_key = OnceCell::new_with((!uri.key.is_alias()).then(|| uri.key.clone()));
        Ok(Self { regions: Regions::new(&uri, budget), uri, name, wrapping_key, confirmed: Mutex::default() })
    }

    /// The wrapping key, by its id.
    async fn wrapping_key(&self) -> Result<&WrappingKeyName, KmsError> {
        self.wrapping_key.get_or_try_init(|| self.find_wrapping_key()).await
    }

    async fn find_wrapping_key(&self) -> Result<WrappingKeyName, KmsError> {
        let alias = &self.uri.key;
        let describe = async |at: regions::At| {
            let asked = at.client.describe_key().key_id(alias.in_region(&at.region)).send().await;
            asked.map_err(|error| Failure::of(&error))
        };
        let answer = self.regions.call(Repeat::Harmless, describe).await;
        let answer = match answer {
            Err(Failure::Missing) => {
                let name = &alias.name;
                return Err(self.unusable(name, format!(
                    "there is no such alias in this account and region: make a symmetric key (aws kms create-key, with --multi-region for more than one region) and name it (aws kms create-alias --alias-name {name} --target-key-id ID)"
                )));
            }
            other => other.map_err(|failure| self.failed(failure, &alias.name, "DescribeKey"))?,
        };
        let Some(found) = answer.key_metadata.filter(|found| is_key_id(&found.key_id)) else {
            return Err(self.wrong("DescribeKey", &alias.name, "no key"));
        };
        let problem = match (&found.key_usage, &found.key_state) {
            (Some(usage), _) if *usage != KeyUsageType::EncryptDecrypt => {
                "it is no symmetric key for encryption: name one, or another alias"
            }
            (_, Some(KeyState::Disabled)) => "it is disabled: run aws kms enable-key",
            (_, Some(KeyState::PendingDeletion)) => {
                "its deletion is scheduled: run aws kms cancel-key-deletion, then aws kms enable-key"
            }
            _ if self.uri.regions.len() > 1 && !found.key_id.starts_with(MULTI_REGION) => {
                "it is a key of one region, and several are configured: take a multi-Region key, or name one region"
            }
            _ => "",
        };
        if !problem.is_empty() {
            return Err(self.unusable(&format!("{} ({})", alias.name, found.key_id), problem.to_owned()));
        }
        // A key of another account can only be used by its ARN.
        let owner = found.arn.as_deref().and_then(Owner::of_arn).map(|(owner, _, _)| owner);
        let owner = if alias.owner.is_some() { owner } else { None };
        Ok(WrappingKeyName { owner, name: found.key_id })
    }

    /// Has KMS encrypt `plaintext`, which it takes up to 4,096 bytes of.
    async fn encrypt(&self, form: Form, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, KmsError> {
        let key = self.wrapping_key().await?;
        let pairs = blob::encryption_context(form, context);
        let encrypt = async |at: regions::At| {
            let mut request = at.client.encrypt().key_id(key.in_region(&at.region)).plaintext(Bytes::new(plaintext));
            for (name, value) in &pairs {
                request = request.encryption_context(name, value);
            }
            request.send().await.map_err(|error| Failure::of(&error))
        };
        let answer = self.regions.call(Repeat::Harmless, encrypt).await;
        let answer = answer.map_err(|failure| self.failed(failure, &key.name, "Encrypt"))?;
        self.check_key("Encrypt", &key.name, answer.key_id.as_deref())?;
        match answer.ciphertext_blob.map(Bytes::into_inner) {
            Some(ciphertext) if !ciphertext.is_empty() => Ok(ciphertext),
            _ => Err(self.wrong("Encrypt", &key.name, "no ciphertext")),
        }
    }

    async fn decrypt(&self, form: Form, ciphertext: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let key = self.wrapping_key().await?;
        let pairs = blob::encryption_context(form, context);
        let decrypt = async |at: regions::At| {
            let mut request =
                at.client.decrypt().key_id(key.in_region(&at.region)).ciphertext_blob(Bytes::new(ciphertext));
            for (name, value) in &pairs {
                request = request.encryption_context(name, value);
            }
            let answer = request.send().await.map_err(|error| Failure::of(&error))?;
            // The very bytes that the SDK decoded, to be wiped; what it decoded them from is out of reach.
            Ok((answer.key_id, answer.plaintext.map(|bytes| Zeroizing::new(bytes.into_inner()))))
        };
        let answer = self.regions.call(Repeat::Harmless, decrypt).await;
        let (answered, plaintext) = answer.map_err(|failure| self.failed(failure, &key.name, "Decrypt"))?;
        self.check_key("Decrypt", &key.name, answered.as_deref())?;
        plaintext.ok_or_else(|| self.wrong("Decrypt", &key.name, "no plaintext"))
    }

    /// An answer says whose it is, and that must be the key that was asked.
    fn check_key(&self, doing: &str, key: &str, answered: Option<&str>) -> Result<(), KmsError> {
        let id = answered.map(|answered| answered.rsplit('/').next().unwrap_or(answered));
        if id == Some(key) { Ok(()) } else { Err(self.wrong(doing, key, "an answer of another key")) }
    }

    fn signing_key(&self, reference: &KeyReference) -> Result<SigningKey, KmsError> {
        SigningKey::from_reference(reference).ok_or_else(|| {
            self.unusable(
                "of this reference",
                "the reference is damaged, or of another backend or a later version".to_owned(),
            )
        })
    }

    fn is_confirmed(&self, key: &SigningKey) -> bool {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner).contains(&key.id)
    }

    fn confirm(&self, key: &SigningKey) {
        let mut confirmed = self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        if !confirmed.contains(&key.id) {
            if confirmed.len() >= MAX_CONFIRMED {
                confirmed.remove(0);
            }
            confirmed.push(key.id.clone());
        }
    }

    fn failed(&self, failure: Failure, key: &str, doing: &str) -> KmsError {
        failure.into_error(&self.name, key, doing)
    }

    fn unusable(&self, key: &str, problem: String) -> KmsError {
        KmsError::Key { backend: self.name.clone(), key: key.to_owned(), problem }
    }

    fn wrong(&self, doing: &str, key: &str, problem: &str) -> KmsError {
        Failure::Wrong(problem.to_owned()).into_error(&self.name, key, doing)
    }
}

#[async_trait]
impl Signer for AwsKms {
    fn backend(&self) -> &'static str {
        SCHEME
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    async fn create(&self, label: &str, algorithm: Algorithm) -> Result<KeyReference, KmsError> {
        let key = match self.adopt(algorithm).await? {
            Some(adopted) => adopted,
            None => self.make(label, algorithm).await?,
        };
        self.confirm(&key);
        Ok(key.to_reference())
    }

    async fn public_key(&self, key: &KeyReference) -> Result<Vec<u8>, KmsError> {
        let key = self.signing_key(key)?;
        if !self.is_confirmed(&key) {
            let found = self.ask_public_key(&key.id).await?;
            if found != key.public_key {
                let problem =
                    "AWS KMS has another key under this id than the one that was made; is the endpoint the right one?";
                return Err(self.unusable(&key.id, problem.to_owned()));
            }
            self.confirm(&key);
        }
        Ok(key.public_key)
    }

    async fn sign_digest(&self, key: &KeyReference, digest: &Digest) -> Result<Vec<u8>, KmsError> {
        let key = self.signing_key(key)?;
        crate::fitting(&self.name, &key.id, key.algorithm, digest)?;
        let sign = async |at: regions::At| {
            let request = at.client.sign().key_id(&key.id).message_type(MessageType::Digest);
            let request =
                request.message(Bytes::new(digest.as_bytes())).signing_algorithm(signing_algorithm(key.algorithm));
            request.send().await.map_err(|error| Failure::of(&error))
        };
        let answer = self.regions.call(Repeat::Harmless, sign).await;
        let answer = answer.map_err(|failure| self.failed(failure, &key.id, "Sign"))?;
        self.check_key("Sign", &key.id, answer.key_id.as_deref())?;
        let signature = answer.signature.map(Bytes::into_inner).unwrap_or_default();
        let signature = match key.algorithm {
            Algorithm::EcdsaP256 | Algorithm::EcdsaP384 => {
                fixed_from_der(&signature, key.algorithm.signature_bytes() / 2)
                    .ok_or_else(|| self.wrong("Sign", &key.id, "a signature that is not one in DER"))?
            }
            Algorithm::Rsa2048 | Algorithm::Rsa4096 => signature,
        };
        crate::verified(&self.name, key.algorithm, &key.public_key, digest, signature)
    }
}

#[async_trait]
impl Wrapper for AwsKms {
    /// The key's id, which no other key in the world has, and which all regions of a multi-Region key share.
    async fn recipient(&self) -> Result<String, KmsError> {
        Ok(format!("{SCHEME}:{}", self.wrapping_key().await?.name))
    }

    async fn wrap(&self, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, KmsError> {
        if context.len() > MAX_CONTEXT_BYTES {
            let problem = format!("a context of {} bytes; AWS KMS takes {MAX_CONTEXT_BYTES} here", context.len());
            return Err(self.unusable(&self.uri.key.name, problem));
        }
        if blob::fits_directly(plaintext) {
            return Ok(blob::direct(&self.encrypt(Form::Secret, plaintext, context).await?));
        }
        let no_randomness = |_| KmsError::Unavailable {
            backend: self.name.clone(),
            problem: "the system gave no randomness or memory".to_owned(),
        };
        let key = DataKey::random().map_err(no_randomness)?;
        let wrapped = self.encrypt(Form::DataKey, key.as_bytes(), context).await?;
        key.seal(&wrapped, plaintext, context).map_err(no_randomness)
    }

    async fn unwrap(&self, blob: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let closed = || KmsError::Open { backend: self.name.clone(), key: self.uri.key.name.clone() };
        if context.len() > MAX_CONTEXT_BYTES {
            return Err(closed());
        }
        match Blob::parse(blob).ok_or_else(closed)? {
            Blob::Direct { ciphertext } if (1..=MAX_CIPHERTEXT).contains(&ciphertext.len()) => {
                self.decrypt(Form::Secret, ciphertext, context).await
            }
            Blob::Envelope { header, wrapped_key, sealed } if (1..=MAX_CIPHERTEXT).contains(&wrapped_key.len()) => {
                let key = self.decrypt(Form::DataKey, wrapped_key, context).await?;
                let key = DataKey::from_bytes(&key).ok_or_else(closed)?;
                key.open(header, sealed, context).map_err(|_| closed())
            }
            // KMS would refuse the request for its form, and that would look like a fault of ours.
            Blob::Direct { .. } | Blob::Envelope { .. } => Err(closed()),
        }
    }
}

impl fmt::Debug for AwsKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwsKms({})", self.name)
    }
}

fn signing_algorithm(algorithm: Algorithm) -> SigningAlgorithmSpec {
    match algorithm {
        Algorithm::EcdsaP256 => SigningAlgorithmSpec::EcdsaSha256,
        Algorithm::EcdsaP384 => SigningAlgorithmSpec::EcdsaSha384,
        Algorithm::Rsa2048 | Algorithm::Rsa4096 => SigningAlgorithmSpec::RsassaPkcs1V15Sha256,
    }
}

const SCHEME: &str = "awskms";
const MAX_CONFIRMED: usize = 64;
/// What KMS takes for decryption.
const MAX_CIPHERTEXT: usize = 6144;
