//! Keys that sign: in this node's memory, in a key backend that makes every signature, or in other nodes.
//!
//! Who asks for a signature of a backend waits for it, so the waiting is bounded: in time, and in how many wait.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use signet_kms::issuing::IssuingKey;
use signet_kms::{Algorithm, KeyReference, KmsError};
use signet_model::algorithm::KeyAlgorithm;
use signet_model::authority::{Authority, StoredKey};
use signet_model::jwk::key_id;
use signet_model::refusal::{Reason, Refusal};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::backends::Backends;
use super::lending::LentKey;

/// A key that signs.
#[derive(Debug)]
pub(crate) enum SigningKey {
    Memory(IssuingKey),
    Backend(BackendKey),
    Lent(LentKey),
}

/// A key that never leaves its backend.
pub(crate) struct BackendKey {
    backends: Arc<Backends>,
    queue: Arc<Queue>,
    /// Whose backend it is in.
    recipient: String,
    reference: KeyReference,
    algorithm: KeyAlgorithm,
    kind: Algorithm,
    /// `SubjectPublicKeyInfo`, DER.
    public_key: Vec<u8>,
}

/// Who waits for signatures of backends at this node.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Those that wait or are served.
    admitted: Semaphore,
    served: Semaphore,
    turn_within: Duration,
}

/// A turn of one who waited.
pub(crate) struct Turn<'q> {
    _admitted: SemaphorePermit<'q>,
    _served: SemaphorePermit<'q>,
}

impl Queue {
    pub(crate) fn new() -> Arc<Self> {
        Self::of(AT_ONCE, WAITING, TURN_WITHIN)
    }

    fn of(at_once: usize, waiting: usize, turn_within: Duration) -> Arc<Self> {
        let (admitted, served) = (Semaphore::new(at_once + waiting), Semaphore::new(at_once));
        Arc::new(Self { admitted, served, turn_within })
    }

    /// Waits for a turn, for as long as it is held.
    ///
    /// # Errors
    /// [`Reason::ResourceExhausted`] while too many wait already, or the turn did not come in time.
    pub(crate) async fn turn(&self) -> Result<Turn<'_>, Refusal> {
        let admitted = self.admitted.try_acquire().map_err(|_| busy())?;
        let served = timeout(self.turn_within, self.served.acquire()).await;
        Ok(Turn { _admitted: admitted, _served: served.ok().and_then(Result::ok).ok_or_else(busy)? })
    }
}

impl SigningKey {
    /// What it is.
    pub(crate) const fn algorithm(&self) -> KeyAlgorithm {
        match self {
            Self::Memory(key) => key.algorithm(),
            Self::Backend(key) => key.algorithm,
            Self::Lent(key) => key.algorithm(),
        }
    }
}

impl BackendKey {
    /// Takes up the key of `authority`, once its backend has shown that this node may sign with it.
    ///
    /// # Errors
    /// The key is not there, is another one, or this node may not use it.
    pub(crate) async fn take_up(
        backends: &Arc<Backends>,
        queue: &Arc<Queue>,
        authority: &Authority,
    ) -> Result<Self, String> {
        let StoredKey::InBackend { reference, .. } = &authority.key else {
            return Err("is stored as a wrapped key, not as a key of a backend".to_owned());
        };
        let unknown = || "is of a kind that no key backend makes: a newer Signet made it; upgrade this node".to_owned();
        let algorithm = authority.algorithm().ok_or_else(unknown)?;
        let home = backends.of_key(authority).map_err(|refusal| refusal.detail)?;
        let key = Self {
            backends: backends.clone(),
            queue: queue.clone(),
            recipient: home.recipient.clone(),
            reference: KeyReference(reference.clone()),
            algorithm,
            kind: Algorithm::try_from(algorithm).map_err(|cause| cause.to_string())?,
            public_key: authority.public_key.clone(),
        };
        key.sign(SELF_TEST).await.map_err(|refusal| refusal.detail)?;
        Ok(key)
    }

    /// Signs `message`. The signature was held against the public key. Waits for one call of the backend, and for its
    /// turn: some seconds at most.
    ///
    /// # Errors
    /// [`Reason::ResourceExhausted`] while too many wait already, or the turn did not come in time; [`Reason::Sealed`]
    /// while the backend does not answer; [`Reason::Internal`] for a wrong answer.
    pub(crate) async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let _turn = self.queue.turn().await?;
        let opened = self.backends.of(&self.recipient).map_err(|refusal| self.away(&refusal.detail))?;
        let digest = self.kind.digest(message);
        let signed = timeout(ANSWER_WITHIN, opened.backend().sign_digest(&self.reference, &digest)).await;
        let signature = signed
            .map_err(|_| self.away(&format!("it did not answer within {ANSWER_WITHIN:?}")))?
            .map_err(|cause| self.failed(&cause))?;
        // The backend held it against the key that it has; this is the key that everybody else knows.
        if self.kind.verifies(&self.public_key, &digest, &signature) {
            return Ok(signature);
        }
        Err(self.wrong("it signed with another key than the one that was asked for"))
    }

    fn failed(&self, cause: &KmsError) -> Refusal {
        match cause {
            KmsError::Wrong { .. } => self.wrong(&cause.to_string()),
            KmsError::Unavailable { .. }
            | KmsError::Configuration { .. }
            | KmsError::Key { .. }
            | KmsError::Open { .. } => self.away(&cause.to_string()),
        }
    }

    fn away(&self, problem: &str) -> Refusal {
        tracing::debug!(key = %key_id(&self.public_key), recipient = %self.recipient, "no signature: {problem}");
        let detail = format!(
            "the key backend of {} makes every signature of this kind, and gave none: {problem}; ask another node or retry",
            self.recipient
        );
        Refusal::new(Reason::Sealed, detail)
    }

    fn wrong(&self, problem: &str) -> Refusal {
        tracing::error!(
            key = %key_id(&self.public_key), recipient = %self.recipient,
            "a key backend gave a wrong signature, which was not released: {problem}; take this node out of service until the backend has been checked"
        );
        Refusal::new(Reason::Internal, "the signature could not be made; ask another node")
    }
}

impl fmt::Debug for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackendKey({} {} in {})", self.algorithm, key_id(&self.public_key), self.recipient)
    }
}

fn busy() -> Refusal {
    let detail = format!(
        "more signatures are asked for than are made outside this node's memory: {AT_ONCE} at a time, and {WAITING} that wait for {TURN_WITHIN:?} at most; retry after a pause, or ask another node"
    );
    Refusal::new(Reason::ResourceExhausted, detail)
}

/// Begins with bytes that neither a certificate nor a JWS begins with, so that the signature can serve for neither.
const SELF_TEST: &[u8] = b"\0signet self test of a key in a backend";
/// A KMS some 20 ms away makes 800 signatures a second so, which is near what an account may ask of it.
const AT_ONCE: usize = 16;
/// About what is served while one waits as long as it may.
const WAITING: usize = 256;
const TURN_WITHIN: Duration = Duration::from_secs(2);
/// Longer than a KMS takes that works at all, shorter than callers wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
