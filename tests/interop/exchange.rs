//! A user's access token of a real OpenID provider becomes a transaction token that two foreign stacks verify.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::provider::{Provider, USER};
use crate::support::agent::{Agent, exchange_form, txn_token};
use crate::support::cli::{arg, file, run};
use crate::support::cluster::Cluster;
use crate::support::node::TOKEN_ISSUER;
use crate::support::peers::Peers;
use crate::verifiers::{Expected, refused, verified};

#[tokio::test(flavor = "multi_thread")]
async fn a_users_token_is_exchanged_by_both_client_authentications_and_verified_elsewhere() {
    let Some(peers) = Peers::find("exchange with oidc-provider, verified by jose and joserfc") else { return };
    let cluster = Cluster::of_three().await;
    let provider = Provider::start(&peers, cluster.folder());
    apply_policy(&cluster, &provider.issuer);
    let token = provider.access_token(AUDIENCE, "orders.read orders.write").await;

    let gateway = Agent::minted(&cluster.nodes[0], GATEWAY).await;
    let mut transactions = Vec::new();
    for node in &cluster.nodes {
        let form = exchange_form(&token, "example.org", "orders.read");
        // By X.509-SVID: the connection itself says who is there.
        let by_x509 = txn_token(&gateway.https(node).exchange(&form).await.unwrap()).unwrap();
        // By JWT-SVID: the connection says nothing, the assertion does.
        let id = GATEWAY.parse().unwrap();
        let assertion = node.admin().await.mint_jwt_svid(&id, &[TOKEN_ISSUER.to_owned()], 0).await.unwrap().token;
        let mut form = form.clone();
        form.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"));
        form.push(("client_assertion", &assertion));
        let by_jwt = txn_token(&gateway.anonymous_https(node).exchange(&form).await.unwrap()).unwrap();

        let bundle = bundle(&cluster, node.id);
        let expected = Expected {
            keys: format!("{}/keys", node.https),
            key_use: "sig",
            issuer: Some(TOKEN_ISSUER),
            audience: "example.org",
            typ: "txntoken+jwt",
        };
        for transaction in [by_x509, by_jwt] {
            let read = verified(&peers, cluster.folder(), &bundle, &transaction, &expected);
            transactions.push(claims_are_right(&read, &provider.issuer, &token));
            refused(
                &peers,
                cluster.folder(),
                &bundle,
                &transaction,
                &Expected { audience: "elsewhere.org", ..expected.clone() },
            );
        }
        // What was handed in is no transaction token.
        refused(&peers, cluster.folder(), &bundle, &token, &expected);
    }
    transactions.sort();
    transactions.dedup();
    assert_eq!(transactions.len(), 2 * cluster.nodes.len(), "each exchange begins a transaction of its own");
    refusals(&cluster, &gateway, &token, &provider).await;
}

/// Checks the claims and answers `txn`.
fn claims_are_right(read: &Value, provider: &str, access_token: &str) -> String {
    let (header, claims) = (&read["header"], &read["claims"]);
    assert_eq!(header["typ"], "txntoken+jwt", "{read}");
    assert_eq!(header["alg"], "ES256", "{read}");
    assert_eq!(claims["iss"], TOKEN_ISSUER, "{read}");
    assert_eq!(claims["aud"], "example.org", "{read}");
    assert_eq!(claims["sub"], format!("{provider}#{USER}"), "a bare sub could collide with another issuer's: {read}");
    assert_eq!(claims["scope"], "orders.read", "{read}");
    assert_eq!(claims["req_wl"], GATEWAY, "{read}");
    let [iat, exp] = ["iat", "exp"].map(|name| claims[name].as_u64().unwrap());
    assert!((1..=60).contains(&(exp - iat)), "{read}");
    assert!(!claims["jti"].as_str().unwrap().is_empty(), "{read}");
    let signature = access_token.rsplit('.').next().unwrap();
    assert!(!read.to_string().contains(signature), "the access token is inside the transaction token");
    claims["txn"].as_str().filter(|txn| !txn.is_empty()).unwrap_or_else(|| panic!("{read}")).to_owned()
}

