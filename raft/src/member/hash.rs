//! Comparing the members' logs: the running hash at one index, as each of them has it.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::Member;
use crate::blocking::blocking;
use crate::error::BarrierError;
use crate::log::Chain;
use crate::peer::{Lane, proto};
use crate::status::ClusterHash;

impl Member {
    /// The hash at `index`, if this node's log holds it and its state has applied it, with how far that goes.
    pub(crate) async fn hash_here(&self, index: Option<u64>) -> proto::HashReply {
        let applied_end = self.state.view().end();
        let index = index.filter(|index| *index < applied_end);
        let log = self.log_peek.clone();
        // A log that an older program wrote is counted through from its beginning.
        let hash = blocking(move || Ok(index.and_then(|index| log.chain_at(index))));
        let hash: Option<Chain> = hash.await.ok().flatten();
        proto::HashReply { applied_end, hash: hash.map(|hash| hash.0.to_vec().into()).unwrap_or_default() }
    }

    /// Asks every member for the hash at `index`, or else at the last one that all have applied who are not far behind.
    pub(crate) async fn cluster_hash(&self, index: Option<u64>, wait: Duration) -> Result<ClusterHash, BarrierError> {
        let deadline = Instant::now() + wait;
        let index = match index {
            Some(index) => index,
            None => {
                // Half of the time at most for finding the index: a member that is down must not use it all up.
                let told = self.ask_hashes(None, Instant::now() + wait / 2).await;
                // Who is so far behind that the others have purged what it holds has nothing to compare.
                let begin = self.log_peek.chain_begin().unwrap_or(0);
                let ends = told.iter().filter_map(|(_, reply)| Some(reply.as_ref()?.applied_end));
                ends.filter(|end| *end > begin).min().and_then(|end| end.checked_sub(1)).ok_or(BarrierError::Behind)?
            }
        };
        let told = self.ask_hashes(Some(index), deadline).await;
        let hash = |reply: Option<proto::HashReply>| reply.and_then(|reply| reply.hash.as_ref().try_into().ok());
        Ok(ClusterHash::new(index, told.into_iter().map(|(id, reply)| (id, hash(reply))).collect()))
    }

    async fn ask_hashes(&self, index: Option<u64>, deadline: Instant) -> Vec<(u64, Option<proto::HashReply>)> {
        let roster = self.directory.roster();
        join_all(roster.keys().map(|id| async move { (*id, self.ask_hash(*id, index, deadline).await) })).await
    }

    async fn ask_hash(&self, id: u64, index: Option<u64>, deadline: Instant) -> Option<proto::HashReply> {
        if id == self.id {
            return Some(self.hash_here(index).await);
        }
        let asked = async {
            loop {
                if let Some(mut client) = self.links.connected(id, Lane::Calls, RETRY).await {
                    let request = proto::HashRequest { envelope: Some(self.directory.envelope(id)), index };
                    if let Ok(reply) = client.hash(request).await {
                        return reply.into_inner();
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        timeout_at(deadline, asked).await.ok()
    }
}

const RETRY: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);
