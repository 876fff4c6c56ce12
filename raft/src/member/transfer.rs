//! Leadership goes to another voter: because an operator asks, because this node should not lead, or because it stops.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Leadership, Member};
use crate::membership::ChangeError;

/// Why leadership did not move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotMoved {
    /// This node does not lead. The leader it knows.
    NotLeader(Option<u64>),
    /// It stays where it is; nothing was tried.
    Refused(ChangeError),
    /// It was tried, at the cost of a moment without a leader.
    Failed(ChangeError),
}

impl Member {
    /// As the leader: lets `to`, or the fittest voter, take over, and waits until someone else leads.
    pub(crate) async fn move_leadership(&self, to: Option<u64>, wait: Duration) -> Result<u64, NotMoved> {
        let mut leadership = self.leadership();
        let now = *leadership.borrow_and_update();
        match now.leader {
            Some(leader) if leader == self.id => {}
            leader => return Err(NotMoved::NotLeader(leader)),
        }
        if to == Some(self.id) {
            return Ok(self.id);
        }
        let target = self.successor(to).await.map_err(NotMoved::Refused)?;
        if self.raft.trigger().transfer_leader(target).await.is_err() {
            return Err(NotMoved::Refused(ChangeError::ShuttingDown));
        }
        let deadline = Instant::now() + wait.min(HAND_OVER);
        let another = |now: &Leadership| now.leader.is_some_and(|leader| leader != self.id);
        loop {
            let patience = deadline.min(Instant::now() + LOOK);
            if let Ok(Ok(now)) = timeout_at(patience, leadership.wait_for(another)).await {
                return Ok(now.leader.unwrap_or(target));
            }
            // A target that has begun to stop, too, will not take over.
            let stopping = timeout_at(deadline, self.objection(target)).await;
            if Instant::now() >= deadline || stopping.is_ok_and(|why| why.is_some()) {
                let detail = format!("node {target} did not take the leadership in time; see its log");
                return Err(NotMoved::Failed(ChangeError::NotHealthy { detail }));
            }
        }
    }

    /// If this node leads, lets the voter that has most of the log take over, and waits until it does. `false` if that was
    /// tried in vain.
    pub(crate) async fn hand_over(&self, wait: Duration) -> bool {
        match self.move_leadership(None, wait).await {
            Ok(leader) => tracing::info!(node = self.id, leader, "handed leadership over"),
            Err(NotMoved::NotLeader(_)) => {}
            Err(NotMoved::Refused(why)) => tracing::info!(node = self.id, %why, "leadership was not handed over"),
            Err(NotMoved::Failed(why)) => {
                tracing::warn!(node = self.id, %why, "leadership was not handed over");
                return false;
            }
        }
        true
    }

    /// The voter that is to lead next: one that answers, is willing, and has most of the log.
    async fn successor(&self, wanted: Option<u64>) -> Result<u64, ChangeError> {
        let (voters, matched) = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().filter(|id| *id != self.id).collect();
            (voters, metrics.replication.clone().unwrap_or_default())
        };
        let candidates = match wanted {
            Some(node) if !voters.contains(&node) => {
                if self.directory.peer(node).is_none() {
                    return Err(ChangeError::UnknownNode { node });
                }
                let detail = format!("node {node} does not vote, so it cannot lead; promote it first");
                return Err(ChangeError::NotHealthy { detail });
            }
            Some(node) => BTreeSet::from([node]),
            None => voters,
        };
        let answering = self.answering();
        let asked = candidates.into_iter().map(|node| {
            let silent = !answering.contains(&node);
            async move {
                let why = if silent { Some("it does not answer".to_owned()) } else { self.objection(node).await };
                (node, why)
            }
        });
        let (mut fit, mut objections) = (Vec::new(), Vec::new());
        for (node, objection) in join_all(asked).await {
            match objection {
                None => fit.push((matched.get(&node).cloned().flatten(), node)),
                Some(why) => objections.push(format!("node {node}: {why}")),
            }
        }
        fit.sort_unstable();
        fit.pop().map(|(_, node)| node).ok_or_else(|| {
            let detail = if objections.is_empty() {
                "there is no other voter to lead".to_owned()
            } else {
                format!("no other voter can lead ({})", objections.join("; "))
            };
            ChangeError::NotHealthy { detail }
        })
    }

    /// Why `node` should not lead, by its own word.
    async fn objection(&self, node: u64) -> Option<String> {
        match timeout(ANSWER, self.status_of(node)).await {
            Ok(reply) => Some(reply.unfit).filter(|why| !why.is_empty()),
            Err(_) => Some("it does not answer".to_owned()),
        }
    }

    /// Who has answered this leader lately, itself included.
    pub(crate) fn answering(&self) -> BTreeSet<u64> {
        let contacts = self.contacts();
        let lately = contacts.into_iter().filter(|(_, ago)| *ago <= self.patience);
        lately.map(|(node, _)| node).chain([self.id]).collect()
    }

    /// As the leader: when each other member was last heard.
    pub(crate) fn contacts(&self) -> Vec<(u64, Duration)> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let heard = metrics.heartbeat.iter().flatten().filter_map(|(node, at)| Some((*node, (*at)?.elapsed())));
        heard.filter(|(node, _)| *node != self.id).collect()
    }
}

/// A healthy voter takes over within milliseconds.
const HAND_OVER: Duration = Duration::from_secs(2);
/// Pause between two looks at the one that is to take over.
const LOOK: Duration = Duration::from_millis(200);
const ANSWER: Duration = Duration::from_millis(500);
