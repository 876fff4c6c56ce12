//! Every node is killed at once, as in a power cut, and started again.

use signet_api::client::EntryResult;
use signet_api::service::EntryFilter;
use signet_model::entry::EntryId;

use crate::support::agent::{Agent, entry, exchange_form, header, txn_token};
use crate::support::cli::{arg, file, run};
use crate::support::cluster::Cluster;
use crate::support::node::Node;
use crate::support::users::{AUDIENCE, Users, policy};

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_of_all_nodes_everything_acknowledged_is_there_and_the_same_keys_sign() {
    let mut cluster = Cluster::of_three().await;
    let users = Users::start().await;
    let admin = cluster.nodes[1].admin().await;
    admin.apply_policy(policy(&users.issuer, &users.jwks_uri(), CALLER), None).await.unwrap();
    let agent = Agent::minted(&cluster.nodes[0], CALLER).await;
    let before = Issued::by(&cluster.nodes[0], &agent, &users).await;
    let bundle = run(Some(&cluster.nodes[2].socket()), &["bundle", "show", "-o", "json"]).json();
    let mut acknowledged: Vec<EntryId> = Vec::new();
    for number in 0..50 {
        let id: EntryId = format!("entry-{number}").parse().unwrap();
        let admin = cluster.nodes[number % 3].admin().await;
        let spec = entry(&format!("spiffe://example.org/w/{number}"), CALLER);
        let made = admin.create_entries(vec![(Some(id.clone()), spec)]).await.unwrap();
        assert!(matches!(made[..], [EntryResult::Done(_)]), "{made:?}");
        acknowledged.push(id);
    }

    // At once, before any of them can tell the others.
    for node in &mut cluster.nodes {
        node.kill();
    }
    for node in &mut cluster.nodes {
        node.start(None);
    }
    cluster.all_ready().await;

    for node in &cluster.nodes {
        let stored = node.admin().await.entries(&EntryFilter::default()).await.unwrap();
        let stored: Vec<EntryId> = stored.into_iter().map(|entry| entry.id).collect();
        assert!(acknowledged.iter().all(|id| stored.contains(id)), "node {} has only {stored:?}", node.id);
        let now = run(Some(&node.socket()), &["bundle", "show", "-o", "json"]).json();
        assert_eq!(now["keys"], bundle["keys"], "node {}", node.id);
        let (_, policy) = node.admin().await.policy().await.unwrap();
        assert!(policy.contains(&users.issuer), "node {} has the policy {policy:?}", node.id);

        let after = Issued::by(node, &agent, &users).await;
        assert_eq!(after.keys(), before.keys(), "node {} signs with other keys", node.id);
        before.verifies_at(&cluster, node);
        after.verifies_at(&cluster, node);
    }
}

/// One credential of each kind.
struct Issued {
    x509_svid: String,
    issuing_ca: Vec<u8>,
    jwt_svid: String,
    txn_token: String,
}

impl Issued {
    async fn by(node: &Node, agent: &Agent, users: &Users) -> Self {
        let minted = Agent::minted(node, "spiffe://example.org/someone").await;
        let svid = minted.svid;
        let id = "spiffe://example.org/someone".parse().unwrap();
        let jwt_svid = node.admin().await.mint_jwt_svid(&id, &["someone-else".to_owned()], 0).await.unwrap().token;
        let token = users.token("alice", AUDIENCE, "orders.read");
        let form = exchange_form(&token, "example.org", "orders.read");
        let txn_token = txn_token(&agent.https(node).exchange(&form).await.unwrap()).unwrap();
        let pem = svid.cert_chain.iter().map(|der| pem("CERTIFICATE", der)).collect();
        Self { x509_svid: pem, issuing_ca: svid.cert_chain[1].clone(), jwt_svid, txn_token }
    }

    fn keys(&self) -> (Vec<u8>, String, String) {
        (self.issuing_ca.clone(), header(&self.jwt_svid)["kid"].to_string(), header(&self.txn_token)["kid"].to_string())
    }

    /// The program's own verdict on each.
    fn verifies_at(&self, cluster: &Cluster, node: &Node) {
        for (name, text) in [("x509", &self.x509_svid), ("jwt", &self.jwt_svid), ("txn", &self.txn_token)] {
            let path = file(cluster.folder(), name, text);
            run(Some(&node.socket()), &["token", "inspect", arg(&path)]).done();
        }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::prelude::BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

const CALLER: &str = "spiffe://example.org/gateway";
