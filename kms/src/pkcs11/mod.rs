//! Keys in a hardware security module, or in any other token that PKCS#11 reaches.
//!
//! Signing keys are made in the token and cannot leave it. What is wrapped is encrypted there, by an AES-256 key that was
//! made there once for the whole cluster. The token is reached when it is first needed, so that a server starts while it
//! is away.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zeroize::Zeroizing;

use self::calls::Calls;
use self::failure::Failure;
use self::token::{Attached, OwnSession, Token};
pub use self::uri::Pkcs11Uri;
use crate::{Algorithm, Digest, ForeignKey, KeyReference, KmsError, Signer, Wrapper};

mod calls;
mod failure;
mod mechanisms;
mod module;
mod pin;
mod signing;
mod token;
mod uri;
mod wrapping;

/// The PKCS#11 backend.
#[derive(Debug)]
pub struct Pkcs11 {
    token: Arc<Token>,
    calls: Calls<OwnSession>,
}

impl Pkcs11 {
    /// The token that `uri` names. Nothing is reached yet, and nothing read: that is done by the first call.
    #[must_use]
    pub fn new(uri: Pkcs11Uri) -> Self {
        let calls = Calls::new(module::adrift(&uri));
        Self { token: Arc::new(Token::new(uri)), calls }
    }

    /// Makes the key-encryption key that the URI names, if the token has none of that name; any number of nodes may try
    /// at once. Whether it was made, and the recipient that it is.
    ///
    /// # Errors
    /// [`KmsError::Configuration`], [`KmsError::Key`]: what is wrong with the URI, the PIN or the key that is there.
    /// [`KmsError::Unavailable`]: retry; a key that was made meanwhile is found then.
    pub async fn create_wrapping_key(&self) -> Result<(bool, String), KmsError> {
        self.ask(CREATE_BOUND, wrapping::create).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        bound: Duration,
        question: impl Fn(&Token, &Attached) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, KmsError> {
        let token = Arc::clone(&self.token);
        let answer = self.calls.run(bound, move |own| token.ask(own, |attached| question(&token, attached))).await;
        answer.unwrap_or_else(|no_answer| Err(self.token.unavailable(no_answer.to_string())))
    }
}

#[async_trait]
impl Signer for Pkcs11 {
    fn backend(&self) -> &'static str {
        "pkcs11"
    }

    fn name(&self) -> String {
        self.token.uri.name()
    }

    /// After [`KmsError::Unavailable`] there may be a key in the token that nobody will use.
    async fn create(&self, label: &str, algorithm: Algorithm) -> Result<KeyReference, KmsError> {
        let label = label.to_owned();
        self.ask(CREATE_BOUND, move |token, attached| signing::create(token, attached, &label, algorithm)).await
    }

    /// Finds a key pair by its label. What is in a file belongs into a file: it could be read before it came into the token.
    async fn adopt(&self, key: ForeignKey<'_>) -> Result<KeyReference, KmsError> {
        let ForeignKey::Named(label) = key else {
            let problem = "a private key in a file is not put into the token: do that with the token's own tools, and name it (`--key-label`)";
            return Err(KmsError::Configuration { uri: self.name(), problem: problem.to_owned() });
        };
        let label = label.to_owned();
        self.ask(BOUND, move |token, attached| signing::adopt(token, attached, &label)).await
    }

    async fn public_key(&self, key: &KeyReference) -> Result<Vec<u8>, KmsError> {
        let key = key.clone();
        self.ask(BOUND, move |token, attached| signing::read_public_key(token, attached, &key)).await
    }

    async fn sign_digest(&self, key: &KeyReference, digest: &Digest) -> Result<Vec<u8>, KmsError> {
        let (key, digest) = (key.clone(), *digest);
        self.ask(BOUND, move |token, attached| signing::sign(token, attached, &key, &digest)).await
    }
}

#[async_trait]
impl Wrapper for Pkcs11 {
    async fn recipient(&self) -> Result<String, KmsError> {
        match self.token.recipient.get() {
            Some(known) => Ok(known.clone()),
            None => self.ask(BOUND, wrapping::recipient).await,
        }
    }

    async fn wrap(&self, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, KmsError> {
        let (plaintext, context) = (Zeroizing::new(plaintext.to_vec()), context.to_vec());
        self.ask(BOUND, move |token, attached| wrapping::wrap(token, attached, &plaintext, &context)).await
    }

    async fn unwrap(&self, blob: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let (blob, context) = (blob.to_vec(), context.to_vec());
        self.ask(BOUND, move |token, attached| wrapping::unwrap(token, attached, &blob, &context)).await
    }
}

/// What a call may take, waiting for its turn included. The slowest devices take a second for a signature.
const BOUND: Duration = Duration::from_secs(10);
/// Devices look for the primes of an RSA key for minutes.
const CREATE_BOUND: Duration = Duration::from_secs(180);

#[cfg(test)]
mod tests;
