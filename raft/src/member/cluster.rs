//! Looking at the whole cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::Member;
use crate::disk::DiskState;
use crate::feature;
use crate::peer::{Lane, members_to_wire, proto};
use crate::status::{ClusterStatus, NodeStatus, Role};

impl Member {
    /// Asks every member how it is; `timeout` bounds the whole.
    pub(crate) async fn cluster_status(&self, wait: Duration) -> ClusterStatus {
        let deadline = Instant::now() + wait;
        let roster = self.directory.roster();
        let asked = roster.keys().map(|id| self.reply_of(*id, deadline));
        let (confirmed, replies) = tokio::join!(self.barrier(wait), join_all(asked));
        let local = self.status();
        let replies: BTreeMap<u64, Option<proto::StatusReply>> = roster.keys().copied().zip(replies).collect();
        let leader = local.leader.and_then(|leader| replies.get(&leader)?.clone());
        // What the leader has applied is in force; without it this node's own word must do.
        let here = || replies.get(&self.id).cloned().flatten().unwrap_or_default();
        let known = leader.clone().unwrap_or_else(here);
        let contact = |id: u64| {
            let told = leader.as_ref()?.contacts.iter().find(|contact| contact.node == id);
            told.map(|contact| Duration::from_millis(contact.millis_ago))
        };
        let nodes = roster.iter().map(|(id, node)| {
            let reply = replies.get(id).and_then(Option::as_ref);
            let applied = reply.map(|reply| reply.applied_end.saturating_sub(1));
            NodeStatus {
                id: *id,
                role: reply.map_or(Role::Unreachable, |reply| role_named(&reply.role)),
                applied,
                lag: leader.as_ref().zip(applied).map(|(leader, applied)| leader.last_log.saturating_sub(applied)),
                version: reply.map(|reply| reply.version.clone()),
                disk: reply.and_then(|reply| DiskState::named(&reply.disk)),
                supports: reply.map(|reply| reply.feature_level.max(feature::FIRST)),
                address: node.address.clone(),
                voter: known.voters.contains(id),
                last_contact: contact(*id),
                draining: reply.is_some_and(|reply| reply.draining),
                clock_ahead_millis: reply.and_then(|reply| reply.clock_ahead_millis),
            }
        });
        ClusterStatus {
            confirmed: confirmed.is_ok(),
            leader: local.leader,
            term: local.term,
            membership: known.membership,
            nodes: nodes.collect(),
        }
    }

    /// What a member says of itself, if it says anything.
    async fn reply_of(&self, id: u64, deadline: Instant) -> Option<proto::StatusReply> {
        if id == self.id {
            return Some(self.status_reply());
        }
        let patience = deadline.min(Instant::now() + STATUS_WAIT);
        timeout_at(patience, self.status_of(id)).await.ok()
    }

    /// What this node says of itself.
    pub(crate) fn status_reply(&self) -> proto::StatusReply {
        // The end first: the roster may then be newer than it says, never older.
        let applied_end = self.state.view().end();
        let status = self.status();
        let membership = self.state.position().membership;
        let contact =
            |(node, ago): (u64, Duration)| proto::Contact { node, millis_ago: ago.as_millis().try_into().unwrap_or(0) };
        let mut contacts: Vec<_> = self.contacts().into_iter().map(contact).collect();
        if status.role == Role::Leader {
            contacts.push(proto::Contact { node: self.id, millis_ago: 0 });
        }
        proto::StatusReply {
            role: status.role.as_str().to_owned(),
            term: status.term,
            leader: status.leader.unwrap_or(0),
            applied_end,
            last_log: status.last_log,
            version: self.version.clone(),
            members: members_to_wire(&self.directory.roster()),
            unfit: self.unfit().map(|why| why.to_string()).unwrap_or_default(),
            draining: status.draining,
            clock_ahead_millis: status.clock_ahead_millis,
            membership: membership.log_id().map_or(0, |id| id.index),
            voters: membership.membership().voter_ids().collect(),
            contacts,
            moved: members_to_wire(&self.directory.moved()),
            disk: self.disk.state().as_str().to_owned(),
            clock_millis: self.clocks.own().millis(),
            feature_level: self.state.known_level(),
        }
    }

    /// What `id` says of itself, asked until it answers. A connection that is being made anew, or that was made before
    /// the other side knew this node, fails at first.
    pub(crate) async fn status_of(&self, id: u64) -> proto::StatusReply {
        loop {
            if let Some(mut client) = self.links.connected(id, Lane::Calls, STATUS_WAIT).await {
                let request =
                    proto::StatusRequest { envelope: Some(self.directory.envelope(id)), address: String::new() };
                if let Ok(reply) = client.status(request).await {
                    return reply.into_inner();
                }
            }
            tokio::time::sleep(STATUS_RETRY).await;
        }
    }
}

fn role_named(name: &str) -> Role {
    ROLES.into_iter().find(|role| role.as_str() == name).unwrap_or(Role::Unreachable)
}

const ROLES: [Role; 4] = [Role::Leader, Role::Follower, Role::Candidate, Role::Learner];
/// A member that takes longer than this is told unreachable.
const STATUS_WAIT: Duration = Duration::from_secs(2);
const STATUS_RETRY: Duration = Duration::from_millis(20);
