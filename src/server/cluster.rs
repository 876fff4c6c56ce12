//! The cluster itself: made, joined, looked at.

use std::sync::Arc;
use std::time::Duration;

use signet_api::service::{Call, ClusterStatus, JoinToken, NodeStatus};
use signet_model::authority::WrappedKey;
use signet_model::command::{Command, Outcome};
use signet_model::refusal::{Reason, Refusal};
use signet_model::request_key::RequestKey;
use signet_model::state;
use signet_model::stored::{from_bytes, to_bytes};
use signet_raft::{InitError, Node, Role};
use zeroize::Zeroizing;

use super::backends::Backends;
use super::config::TrustDomainConfig;
use super::live::LiveState;
use super::rotation::Rotation;
use super::{establish, ledger, recipients};
use crate::clock;

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) node: Node,
    pub(crate) live: Arc<LiveState>,
    pub(crate) backends: Arc<Backends>,
    pub(crate) trust_domain: Option<TrustDomainConfig>,
    pub(crate) rotation: Arc<Rotation>,
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
        let command = establish::command(config, &identity.cluster_id, &self.backends, clock::now()).await?;
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
        match &call.request {
            None => self.new_join_token(call, ttl).await,
            Some(request) => self.join_token_once(call, request, ttl).await,
        }
    }

    async fn new_join_token(&self, call: &Call, ttl: Duration) -> Result<JoinToken, Refusal> {
        let made = self.node.create_join_token(&call.caller, ttl, ledger::timeout(call)).await;
        let made = made.map_err(ledger::not_proposed)?;
        Ok(JoinToken { text: made.text.to_string(), expires_at_secs: made.expires_at.secs() })
    }

    /// A retry is told the first token, which is kept for it sealed. When an attempt ends between making a token and
    /// keeping it, the next makes another: the text of the one before was never told to anybody.
    async fn join_token_once(&self, call: &Call, request: &RequestKey, ttl: Duration) -> Result<JoinToken, Refusal> {
        let identity = self.node.identity().ok_or_else(super::issue::not_initialized)?;
        let context = [b"signet join token of ", identity.cluster_id.as_bytes(), b" for ", &request.key[..]].concat();
        let view = ledger::read(&self.node, call).await?;
        if let Some(done) = ledger::done_before(&view, call)? {
            return self.told_before(done, &context).await;
        }
        let made = self.new_join_token(call, ttl).await?;
        let text = Zeroizing::new(to_bytes(&(&made.text, made.expires_at_secs)));
        let Some(sealed) = self.seal(&text, &context).await else { return Ok(made) };
        let command = Command::Remember { answer: sealed.clone().into() };
        let kept = ledger::propose_once(&self.node, call, command, request.clone()).await?;
        if matches!(&kept, Outcome::Remembered { answer } if answer.as_slice() == sealed) {
            return Ok(made);
        }
        // Another attempt was faster, and its token is the one.
        self.told_before(kept, &context).await
    }

    async fn told_before(&self, outcome: Outcome, context: &[u8]) -> Result<JoinToken, Refusal> {
        let Outcome::Remembered { answer } = outcome else { return Err(ledger::unexpected(&outcome)) };
        let text = self.unseal(&answer, context).await.ok_or_else(|| {
            let detail = "a token was made under this idempotency key, and this node cannot open what is kept of it: make another under a new key";
            Refusal::new(Reason::Sealed, detail)
        })?;
        let (text, expires_at_secs) = from_bytes(&text).map_err(ledger::damaged)?;
        Ok(JoinToken { text, expires_at_secs })
    }

    /// Wraps a token by the first key backend that does it soon.
    async fn seal(&self, text: &[u8], context: &[u8]) -> Option<Vec<u8>> {
        for opened in self.backends.opened() {
            match tokio::time::timeout(SEALING, opened.backend().wrap(text, context)).await {
                Ok(Ok(blob)) => return Some(to_bytes(&WrappedKey { recipient: opened.recipient.clone(), blob })),
                Ok(Err(cause)) => tracing::warn!(%cause, "a join token cannot be kept sealed by this key backend"),
                Err(_) => {
                    tracing::warn!(recipient = %opened.recipient, "this key backend takes too long to seal a join token")
                }
            }
        }
        tracing::warn!("a join token was made but cannot be kept for a retry, which would make another");
        None
    }

    async fn unseal(&self, sealed: &[u8], context: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let wrapped: WrappedKey = from_bytes(sealed).ok()?;
        let opened = self.backends.of(&wrapped.recipient);
        let opened =
            opened.inspect_err(|cause| tracing::warn!("the join token of an earlier attempt: {cause}")).ok()?;
        match tokio::time::timeout(SEALING, opened.backend().unwrap(&wrapped.blob, context)).await {
            Ok(Ok(text)) => Some(text),
            Ok(Err(cause)) => {
                tracing::warn!(%cause, "the join token of an earlier attempt cannot be opened");
                None
            }
            Err(_) => None,
        }
    }

    pub(crate) async fn status(&self, timeout: Duration) -> ClusterStatus {
        let identity = self.node.identity();
        let trust_domain = self.live.current().map(|live| live.settings.trust_domain.to_string());
        let seen = self.node.cluster_status(timeout).await;
        let members: Vec<u64> = seen.nodes.iter().map(|node| node.id).collect();
        let live = self.live.current();
        let mut notes = live.map(|live| recipients::notes(&live.backends, &members)).unwrap_or_default();
        notes.extend(self.rotation.waiting.note());
        ClusterStatus {
            cluster_id: identity.as_ref().map(|identity| identity.cluster_id.clone()).unwrap_or_default(),
            trust_domain: trust_domain.unwrap_or_default(),
            answered_by: identity.map_or(0, |identity| identity.node_id),
            leader: seen.leader,
            term: seen.term,
            stale: !seen.confirmed,
            membership: seen.membership,
            notes,
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
                    voter: node.voter,
                    last_contact_millis: node.last_contact.map(millis),
                    draining: node.draining,
                    clock_ahead_millis: node.clock_ahead_millis,
                    disk: node.disk.map(|disk| disk.as_str().to_owned()),
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An operator waits for the token and not for a KMS.
const SEALING: Duration = Duration::from_secs(2);
const JOIN_TOKEN_TTL: Duration = Duration::from_hours(1);
const LONGEST_JOIN_TOKEN_TTL: Duration = Duration::from_hours(24);