/// What the rule does not allow.
async fn refusals(cluster: &Cluster, gateway: &Agent, token: &str, provider: &Provider) {
    let node = &cluster.nodes[1];
    let stranger = Agent::minted(node, "spiffe://example.org/stranger").await;
    let elsewhere = provider.access_token("https://other.example.org", "orders.read").await;
    let expected: [(&Agent, &str, &str, &str, u16, &str); 5] = [
        (gateway, token, "example.org", "payments.write", 400, "invalid_scope"),
        (gateway, token, "elsewhere.org", "orders.read", 400, "invalid_target"),
        (gateway, &elsewhere, "example.org", "orders.read", 400, "invalid_request"),
        (gateway, &token[..token.len() - 8], "example.org", "orders.read", 400, "invalid_request"),
        (&stranger, token, "example.org", "orders.read", 400, "unauthorized_client"),
    ];
    for (caller, token, audience, scope, status, error) in expected {
        let answer = caller.https(node).exchange(&exchange_form(token, audience, scope)).await.unwrap();
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, body["error"].as_str()), (status, Some(error)), "{audience} {scope}: {body}");
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    let form = exchange_form(token, "example.org", "orders.read");
    let answer = gateway.anonymous_https(node).exchange(&form).await.unwrap();
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, body["error"].as_str()), (401, Some("invalid_client")), "{body}");
}

/// The provider's keys are found by its metadata.
fn apply_policy(cluster: &Cluster, issuer: &str) {
    let policy = json!({
        "issuers": [{"issuer": issuer, "discovery": true, "algorithms": ["ES256"], "audiences": [AUDIENCE]}],
        "rules": [{
            "id": "gateway",
            "callers": [GATEWAY],
            "subjects": {"issuers": [issuer], "audiences": [AUDIENCE]},
            "scopes": ["orders.read", "orders.write"],
            "lifetime": "60s",
        }],
    });
    let path = file(cluster.folder(), "policy.yaml", &policy.to_string());
    run(Some(&cluster.nodes[2].socket()), &["policy", "apply", arg(&path)]).done();
}

fn bundle(cluster: &Cluster, node: u64) -> PathBuf {
    let socket = cluster.nodes.iter().find(|n| n.id == node).unwrap().socket();
    let pem = run(Some(&socket), &["bundle", "show"]).done();
    file(cluster.folder(), "bundle.pem", &pem)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_exchanges_a_real_token_and_a_client_finds_its_way_by_the_metadata() {
    let Some(peers) = Peers::find("signet exchange with oidc-provider") else { return };
    let cluster = Cluster::of_three().await;
    let node = &cluster.nodes[0];
    let provider = Provider::start(&peers, cluster.folder());
    apply_policy(&cluster, &provider.issuer);
    let token = file(cluster.folder(), "access-token", &provider.access_token(AUDIENCE, "orders.read").await);
    let svid = cluster.folder().join("gateway");
    run(Some(&node.socket()), &["x509", "mint", "--spiffe-id", GATEWAY, "--out-dir", arg(&svid)]).done();
    let files = ["svid.pem", "key.pem", "bundle.pem"].map(|name| svid.join(name));
    let [certificate, key, anchors] = files.each_ref().map(|path| arg(path));
    let exchange = ["exchange", "--url", &node.https, "--bundle", anchors, "--svid", certificate, "--key", key];
    let what =
        ["--subject-token-file", arg(&token), "--audience", "example.org", "--scope", "orders.read", "-o", "token"];
    let transaction = run(None, &[&exchange[..], &what[..]].concat()).done();
    let path = file(cluster.folder(), "transaction", transaction.trim());
    let said = run(Some(&node.socket()), &["token", "inspect", arg(&path), "-o", "json"]).done();
    assert!(said.contains(GATEWAY) && said.contains(USER), "{said}");
    metadata_is_right(&cluster, &svid.join("bundle.pem")).await;
}

async fn metadata_is_right(cluster: &Cluster, _bundle: &Path) {
    let agent = Agent::minted(&cluster.nodes[0], GATEWAY).await;
    let https = agent.anonymous_https(&cluster.nodes[0]);
    let answer = https.get("/.well-known/oauth-authorization-server").await.unwrap();
    let metadata: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(metadata["issuer"], TOKEN_ISSUER, "{metadata}");
    assert_eq!(metadata["token_endpoint"], format!("{TOKEN_ISSUER}/token"), "{metadata}");
    assert_eq!(metadata["jwks_uri"], format!("{TOKEN_ISSUER}/keys"), "{metadata}");
}

const AUDIENCE: &str = "https://shop.example.org";
const GATEWAY: &str = "spiffe://example.org/gateway";
