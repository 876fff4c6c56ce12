//! How a registered newcomer becomes a voter: first a learner, and a voter when it has caught up and stays in touch.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use tokio::time::{Instant, sleep, timeout};

use super::Member;
use super::change::Turn;
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
            Err(Turn::NotLeader(_)) => Promotion::NotYet("this node does not lead".into()),
            Err(Turn::Refused(why)) => Promotion::NotYet(why.to_string()),
        }
    }

    async fn try_promote(&self, node: u64) -> Result<Promotion, Turn> {
        let base = self.base().await?;
        let (mut at, membership) = (*base.log_id(), base.membership());
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        if voters.contains(&node) {
            return Ok(Promotion::Voter);
        }
        if membership.get_node(&node).is_none() {
            let Some(peer) = self.directory.peer(node) else {
                return Ok(Promotion::NotYet("the node is not registered".into()));
            };
            at = Some(self.write(ChangeMembers::AddNodes([(node, peer)].into()), true, at).await?);
        }
        if let Err(why) = self.steady(node).await {
            return Ok(Promotion::NotYet(why));
        }
        let after = voters.iter().copied().chain([node]).collect();
        self.judged(&voters, &after, false).await.map_err(Turn::Refused)?;
        self.write(ChangeMembers::AddVoterIds(BTreeSet::from([node])), true, at).await?;
        Ok(Promotion::Voter)
    }

    /// Waits until the node has nearly all of the log, answers, and has done both for a while.
    pub(super) async fn steady(&self, node: u64) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let mut since = None;
        loop {
            let shortcoming = self.shortcoming(node)?;
            match (&shortcoming, since) {
                (Some(_), _) => since = None,
                (None, None) => since = Some(Instant::now()),
                (None, Some(since)) if since.elapsed() >= self.stabilisation => return Ok(()),
                (None, Some(_)) => {}
            }
            if Instant::now() >= deadline {
                return Err(shortcoming.unwrap_or_else(|| "it has not been in touch for long enough".into()));
            }
            sleep(LOOK).await;
        }
    }

    /// What `node` lacks to be a voter.
    fn shortcoming(&self, node: u64) -> Result<Option<String>, String> {
        let behind = {
            let metrics = self.raft.metrics();
            let now = metrics.borrow_watched();
            let matched = now.replication.as_ref().ok_or("this node does not lead")?.get(&node).cloned().flatten();
            let last = now.last_log_index.unwrap_or(0);
            matched.map_or(last + 1, |id| last.saturating_sub(id.index))
        };
        if behind > NEARLY {
            return Ok(Some(format!("it is {behind} log entries behind")));
        }
        Ok((!self.answering().contains(&node)).then(|| "it does not answer".to_owned()))
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
const LOOK: Duration = Duration::from_millis(10);
/// So few entries behind, a newcomer does not hold up the commits it will take part in.
const NEARLY: u64 = 256;
