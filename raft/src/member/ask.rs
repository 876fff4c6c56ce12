//! Questions between members in which raft has no part.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tonic::Code;

use super::Member;
use crate::peer::{Lane, proto};

/// Answers what other members ask.
#[async_trait::async_trait]
pub trait Answers: Send + Sync + 'static {
    /// Answers the member `from`, which has proven that it is one. Runs on raft's threads: what takes longer than a moment
    /// belongs on others. When the asker has stopped waiting, it is dropped.
    ///
    /// # Errors
    /// Why there is no answer, for the asker's log.
    async fn answer(&self, from: u64, question: Bytes) -> Result<Bytes, String>;
}

/// Knows nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoAnswers;

#[async_trait::async_trait]
impl Answers for NoAnswers {
    async fn answer(&self, _: u64, _: Bytes) -> Result<Bytes, String> {
        Err("this node answers no questions".to_owned())
    }
}

/// A question has no answer. Another member may be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// This node belongs to no cluster.
    #[error("this node belongs to no cluster yet")]
    NotMember,
    /// It is not connected, or did not answer in time. It may have acted.
    #[error("node {node} does not answer")]
    Unreachable {
        /// Who was asked.
        node: u64,
    },
    /// It has no answer.
    #[error("node {node} has no answer: {detail}")]
    Refused {
        /// Who was asked.
        node: u64,
        /// Why.
        detail: String,
    },
}

impl Member {
    /// What `node` answers to `question`.
    pub(crate) async fn ask(&self, node: u64, question: Bytes, wait: Duration) -> Result<Bytes, AskError> {
        use proto::ask_reply::Outcome;

        let unreachable = AskError::Unreachable { node };
        let Some(mut client) = self.links.client(node, Lane::Calls) else { return Err(unreachable) };
        let request = proto::AskRequest { envelope: Some(self.directory.envelope(node)), question };
        let reply = match timeout(wait, client.ask(request)).await {
            Ok(Ok(reply)) => reply.into_inner(),
            Ok(Err(status)) if status.code() == Code::Unimplemented => {
                return Err(AskError::Refused { node, detail: "its program is older".to_owned() });
            }
            Ok(Err(_)) | Err(_) => return Err(unreachable),
        };
        match reply.outcome {
            Some(Outcome::Answer(answer)) => Ok(answer),
            Some(Outcome::Refusal(detail)) => Err(AskError::Refused { node, detail }),
            None => Err(AskError::Refused { node, detail: "its program is newer".to_owned() }),
        }
    }

    /// Voters that were heard of lately, as far as this node can tell, the leader first; not this node.
    pub(crate) fn others(&self) -> Vec<u64> {
        let status = self.status();
        let (me, leader) = (Some(self.id), status.leader);
        let connected = |id: &u64| self.links.client(*id, Lane::Calls).is_some();
        let voters = status.peers.iter().filter(|peer| peer.voter && Some(peer.id) != me).map(|peer| peer.id);
        let mut others: Vec<u64> = voters.filter(connected).collect();
        others.sort_by_key(|id| Some(*id) != leader);
        others
    }
}
