//! How a registered newcomer becomes a voter: first a learner, and a voter when it has caught up.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use tokio::time::{Instant, sleep_until, timeout};

use super::Member;
use crate::peer::{Lane, proto};

/// How far a promotion has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Promotion {
    /// The node votes.
    Voter,
    /// Not yet; why.
    NotYet(String),
}

impl Member {
    /// As the leader: brings `node` as far as it goes within some seconds. Harmless to repeat.
    pub(crate) async fn promote_here(&self, node: u64) -> Promotion {
        let Ok(_one) = timeout(PATIENCE, self.changing.lock()).await else {
            return Promotion::NotYet("another change of the membership is under way".into());
        };
        match self.try_promote(node).await {
            Ok(promotion) => promotion,
            Err(cause) => Promotion::NotYet(cause),
        }
    }

    async fn try_promote(&self, node: u64) -> Result<Promotion, String> {
        let metrics = self.raft.metrics();
        let membership = metrics.borrow_watched().membership_config.clone();
        if membership.get_joint_config().len() == 1 && membership.voter_ids().any(|id| id == node) {
            return Ok(Promotion::Voter);
        }
        if membership.get_node(&node).is_none() {
            let peer = self.directory.peer(node).ok_or("the node is not registered")?;
            self.raft.add_learner(node, peer, false).await.map_err(|cause| cause.to_string())?;
        }
        self.caught_up(node).await?;
        let voters = ChangeMembers::AddVoterIds(BTreeSet::from([node]));
        self.raft.change_membership(voters, true).await.map_err(|cause| cause.to_string())?;
        Ok(Promotion::Voter)
    }

    /// Waits until the node has nearly all of the log.
    async fn caught_up(&self, node: u64) -> Result<(), String> {
        let metrics = self.raft.metrics();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let behind = {
                let now = metrics.borrow_watched();
                let matched = now.replication.as_ref().ok_or("this node does not lead")?.get(&node).cloned().flatten();
                let last = now.last_log_index.unwrap_or(0);
                matched.map_or(last + 1, |id| last.saturating_sub(id.index))
            };
            if behind <= NEARLY {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(format!("it is {behind} log entries behind"));
            }
            sleep_until(Instant::now() + Duration::from_millis(10)).await;
        }
    }

    /// Asks the leader to make this node a voter.
    pub(crate) async fn ask_for_promotion(&self) -> Promotion {
        // A newcomer hears from the leader only once it is a learner, so it asks around.
        let mut asked: Vec<u64> = self.leadership.borrow().leader.into_iter().collect();
        asked.extend(self.directory.roster().keys().copied());
        let mut last = Promotion::NotYet("no member could be reached".into());
        for peer in asked.into_iter().filter(|peer| *peer != self.id) {
            let Some(mut client) = self.links.connected(peer, Lane::Calls, CONNECT).await else { continue };
            let request = proto::PromoteRequest { envelope: Some(self.directory.envelope(peer)), node: self.id };
            match timeout(PATIENCE * 3, client.promote(request)).await {
                Ok(Ok(reply)) => {
                    let reply = reply.into_inner();
                    if reply.voter {
                        return Promotion::Voter;
                    }
                    last = Promotion::NotYet(reply.detail);
                }
                Ok(Err(status)) => last = Promotion::NotYet(status.message().to_owned()),
                Err(_) => last = Promotion::NotYet(format!("node {peer} did not answer in time")),
            }
        }
        last
    }
}

const PATIENCE: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_millis(500);
/// So few entries behind, a newcomer does not hold up the commits it will take part in.
const NEARLY: u64 = 256;
