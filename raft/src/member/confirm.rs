//! Whether this node still leads, asked of a quorum for one round of reads.
//!
//! openraft's own confirmation counts replies by log id: a late answer to an old append also acknowledges the empty ones
//! after it, whose time of sending is newer. A leader that hears its followers again after a one-way fault could so take
//! an old answer for a new one, and confirm a read that another leader had overtaken. Here each answer belongs to its
//! question.

use std::collections::BTreeSet;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft::async_runtime::WatchReceiver;

use super::Member;
use crate::peer::{Lane, append_result_from_wire, proto};
use crate::types::Vote;

impl Member {
    /// The vote by which this node leads, as far as it knows.
    pub(super) fn own_leadership(&self) -> Option<Vote> {
        let vote = self.raft.server_metrics().borrow_watched().vote;
        (vote.committed && vote.leader_id.node_id == self.id).then_some(vote)
    }

    /// Whether a quorum says, asked after this call began, that it follows `vote`. Then no other node could lead before.
    pub(super) async fn confirmed(&self, vote: Vote) -> bool {
        let membership = self.raft.server_metrics().borrow_watched().membership_config.clone();
        let configs = membership.get_joint_config();
        let others: BTreeSet<u64> = membership.voter_ids().filter(|id| *id != self.id).collect();
        let mut answers: FuturesUnordered<_> = others.into_iter().map(|peer| self.follows(peer, vote)).collect();
        let mut agreed = BTreeSet::from([self.id]);
        let quorum = |agreed: &BTreeSet<u64>| {
            let majority = |config: &BTreeSet<u64>| config.intersection(agreed).count() * 2 > config.len();
            !configs.is_empty() && configs.iter().all(majority)
        };
        while !quorum(&agreed) {
            match answers.next().await {
                Some(Some(peer)) => agreed.insert(peer),
                Some(None) => continue,
                None => return false,
            };
        }
        true
    }

    /// `peer`, if it answers that it follows `vote`. Its raft core answers, so no vote that it gave can be missed.
    async fn follows(&self, peer: u64, vote: Vote) -> Option<u64> {
        let mut client = self.links.client(peer, Lane::Control)?;
        let request = proto::AppendRequest {
            envelope: Some(self.directory.envelope(peer)),
            vote: Some((&vote).into()),
            ..proto::AppendRequest::default()
        };
        let reply = client.heartbeat(request).await.ok()?.into_inner();
        matches!(append_result_from_wire(reply), Ok(Ok(_))).then_some(peer)
    }
}
