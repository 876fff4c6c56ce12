//! The cluster itself: made, joined, looked at.

use std::sync::Arc;
use std::time::Duration;

use signet_api::service::{Call, ClusterStatus, JoinToken, NodeStatus};
use signet_kms::Backend;
use signet_model::refusal::{Reason, Refusal};
use signet_model::state;
use signet_raft::{InitError, Node, Role};

use super::config::TrustDomainConfig;
use super::live::LiveState;
use super::{establish, ledger};
use crate::clock;

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) node: Node,
    pub(crate) live: Arc<LiveState>,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) trust_domain: Option<TrustDomainConfig>,
}

impl Cluster {
    /// Makes a cluster of one and its trust domain. When a former attempt stopped between the two, the second step is
    /// done now.
    pub(crate) async fn init(&self, call: &Call) -> Result<(), Refusal> {
        let config = self.trust_domain.as_ref().ok_or_else(|| {
            Refusal::new(
                Reason::FailedPrecondition,
                "this node's configuration has no [trust_domain] section: add one with name and token_issuer, and start the node again",
            )
        })?;
        match self.node.init().await {
            Ok(_) => {}
            Err(cause @ InitError::AlreadyMember { .. }) => {
                let view = ledger::read(&self.node, call).await?;
                let alone = self.node.local_status().peers.len() <= 1;
                if !alone || state::settings(&view).map_err(ledger::damaged)?.is_some() {
                    return Err(Refusal::new(Reason::AlreadyExists, cause.to_string()));
                }
            }
            Err(cause @ InitError::Joining { .. }) => {
                return Err(Refusal::new(Reason::FailedPrecondition, cause.to_string()));
            }
            Err(cause @ InitError::Failed(_)) => return Err(Refusal::new(Reason::Internal, cause.to_string())),
        }
        let identity = self.node.identity().ok_or_else(super::issue::not_initialized)?;
        let command = establish::command(config, &identity.cluster_id, &*self.backend, clock::now()).await?;
        ledger::propose(&self.node, call, command).await?;
        tracing::info!(cluster = %identity.cluster_id, trust_domain = %config.name, "made a cluster of one and its trust domain");
        Ok(())
    }

    pub(crate) async fn join_token(&self, call: &Call, ttl_secs: u32) -> Result<JoinToken, Refusal> {
        let ttl = match ttl_secs {
            0 => JOIN_TOKEN_TTL,
            secs => Duration::from_secs(secs.into()),
        };
        if ttl > LONGEST_JOIN_TOKEN_TTL {
            return Err(Refusal::invalid("ttl: a join token lives a day at most"));
        }
        let made = self.node.create_join_token(&call.caller, ttl, ledger::timeout(call)).await;
        let made = made.map_err(ledger::not_proposed)?;
        Ok(JoinToken { text: made.text.to_string(), expires_at_secs: made.expires_at.secs() })
    }

    pub(crate) async fn status(&self, timeout: Duration) -> ClusterStatus {
        let identity = self.node.identity();
        let trust_domain = self.live.current().map(|live| live.settings.trust_domain.to_string());
        let seen = self.node.cluster_status(timeout).await;
        ClusterStatus {
            cluster_id: identity.as_ref().map(|identity| identity.cluster_id.clone()).unwrap_or_default(),
            trust_domain: trust_domain.unwrap_or_default(),
            answered_by: identity.map_or(0, |identity| identity.node_id),
            leader: seen.leader,
            term: seen.term,
            stale: !seen.confirmed,
            nodes: seen
                .nodes
                .into_iter()
                .map(|node| NodeStatus {
                    id: node.id,
                    role: role(node.role),
                    applied: node.applied,
                    lag: node.lag,
                    version: node.version,
                    peer_address: node.address,
                })
                .collect(),
        }
    }
}

/// The roles that scripts are promised: whoever stands for election is a follower until it has won.
const fn role(role: Role) -> &'static str {
    match role {
        Role::Candidate => Role::Follower.as_str(),
        Role::Waiting | Role::Leader | Role::Follower | Role::Learner | Role::Unreachable => role.as_str(),
    }
}

const JOIN_TOKEN_TTL: Duration = Duration::from_hours(1);
const LONGEST_JOIN_TOKEN_TTL: Duration = Duration::from_hours(24);
