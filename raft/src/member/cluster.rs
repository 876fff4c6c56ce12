//! Looking at the whole cluster, and leaving it in good order.

use std::time::Duration;

use futures::future::join_all;
use openraft::async_runtime::WatchReceiver;
use tokio::time::{Instant, timeout, timeout_at};

use super::Member;
use crate::disk::DiskState;
use crate::peer::{Lane, proto};
use crate::status::{ClusterStatus, NodeStatus, Role};

impl Member {
    /// Asks every member how it is; `timeout` bounds the whole.
    pub(crate) async fn cluster_status(&self, wait: Duration) -> ClusterStatus {
        let deadline = Instant::now() + wait;
        let roster = self.directory.roster();
        let asked = roster.iter().map(|(id, node)| self.ask_status(*id, node.address.clone(), deadline));
        let (confirmed, mut nodes) = tokio::join!(self.barrier(wait), join_all(asked));
        let local = self.status();
        let leader_log = nodes.iter().find(|(status, _)| Some(status.id) == local.leader).and_then(|(_, log)| *log);
        for (status, _) in &mut nodes {
            status.lag = leader_log.zip(status.applied).map(|(log, applied)| log.saturating_sub(applied));
        }
        ClusterStatus {
            confirmed: confirmed.is_ok(),
            leader: local.leader,
            term: local.term,
            nodes: nodes.into_iter().map(|(status, _)| status).collect(),
        }
    }

    /// A member's status and the end of its log.
    async fn ask_status(&self, id: u64, address: String, deadline: Instant) -> (NodeStatus, Option<u64>) {
        let unreachable =
            NodeStatus { id, role: Role::Unreachable, applied: None, lag: None, version: None, disk: None, address };
        if id == self.id {
            let here = self.status();
            let version = Some(self.version.clone());
            let disk = Some(self.disk.state());
            let status = NodeStatus { role: here.role, applied: Some(here.applied), version, disk, ..unreachable };
            return (status, Some(here.last_log));
        }
        let patience = deadline.min(Instant::now() + STATUS_WAIT);
        let Ok(reply) = timeout_at(patience, self.status_of(id)).await else { return (unreachable, None) };
        let role = ROLES.into_iter().find(|role| role.as_str() == reply.role).unwrap_or(Role::Unreachable);
        let applied = Some(reply.applied_end.saturating_sub(1));
        let disk = DiskState::named(&reply.disk);
        (NodeStatus { role, applied, version: Some(reply.version), disk, ..unreachable }, Some(reply.last_log))
    }

    /// What `id` says of itself, asked until it answers. A connection that is being made anew, or that was made before
    /// the other side knew this node, fails at first.
    pub(super) async fn status_of(&self, id: u64) -> proto::StatusReply {
        loop {
            if let Some(mut client) = self.links.connected(id, Lane::Calls, STATUS_WAIT).await {
                let request = proto::StatusRequest { envelope: Some(self.directory.envelope(id)) };
                if let Ok(reply) = client.status(request).await {
                    return reply.into_inner();
                }
            }
            tokio::time::sleep(STATUS_RETRY).await;
        }
    }

    /// If this node leads, lets the voter that has most of the log take over, and waits until it does.
    pub(crate) async fn hand_over(&self, wait: Duration) {
        let mut leadership = self.leadership();
        if leadership.borrow().leader != Some(self.id) {
            return;
        }
        let target = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let voters: Vec<u64> = metrics.membership_config.voter_ids().filter(|id| *id != self.id).collect();
            let matched = metrics.replication.iter().flatten().filter(|(id, _)| voters.contains(id));
            matched.max_by_key(|(_, upto)| upto.map(|id| id.index)).map(|(id, _)| *id)
        };
        let Some(target) = target else { return };
        if self.raft.trigger().transfer_leader(target).await.is_err() {
            return;
        }
        let another = |now: &super::Leadership| now.leader.is_some_and(|leader| leader != self.id);
        if timeout(wait.min(HAND_OVER), leadership.wait_for(another)).await.is_err() {
            tracing::warn!(node = self.id, target, "no other node took the leadership in time");
        }
    }
}

const ROLES: [Role; 4] = [Role::Leader, Role::Follower, Role::Candidate, Role::Learner];
/// A member that takes longer than this is told unreachable.
const STATUS_WAIT: Duration = Duration::from_secs(2);
const STATUS_RETRY: Duration = Duration::from_millis(20);
const HAND_OVER: Duration = Duration::from_secs(2);
