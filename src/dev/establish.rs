//! From three folders to a cluster that exchanges tokens.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use signet_api::client::{AdminClient, EntryResult, TokenClient, Trust};
use signet_api::service::ClusterStatus;
use signet_model::refusal::Reason;

use super::access_token::AccessToken;
use super::demo;
use super::demo_key::DemoKey;
use super::folder::Folder;
use super::issuer::Issuer;
use super::node_config;
use super::plan::{NODES, Plan, Port};
use super::supervisor::Supervisor;
use super::wait::until;
use crate::cli::{Failure, bundle_pem, connect, print_text, write_public, write_secret};
use crate::clock;

/// What the cluster calls the nodes. It gives each its id when it joins, not in a row.
#[derive(Debug, Clone, Default)]
pub(super) struct Ids(BTreeMap<usize, u64>);

impl Ids {
    /// The id of a node by its place.
    pub(super) fn of(&self, node: usize) -> u64 {
        self.0.get(&node).copied().unwrap_or_default()
    }
}

/// Starts the nodes, and makes them a cluster if they are none yet.
///
/// # Errors
/// Something did not work in time.
pub(super) async fn establish(folder: &Folder, plan: &mut Plan, supervisor: &mut Supervisor) -> Result<Ids, Failure> {
    let key = DemoKey::open_or_make(folder.path())?;
    if !plan.established {
        prepare(folder, plan)?;
    }
    for node in NODES {
        node_config::write(folder, plan, node)?;
    }
    let status = if plan.established { restart(folder, supervisor).await? } else { form(folder, supervisor).await? };

    let jwks = key.jwks(&status.cluster_id);
    let issuer = Issuer::bind(plan.demo_issuer_address(), &plan.demo_issuer(), &jwks).await?;
    supervisor.serve(issuer);
    if !plan.established {
        fill(&connect(&folder.socket(1)).await?, plan).await?;
        plan.established = true;
        folder.keep_plan(plan)?;
    }
    let mut ids = Ids::default();
    for node in NODES {
        until(&format!("server {node} is ready"), READY_WITHIN, || ready(plan, node)).await?;
        ids.0.insert(node, id(folder, node).await?);
    }
    let bundle = connect(&folder.socket(1)).await?.bundle().await?;
    write_public(&folder.bundle(), bundle_pem(&bundle).as_bytes())?;
    try_exchange(folder, plan, &key).await?;
    Ok(ids)
}

/// What the nodes need before their first start.
fn prepare(folder: &Folder, plan: &Plan) -> Result<(), Failure> {
    folder.clear_nodes()?;
    folder.keep_plan(plan)?;
    for node in NODES {
        folder.make_data(node)?;
    }
    let key = folder.key_encryption_key();
    if !key.exists() {
        signet_kms::software::generate_key_file(&key).map_err(|error| Failure::new("io", error.to_string()))?;
    }
    Ok(())
}

/// Makes node 1 a cluster, which the others join one after the other.
async fn form(folder: &Folder, supervisor: &mut Supervisor) -> Result<ClusterStatus, Failure> {
    supervisor.start(folder, 1);
    let client = until("the first server answers", READY_WITHIN, || async { connect(&folder.socket(1)).await }).await?;
    let made = client.init_cluster().await?;
    say(&format!("node {} is a cluster of one, with new keys", made.answered_by));
    for node in NODES.into_iter().skip(1) {
        let token = client.create_join_token(JOIN_TOKEN_TTL_SECS).await?;
        let file = folder.join_token(node);
        write_secret(&file, token.text.as_bytes())?;
        supervisor.start(folder, node);
        until(&format!("server {node} has joined"), READY_WITHIN, || joined(&client, node)).await?;
        // It is used up; a restart of the node must not look for it.
        std::fs::remove_file(&file).map_err(|cause| Failure::file("remove", &file, cause))?;
        say(&format!("node {} has joined", id(folder, node).await?));
    }
    Ok(made)
}

/// `count` members, all of them voting and reachable.
async fn joined(client: &AdminClient, count: usize) -> Result<ClusterStatus, Failure> {
    let status = client.cluster_status().await?;
    let voting = status.nodes.iter().filter(|node| matches!(node.role, "leader" | "follower")).count();
    if voting == count && status.nodes.len() == count && !status.stale {
        Ok(status)
    } else {
        Err(Failure::new(Reason::NoQuorum.code(), format!("{voting} of {count} nodes are members with a vote")))
    }
}

