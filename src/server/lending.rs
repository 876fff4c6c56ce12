//! Signatures by other nodes: a node that is sealed for a key has one that is not sign in its place.
//!
//! Every member holds the same keys, so a member may have signed what it could sign itself if its key backend answered.
//! It decides, keeps the record and releases as ever, under its own lease; only the signature comes from elsewhere.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use minicbor::{Decode, Encode};
use signet_kms::issuing::Verifier;
use signet_model::algorithm::KeyAlgorithm;
use signet_model::authority::{Authority, KeyId};
use signet_model::refusal::{Reason, Refusal};
use signet_model::stored::{from_bytes, to_bytes};
use signet_raft::{Answers, AskError, Node};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::keyring::Keys;
use super::signing::{Queue, SigningKey};

/// The members that may be asked, once this node is one.
pub(crate) type Members = Arc<OnceLock<Node>>;

/// What one node asks another. Sent form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
enum Question {
    /// A signature.
    #[n(0)]
    Sign {
        /// By which key.
        #[n(0)]
        id: KeyId,
        /// Of what.
        #[cbor(n(1), with = "minicbor::bytes")]
        message: Vec<u8>,
    },
}

/// A key that other nodes have and this one has not.
pub(crate) struct LentKey {
    members: Members,
    queue: Arc<Queue>,
    id: KeyId,
    verifier: Verifier,
}

impl LentKey {
    /// A stand-in for the key of `authority`; `None` if its public key is of an unknown kind.
    pub(crate) fn of(authority: &Authority, members: &Members, queue: &Arc<Queue>) -> Option<Self> {
        let verifier = Verifier::new(&authority.public_key)?;
        Some(Self { members: members.clone(), queue: queue.clone(), id: authority.id.clone(), verifier })
    }

    /// What it is.
    pub(crate) const fn algorithm(&self) -> KeyAlgorithm {
        self.verifier.algorithm()
    }

    /// Has another node sign `message`, and checks the signature. Waits for its turn and for an answer: some seconds at
    /// most.
    ///
    /// # Errors
    /// [`Reason::ResourceExhausted`] while too many wait already; [`Reason::Sealed`] if no other node signs.
    pub(crate) async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Refusal> {
        let _turn = self.queue.turn().await?;
        let Some(node) = self.members.get() else { return Err(self.sealed(&[])) };
        let question = Bytes::from(to_bytes(&Question::Sign { id: self.id.clone(), message: message.to_vec() }));
        let deadline = Instant::now() + ANSWER_WITHIN;
        let mut problems = Vec::new();
        for other in node.others() {
            let asked = timeout_at(deadline, node.ask(other, question.clone(), EACH)).await;
            match asked.unwrap_or(Err(AskError::Unreachable { node: other })) {
                Ok(signature) if self.verifier.verifies(message, &signature) => return Ok(signature.to_vec()),
                Ok(_) => {
                    tracing::error!(key = %self.id, node = other, "another node gave a wrong signature, which was not released: its memory or processor may be faulty; take it out of service");
                    problems.push(format!("node {other} signed wrongly"));
                }
                Err(problem) => problems.push(problem.to_string()),
            }
        }
        Err(self.sealed(&problems))
    }

    fn sealed(&self, problems: &[String]) -> Refusal {
        let why = if problems.is_empty() { "no other is connected".to_owned() } else { problems.join("; ") };
        let detail = format!(
            "this node is sealed for the key {} that would sign, and no other node signs for it ({why}); see its log and keys.backend, and ask another node",
            self.id
        );
        Refusal::new(Reason::Sealed, detail)
    }
}

impl fmt::Debug for LentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LentKey({} {})", self.algorithm(), self.id)
    }
}

/// Signs for members that are sealed.
pub(crate) struct Lender {
    keys: Weak<Keys>,
    /// Where signatures are made: not on raft's threads.
    runtime: Handle,
}

impl Lender {
    /// With `keys`. To be called on the runtime that is to sign.
    pub(crate) fn new(keys: &Arc<Keys>) -> Arc<Self> {
        Arc::new(Self { keys: Arc::downgrade(keys), runtime: Handle::current() })
    }
}

#[async_trait::async_trait]
impl Answers for Lender {
    async fn answer(&self, from: u64, question: Bytes) -> Result<Bytes, String> {
        let Question::Sign { id, message } =
            from_bytes(&question).map_err(|_| "it does not know what was asked: its program is older".to_owned())?;
        let keys = self.keys.upgrade().ok_or("it stops")?;
        let signing = self.runtime.spawn(async move {
            let key = keys.own(&id).ok_or_else(|| format!("it has no key {id} that signs now, either"))?;
            tracing::debug!(node = from, key = %id, "signing for a node that is sealed");
            let signed = match key.key() {
                SigningKey::Memory(key) => key.sign(&message).map_err(|cause| cause.to_string()),
                SigningKey::Backend(key) => key.sign(&message).await.map_err(|refusal| refusal.detail),
                SigningKey::Lent(_) => Err("it is sealed too".to_owned()),
            };
            signed.map(Bytes::from)
        });
        signing.await.map_err(|_| "it stops".to_owned())?
    }
}

/// One node; then the next is asked.
const EACH: Duration = Duration::from_millis(1500);
/// Shorter than callers wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_sent_in_a_form_that_stays() {
        let question = Question::Sign { id: "k".to_owned(), message: vec![1, 2] };
        let sent = to_bytes(&question);
        assert_eq!(sent, [0x82, 0, 0x82, 0x61, b'k', 0x42, 1, 2]);
        assert_eq!(from_bytes::<Question>(&sent).unwrap(), question);
    }
}
