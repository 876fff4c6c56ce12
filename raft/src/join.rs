//! How a newcomer becomes a member: it finds one that holds a key the token names, shows the secret, is registered, and
//! then catches up until it votes.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::error::JoinError;
use crate::identity::{Phase, Record, cluster_text};
use crate::node::{Identity, Node};
use crate::peer::proto::door_client::DoorClient;
use crate::peer::proto::join_reply::Outcome;
use crate::peer::proto::{Admitted, JoinRequest, Refusal};
use crate::peer::{ConnectError, connect, members_from_wire};
use crate::token::{Binding, JoinToken};
use crate::types::PeerNode;

/// See [`Node::join`].
pub(crate) async fn join(node: &Node, text: &str) -> Result<Identity, JoinError> {
    let token = JoinToken::from_text(text).map_err(JoinError::Malformed)?;
    let _one = node.inner.becoming.lock().await;
    let known = node.inner.record.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match known {
        Some(record) if record.cluster != token.cluster => {
            let token = cluster_text(&token.cluster);
            return Err(JoinError::OtherCluster { here: record.cluster_id(), token });
        }
        Some(record) if record.phase != Phase::Joining || is_voter(node) => {
            return Err(JoinError::AlreadyMember { cluster_id: record.cluster_id(), node_id: record.node });
        }
        // Registered before; the member's own chores go on with it.
        Some(_) => {}
        None => {
            let record = register(node, &token).await?;
            node.become_member(record).await.map_err(JoinError::Failed)?;
        }
    }
    wait_until_voter(node).await
}

fn is_voter(node: &Node) -> bool {
    node.member().is_some_and(|member| member.settled_voter())
}

async fn wait_until_voter(node: &Node) -> Result<Identity, JoinError> {
    let identity = node.identity().ok_or_else(|| JoinError::Failed("the node is stopping".into()))?;
    let deadline = Instant::now() + CATCH_UP;
    while !is_voter(node) {
        if Instant::now() >= deadline || node.inner.stop.is_cancelled() {
            let applied = node.view().index();
            let detail = format!("it has applied the log up to entry {applied}");
            return Err(JoinError::Unfinished { node_id: identity.node_id, detail });
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(identity)
}

/// Asks the members that the token names until one lets this node in.
async fn register(node: &Node, token: &JoinToken) -> Result<Record, JoinError> {
    let deadline = Instant::now() + REGISTER;
    loop {
        let mut wrong_key = None;
        let mut reasons = Vec::new();
        for member in &token.members {
            match ask(node, token, member).await {
                Ok(admitted) => return record(node, token, &admitted),
                Err(Asked::Refused(error)) => return Err(error),
                Err(Asked::WrongKey) => wrong_key = Some(member.address.clone()),
                Err(Asked::Elsewhere(reason)) => reasons.push(format!("{}: {reason}", member.address)),
            }
        }
        // Somebody else may sit at one member's address; only when nobody else is left is that the answer.
        if let (Some(address), true) = (wrong_key, reasons.is_empty()) {
            return Err(JoinError::WrongFingerprint { address });
        }
        if Instant::now() + RETRY >= deadline {
            return Err(JoinError::Unreachable(reasons.join("; ")));
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Why a member did not let this node in.
enum Asked {
    /// Final.
    Refused(JoinError),
    /// It is not the member.
    WrongKey,
    /// Another member may.
    Elsewhere(String),
}

async fn ask(node: &Node, token: &JoinToken, member: &PeerNode) -> Result<Admitted, Asked> {
    let elsewhere = |cause: &dyn std::fmt::Display| Asked::Elsewhere(cause.to_string());
    let (connection, driver) = match connect(&node.inner.tls, member).await {
        Ok(connected) => connected,
        Err(ConnectError::WrongKey { .. }) => return Err(Asked::WrongKey),
        Err(error @ ConnectError::Unreachable { .. }) => return Err(elsewhere(&error)),
    };
    let (driver, channel) = (tokio::spawn(driver), connection.channel());
    let mut client = DoorClient::with_origin(connection, http::Uri::from_static("https://peer.signet.internal"));
    let address = node.peer_address();
    let binding = Binding { channel, cluster: &token.cluster, newcomer: node.inner.tls.pin(), address: &address };
    let request = JoinRequest {
        cluster: token.cluster.to_vec().into(),
        token: token.secret.id().to_vec().into(),
        proof: token.secret.prove(&binding).map_err(|cause| elsewhere(&cause))?.into(),
        address: address.clone(),
        feature_level: node.inner.state.known_level(),
    };
    let reply = timeout(ASK, client.join(request)).await;
    driver.abort();
    let reply = reply.map_err(|_| elsewhere(&"no answer in time"))?.map_err(|status| elsewhere(&status.message()))?;
    match reply.into_inner().outcome {
        Some(Outcome::Admitted(admitted)) if token.secret.is_members(&admitted.proof, &binding) => Ok(admitted),
        Some(Outcome::Admitted(_)) => Err(elsewhere(&"it cannot prove that its cluster made the join token")),
        Some(Outcome::Refused(refusal)) => Err(match Refusal::try_from(refusal) {
            Ok(Refusal::UnknownToken) => Asked::Refused(JoinError::UnknownToken),
            Ok(Refusal::UsedToken) => Asked::Refused(JoinError::UsedToken),
            Ok(Refusal::ExpiredToken) => Asked::Refused(JoinError::ExpiredToken),
            Ok(Refusal::OtherCluster) => Asked::Elsewhere("it is a member of another cluster".into()),
            Ok(Refusal::BadAddress) => Asked::Refused(JoinError::Failed(format!(
                "the cluster cannot use this node's address {:?}; set `peer.advertise` to `host:port`",
                node.peer_address()
            ))),
            Ok(Refusal::RemovedKey) => Asked::Refused(JoinError::Failed(
                "this node's key is that of a node that was removed from the cluster; begin again with an empty data \
                 directory"
                    .into(),
            )),
            Ok(Refusal::TooOld) => Asked::Refused(JoinError::TooOld),
            Ok(Refusal::BadProof) => Asked::Elsewhere(
                "it does not take the proof for the join token's secret: someone may be in between".into(),
            ),
            Ok(Refusal::NoQuorum) => Asked::Elsewhere("it has no leader with a quorum".into()),
            Ok(Refusal::Unspecified) | Err(_) => {
                Asked::Elsewhere("it refused for a reason this program does not know".into())
            }
        }),
        None => Err(elsewhere(&"an empty answer")),
    }
}

fn record(node: &Node, token: &JoinToken, admitted: &Admitted) -> Result<Record, JoinError> {
    let roster =
        members_from_wire(&admitted.members).map_err(|status| JoinError::Failed(status.message().to_owned()))?;
    Ok(Record {
        cluster: token.cluster,
        node: admitted.node,
        pin: node.inner.tls.pin(),
        phase: Phase::Joining,
        told: roster.into_iter().collect(),
        told_end: admitted.applied_end,
    })
}

/// So long a newcomer tries to be registered.
const REGISTER: Duration = Duration::from_secs(30);
/// So long it may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(600);
const ASK: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(20);

/// Registers without ever becoming a learner: what is left of a newcomer that dies at the worst moment.
#[cfg(test)]
pub(crate) async fn tests_register(node: &Node, text: &str) -> u64 {
    let token = JoinToken::from_text(text).unwrap();
    register(node, &token).await.unwrap().node
}