async fn restart(folder: &Folder, supervisor: &mut Supervisor) -> Result<ClusterStatus, Failure> {
    say("starting the nodes on what they have");
    for node in NODES {
        supervisor.start(folder, node);
    }
    until("the nodes have a leader", READY_WITHIN, || async {
        joined(&connect(&folder.socket(1)).await?, NODES.len()).await
    })
    .await
}

/// What the cluster calls the node.
async fn id(folder: &Folder, node: usize) -> Result<u64, Failure> {
    Ok(connect(&folder.socket(node)).await?.cluster_status().await?.answered_by)
}

/// Demo entries and the demo policy.
async fn fill(client: &AdminClient, plan: &Plan) -> Result<(), Failure> {
    for result in client.create_entries(demo::entries(&plan.trust_domain)?).await? {
        if let EntryResult::Refused(error) = result {
            return Err(error.into());
        }
    }
    client.apply_policy(demo::policy(plan), None).await?;
    say("demo entries and a demo exchange rule are in place");
    Ok(())
}

/// Whether the node says that it is.
///
/// # Errors
/// It does not, or cannot be reached.
pub(super) async fn ready(plan: &Plan, node: usize) -> Result<(), Failure> {
    let url = format!("http://{}/readyz", plan.address(node, Port::Admin));
    let failed = |cause: &dyn std::fmt::Display| Failure::new("unreachable", format!("{url}: {cause}"));
    let client = reqwest::Client::builder().no_proxy().timeout(PROBE_WITHIN).build().map_err(|cause| failed(&cause))?;
    let answer = client.get(&url).send().await.map_err(|cause| failed(&cause))?;
    if answer.status() == reqwest::StatusCode::OK {
        return Ok(());
    }
    let reason = answer.text().await.unwrap_or_default();
    Err(failed(&reason.trim()))
}

/// A demo user's token is exchanged at every node: whoever says "ready" should know.
async fn try_exchange(folder: &Folder, plan: &Plan, key: &DemoKey) -> Result<(), Failure> {
    let client = connect(&folder.socket(1)).await?;
    let gateway = demo::identity(&plan.trust_domain, demo::GATEWAY)?;
    let pem = std::fs::read(folder.bundle()).map_err(|cause| Failure::file("read", &folder.bundle(), cause))?;
    let trust = Trust::from_pem(plan.trust_domain.clone(), &pem, std::sync::Arc::new(clock::now))?;
    let name = plan.trust_domain.as_str();
    let subject =
        key.sign_access_token(&AccessToken::new(&plan.demo_issuer(), name, "alice", &demo::SCOPES.join(" "), 60)?)?;
    let subject = subject.as_str();
    let assertion = until("a JWT-SVID is issued", READY_WITHIN, || async {
        Ok(client.mint_jwt_svid(&gateway, &[plan.token_issuer()], 0).await?)
    })
    .await?;
    for node in NODES {
        let door = TokenClient::new(&plan.https(node), None, &trust)?;
        let parameters = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:txn_token"),
            ("audience", name),
            ("scope", demo::SCOPES[0]),
            ("subject_token", subject),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"),
            ("client_assertion", assertion.token.as_str()),
        ];
        until(&format!("server {node} exchanges a token"), READY_WITHIN, || async {
            let answer = door.exchange(&parameters).await?;
            if answer.status == 200 { Ok(()) } else { Err(refusal(answer.status, &answer.body)) }
        })
        .await?;
    }
    Ok(())
}

fn refusal(status: u16, body: &[u8]) -> Failure {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or("none given").to_owned();
    Failure::new(text("error"), format!("status {status}: {}", text("error_description")))
}

/// Tells the terminal. Nobody listening is no reason to stop.
pub(super) fn say(line: &str) {
    let _ = print_text(line);
}

/// For each step. Generous, because the machine may be busy with other things.
pub(super) const READY_WITHIN: Duration = Duration::from_secs(60);
const PROBE_WITHIN: Duration = Duration::from_secs(2);
const JOIN_TOKEN_TTL_SECS: u32 = 300;
