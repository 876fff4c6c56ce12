//! `signet dev`: what scripts rely on, and what happens to its processes.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::support::agent::{Agent, claims, exchange_form, txn_token};
use crate::support::cli::{arg, run, signet};
use crate::support::cluster::{Alone, Cluster};
use crate::support::dev::{Dev, is_alive, pid};
use crate::support::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_is_restarted_and_sigterm_leaves_no_process_behind() {
    let mut dev = Dev::start().await;
    let report = dev.report();
    report_is_as_documented(&report);
    let socket = report["nodes"][0]["admin_socket"].as_str().unwrap().to_owned();
    let status = run(Some(socket.as_ref()), &["cluster", "status", "-o", "json"]).json();
    let leader = status["leader"].as_u64().unwrap();
    let victim = report["nodes"].as_array().unwrap().iter().find(|node| node["id"] == leader).unwrap();

    let before = dev.said().len();
    kill_process(pid(&victim["pid"]), Signal::KILL).unwrap();
    let after = dev.report_newer_than(report["generation"].as_u64().unwrap()).await;
    let revived = after["nodes"].as_array().unwrap().iter().find(|node| node["id"] == leader).unwrap();
    assert_ne!(revived["pid"], victim["pid"]);
    for unchanged in ["https", "grpc", "admin_socket"] {
        assert_eq!(revived[unchanged], victim[unchanged]);
    }
    let said = dev.said()[before..].to_owned();
    assert!(said.contains(&format!("node {leader}")), "the terminal does not say which node died: {said}");

    let pids = dev.pids();
    dev.signal(Signal::TERM);
    let ended = dev.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", dev.said());
    assert!(pids.iter().all(|pid| !is_alive(*pid)), "a process was left behind");
    assert!(!dev.data().join("dev.json").exists());
}

/// As in `signet dev | head`.
#[tokio::test(flavor = "multi_thread")]
async fn it_stops_when_nobody_reads_what_it_prints() {
    let _alone = Alone::turn().await;
    let folder = tempfile::Builder::new().prefix("signet-dev-").tempdir().unwrap();
    let mut command = Command::new(signet());
    command.arg("dev").arg("--data").arg(folder.path().join("data")).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut first = [0; 1];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let ended = eventually(Duration::from_secs(60), "signet dev to end", async || {
        child.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
    });
    assert_eq!(ended.await.code(), Some(0));
}

fn report_is_as_documented(report: &Value) {
    assert!(report["generation"].as_u64().unwrap() > 0, "{report}");
    let bundle = std::fs::read_to_string(report["bundle"].as_str().unwrap()).unwrap();
    assert!(bundle.starts_with("-----BEGIN CERTIFICATE-----"), "{bundle}");
    for text in [
        &report["trust_domain"],
        &report["token"]["issuer"],
        &report["token"]["audience"],
        &report["token"]["scopes"][0],
        &report["demo_issuer"]["issuer"],
        &report["demo_issuer"]["jwks_uri"],
    ] {
        assert!(!text.as_str().unwrap().is_empty(), "{report}");
    }
    let nodes = report["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3, "{report}");
    for node in nodes {
        assert!(node["id"].as_u64().is_some() && node["pid"].as_u64().is_some(), "{report}");
        assert!(node["https"].as_str().unwrap().starts_with("https://"), "{report}");
        assert!(node["grpc"].as_str().unwrap().contains(':'), "{report}");
        assert!(node["admin_socket"].as_str().unwrap().len() < 108, "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_goes_on_where_the_first_one_ended() {
    let mut dev = Dev::start().await;
    let first = dev.report();
    let socket = first["nodes"][1]["admin_socket"].as_str().unwrap().to_owned();
    let (id, parent) =
        (format!("spiffe://{}/kept", first["trust_domain"].as_str().unwrap()), "spiffe://dev.local/host/demo");
    run(
        Some(socket.as_ref()),
        &[
            "entry",
            "create",
            "--entry-id",
            "kept",
            "--spiffe-id",
            &id,
            "--parent-id",
            parent,
            "--selector",
            "unix:uid:1",
        ],
    )
    .done();
    let second_supervisor = run(None, &["dev", "--data", arg(&dev.data())]);
    assert_eq!(second_supervisor.code, Some(1), "{second_supervisor:?}");

    dev.signal(Signal::INT);
    assert_eq!(dev.ended().await.code(), Some(0), "{}", dev.said());
    dev.spawn();
    let second = dev.ready().await;
    assert!(second["generation"].as_u64() > first["generation"].as_u64());
    for unchanged in ["trust_domain", "token", "demo_issuer"] {
        assert_eq!(second[unchanged], first[unchanged]);
    }
    for position in 0..3 {
        for unchanged in ["id", "https", "grpc", "admin_socket"] {
            assert_eq!(second["nodes"][position][unchanged], first["nodes"][position][unchanged]);
        }
    }
    run(Some(socket.as_ref()), &["entry", "show", "kept"]).done();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_end_when_their_supervisor_is_killed() {
    let mut dev = Dev::start().await;
    let pids = dev.pids();
    dev.signal(Signal::KILL);
    dev.ended().await;
    eventually(std::time::Duration::from_secs(20), "the servers to end", async || {
        let left = pids.iter().filter(|pid| is_alive(**pid)).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} run")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_issuers_keys_are_refused_by_any_other_cluster() {
    let dev = Dev::start().await;
    let report = dev.report();
    let issuer = &report["demo_issuer"];
    let jwks = reqwest::get(issuer["jwks_uri"].as_str().unwrap()).await.unwrap().text().await.unwrap();
    let jwks: Value = serde_json::from_str(&jwks).unwrap();
    let key = &jwks["keys"][0];
    assert!(key["kid"].as_str().unwrap().starts_with("signet-demo-"), "{key}");
    let socket = report["nodes"][0]["admin_socket"].as_str().unwrap().to_owned();
    let status = run(Some(socket.as_ref()), &["cluster", "status", "-o", "json"]).json();
    assert_eq!(key["signet_demo"], status["cluster_id"], "{key} {status}");

    // Another cluster of the same trust domain, told to trust that issuer, even as a demo.
    let other = Cluster::of_one(None, "example.org", "30s").await;
    let (issuer, jwks_uri) = (issuer["issuer"].as_str().unwrap(), issuer["jwks_uri"].as_str().unwrap());
    let token = run(None, &["dev", "token", "--user", "alice", "--data", arg(&dev.data())]).done();
    let audience = &claims(token.trim())["aud"];
    let caller = "spiffe://example.org/gateway";
    let policy: Value = json!({
        "issuers": [{"issuer": issuer, "jwks_uri": jwks_uri, "audiences": [audience], "demo": true}],
        "rules": [{
            "id": "all",
            "callers": [caller],
            "subjects": {"issuers": [issuer], "audiences": [audience]},
            "scopes": report["token"]["scopes"],
        }],
    });
    let admin = other.nodes[0].admin().await;
    if let Err(refusal) = admin.apply_policy(policy.to_string(), None).await {
        assert!(refusal.message.contains("demo"), "{refusal:?}");
        return;
    }
    let gateway = Agent::minted(&other.nodes[0], caller).await;
    let form = exchange_form(token.trim(), "example.org", "orders.read");
    let answer = gateway.https(&other.nodes[0]).exchange(&form).await.unwrap();
    let refusal = txn_token(&answer).unwrap_err();
    assert_eq!(answer.status, 400, "{refusal}");
    // The caller learns that there is no such key, the operator why.
    let log = other.nodes[0].log();
    assert!(log.lines().any(|line| line.contains("key is not used") && line.contains("demo")), "{log}");
}
