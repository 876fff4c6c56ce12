//! Who can open the keys: a cluster that moves from one key-encryption key to another, that starts without the first, and
//! whose KMS is away while clients ask.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::time::Instant;

use crate::rolling::{Clients, Done, restart_each};
use crate::support::agent::{Agent, trust};
use crate::support::cli::{arg, run};
use crate::support::cluster::Cluster;
use crate::support::kms::{AwsKms, KeyFiles, Kms};
use crate::support::load::{Kind, Load};
use crate::support::node::{Keys, Node};
use crate::support::say;
use crate::support::softhsm::SoftHsm;
use crate::support::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_moves_from_one_key_file_to_another_while_clients_ask() {
    moves(KeyFiles::new("first"), KeyFiles::new("second")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kms_that_is_away_stops_rotation_and_nothing_else() {
    outage(KeyFiles::new("only")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_starts_again_and_a_backup_is_restored_without_the_first_kms() {
    starts_without_the_first(KeyFiles::new("first"), KeyFiles::new("second")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_moves_from_a_key_file_to_pkcs11_while_clients_ask() {
    let Some(new) = SoftHsm::new("a cluster that moves to PKCS#11") else { return };
    moves(KeyFiles::new("old"), new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_moves_from_a_key_file_to_aws_kms_while_clients_ask() {
    let Some(new) = AwsKms::new("new") else { return };
    moves(KeyFiles::new("old"), new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_starts_again_and_a_backup_is_restored_without_the_pkcs11_token() {
    let Some(first) = SoftHsm::new("a cluster that starts without PKCS#11") else { return };
    starts_without_the_first(first, KeyFiles::new("second")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_a_pkcs11_token_stops_rotation_and_nothing_else() {
    let Some(kms) = SoftHsm::new("an outage of PKCS#11") else { return };
    outage(kms).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_aws_kms_stops_rotation_and_nothing_else() {
    let Some(kms) = AwsKms::new("only") else { return };
    outage(kms).await;
}

/// Everything is under `old`; in the end all is under `new`, roots too, and `old` is gone for good.
async fn moves(mut old: impl Kms, new: impl Kms) {
    let keys = |first: &str, more: &str| format!("backend = {first:?}\nrecipients = [{more}]\nprobe = \"1s\"");
    let mut cluster = Cluster::of_three_with(Some(both(&old, &new, "")), "4s", SCHEDULE).await;
    let clients = Clients::start(&cluster).await;
    let socket = cluster.nodes[0].socket();

    // What no node has is no recipient.
    let told = run(Some(&socket), &["recipient", "add", &new.uri()]).refused(1, "not_found");
    assert!(told.contains("add it to keys.recipients"), "{told}");
    for node in &cluster.nodes {
        node.set_keys(&keys(&old.uri(), &format!("{:?}", new.uri())));
    }
    restart_each(&mut cluster).await;
    let dry = run(Some(&socket), &["recipient", "add", &new.uri(), "--roots", "--dry-run", "-o", "json"]).json();
    assert_eq!((&dry["dry_run"], dry["recipients"].as_array().map(Vec::len)), (&true.into(), Some(2)), "{dry}");
    assert_eq!(recipients(&cluster.nodes[0])["recipients"].as_array().map(Vec::len), Some(1), "a dry run did it");
    let added = run(Some(&socket), &["recipient", "add", &new.uri(), "--roots", "-o", "json"]).json();
    let (first, second) = (added["recipients"][0]["id"].clone(), added["changed"].clone());
    assert_eq!(added["recipients"][1]["keys"], added["keys"], "{added}");
    run(Some(&socket), &["recipient", "add", &new.uri()]).refused(1, "already_exists");
    let all: Value = cluster.nodes.iter().map(|node| node.id).collect::<Vec<_>>().into();
    eventually(SETTLE, "every node to tell that it can use both", async || {
        let told = recipients(&cluster.nodes[1]);
        let both = [0, 1].iter().all(|at| told["recipients"][at]["usable_by"] == all);
        if both { Ok(()) } else { Err(told.to_string()) }
    })
    .await;

    // The root cannot be wrapped: it has to be replaced.
    let (first, second) = (first.as_str().unwrap(), second.as_str().unwrap());
    let told = run(Some(&socket), &["recipient", "remove", first]).refused(1, "failed_precondition");
    assert!(told.contains("signet authority rotate --kind x509-root"), "{told}");
    eventually(SETTLE, "a standby root where roots are made now", async || {
        let roots = roots(&cluster.nodes[0]);
        match roots.iter().filter(|(state, _)| state == "prepared").collect::<Vec<_>>().as_slice() {
            [(_, kept_by)] if kept_by == second => Ok(()),
            _ => Err(format!("{roots:?}")),
        }
    })
    .await;
    run(Some(&socket), &["authority", "rotate", "--kind", "x509-root"]).done();
    eventually(SETTLE, "the active root to be where roots are made now", async || {
        let roots = roots(&cluster.nodes[0]);
        let moved = roots.iter().filter(|(state, _)| state != "retiring").all(|(_, kept_by)| kept_by == second);
        if moved && roots.iter().any(|(state, _)| state == "active") { Ok(()) } else { Err(format!("{roots:?}")) }
    })
    .await;
    let removed = run(Some(&socket), &["recipient", "remove", first, "-o", "json"]).json();
    assert_eq!(removed["recipients"].as_array().map(Vec::len), Some(1), "{removed}");
    run(Some(&socket), &["recipient", "remove", second]).refused(1, "failed_precondition");

    // The old one is not needed any more, neither to start nor to go on.
    old.stop();
    for node in &cluster.nodes {
        node.set_keys(&keys(&new.uri(), ""));
    }
    restart_each(&mut cluster).await;
    let Done { answered, acknowledged, retries } = clients.stop().await;
    let agent = Agent::minted(&cluster.nodes[0], CALLER).await;
    for node in &cluster.nodes {
        assert_eq!(node.get("/readyz").await.unwrap(), (200, "{\"ok\":true}".to_owned()));
        agent.grpc(node).await.unwrap().bundle().await.unwrap();
    }
    let before = active(&cluster.nodes[0], "x509-issuing");
    run(Some(&socket), &["authority", "rotate"]).done();
    eventually(SETTLE, "a rotation under the new one alone", async || {
        let now = active(&cluster.nodes[0], "x509-issuing");
        if now == before { Err(now) } else { Ok(()) }
    })
    .await;
    say(&format!(
        "moved from {} to {} in {answered} requests ({} of them writes): 0 failed, {retries} retried",
        old.uri(),
        new.uri(),
        acknowledged.len()
    ));
}

/// The KMS goes away while clients ask, and comes back.
async fn outage(mut kms: impl Kms) {
    let cluster = Cluster::of_three_with(Some(both(&kms, &kms, "")), "4s", SCHEDULE).await;
    let load = Load::start(&cluster).await;
    let seen = load.seen.clone();
    let issued =
        || [Kind::X509Svid, Kind::JwtSvid, Kind::Exchange].iter().map(|kind| seen.successes(*kind)).sum::<usize>();
    let calls = async || {
        let mut calls = 0;
        for node in &cluster.nodes {
            calls += kms_calls(node).await;
        }
        calls
    };
    let enough = async |more: usize| {
        let until = issued() + more;
        let what = format!("{more} more credentials");
        eventually(SETTLE * 2, &what, async || if issued() < until { Err(issued().to_string()) } else { Ok(()) }).await;
    };
    let mut figures = vec![(issued(), calls().await)];
    enough(300).await;
    figures.push((issued(), calls().await));

    kms.stop();
    let began = Instant::now();
    for node in &cluster.nodes {
        eventually(SETTLE, "the outage to be told", async || {
            let (status, body) = node.get("/readyz").await?;
            let told = status == 200 && body.contains("has not been usable for");
            if told { Ok(()) } else { Err(format!("{status} {body}")) }
        })
        .await;
        let (_, metrics) = node.get("/metrics").await.unwrap();
        assert!(metrics.lines().any(|line| line.starts_with("signet_kms_backend_usable{") && line.ends_with(" 0")));
        let doctor = run(Some(&node.socket()), &["doctor", "-o", "json"]);
        let doctor: Value = serde_json::from_str(&doctor.stdout).unwrap();
        let check = doctor["checks"].as_array().unwrap().iter().find(|check| check["name"] == "keys").unwrap().clone();
        assert_eq!(check["verdict"], "warn", "{check}");
    }
    eventually(SETTLE, "the cluster's status to tell of every node", async || {
        let notes = cluster.nodes[0].status().await?.notes;
        if notes.len() >= 3 { Ok(()) } else { Err(format!("{notes:?}")) }
    })
    .await;
    figures.push((issued(), calls().await));
    enough(300).await;
    figures.push((issued(), calls().await));

    // Rotation waits, and says so.
    let socket = cluster.nodes[0].socket();
    let before = active(&cluster.nodes[0], "jwt-svid");
    run(Some(&socket), &["authority", "prepare", "--kind", "jwt-svid"]).refused(1, "failed_precondition");
    run(Some(&socket), &["authority", "rotate", "--kind", "jwt-svid"]).done();
    let leader = cluster.leader(&[0, 1, 2]).await;
    let leader = &cluster.nodes[leader];
    eventually(SETTLE, "the leader to tell that rotation waits", async || {
        let notes = run(Some(&leader.socket()), &["authority", "show", "-o", "json"]).json()["notes"].to_string();
        let (_, metrics) = leader.get("/metrics").await?;
        let waits = metrics.lines().find_map(|line| line.strip_prefix("signet_rotation_waiting_seconds "));
        let told = notes.contains("rotation has been waiting") && waits.is_some_and(|secs| secs != "0");
        if told { Ok(()) } else { Err(format!("{notes} {waits:?}")) }
    })
    .await;
    assert!(leader.log().contains("rotation waits"), "{}", leader.log());
    enough(200).await;
    assert_eq!(active(&cluster.nodes[0], "jwt-svid"), before);
    let away = began.elapsed();
    kms.start();
    eventually(SETTLE, "the rotation that waited", async || {
        let now = active(&cluster.nodes[0], "jwt-svid");
        let (_, body) = leader.get("/readyz").await?;
        if now != before && body == "{\"ok\":true}" { Ok(()) } else { Err(format!("{now} {body}")) }
    })
    .await;
    let seen = load.stop().await;
    let (failures, last) = seen.failures();
    assert_eq!(failures, 0, "{last}");
    say(&format!(
        "KMS away for {away:.1?}: 0 of {} requests failed. Credentials issued, KMS calls without probes:",
        issued()
    ));
    for (issued, calls) in &figures {
        say(&format!("  {issued:6} {calls:4}"));
    }
    let [first, second, third, fourth] = figures[..] else { panic!("{figures:?}") };
    assert_eq!((first.1, third.1), (second.1, fourth.1), "KMS calls depend on what is issued: {figures:?}");
}

/// Both open the keys; then only the second is there, for every node and for a new cluster from a backup.
async fn starts_without_the_first(mut first: impl Kms, mut second: impl Kms) {
    let more = format!("recipients = [{:?}]\n", second.uri());
    let mut cluster = Cluster::of_three_with(Some(both(&first, &second, &more)), "30s", "").await;
    let agent = Agent::minted(&cluster.nodes[0], CALLER).await;
    let anchors = trust(&cluster.nodes[0].admin().await).await.anchors;
    let backup = cluster.folder().join("backup");
    run(Some(&cluster.nodes[0].socket()), &["snapshot", "save", arg(&backup)]).done();
    for node in &mut cluster.nodes {
        node.kill();
    }
    first.stop();
    for node in &mut cluster.nodes {
        node.start(None);
    }
    cluster.all_ready().await;
    for node in &cluster.nodes {
        let (status, body) = node.get("/readyz").await.unwrap();
        assert!(status == 200 && body.contains(&first.uri()) && !body.contains("sealed"), "{status} {body}");
        let again = Agent::minted(node, CALLER).await;
        assert_eq!(again.svid.cert_chain.last(), agent.svid.cert_chain.last(), "the same issuing authority");
    }
    let told = recipients(&cluster.nodes[0]).to_string();
    assert!(told.contains("\"usable\":false"), "{told}");

    // A node that can open nothing votes and says why it does not sign; the others do not mind.
    cluster.nodes[2].signal(Signal::TERM);
    cluster.nodes[2].ended(SETTLE).await;
    second.stop();
    cluster.nodes[2].start(None);
    cluster.nodes[2].answers().await;
    let id = cluster.nodes[2].id;
    eventually(SETTLE, "the sealed node to be one of the cluster again", async || {
        let status = cluster.nodes[2].status().await?;
        let follows = status.nodes.iter().any(|node| node.id == id && matches!(node.role, "follower" | "leader"));
        let (code, body) = cluster.nodes[2].get("/readyz").await?;
        if follows && !status.stale && code == 503 && body.contains("\"sealed\"") {
            Ok(())
        } else {
            Err(format!("{code} {body} {status:?}"))
        }
    })
    .await;
    assert!(cluster.nodes[2].log().contains("sealed: no key backend can be used"), "{}", cluster.nodes[2].log());
    cluster.nodes[2].admin().await.bundle().await.unwrap();
    agent.grpc(&cluster.nodes[0]).await.unwrap().bundle().await.unwrap();
    others_sign_for_it(&cluster, &agent).await;
    second.start();
    cluster.nodes[2].ready().await;

    // A new cluster on new data directories, with access to the second alone.
    for node in &mut cluster.nodes {
        node.kill();
    }
    let mut restored = cluster.new_node("restored");
    let restore = ["snapshot", "restore", arg(&backup), "--data-dir", arg(&restored.data())].map(str::to_owned);
    run(None, &restore.iter().map(String::as_str).collect::<Vec<_>>()).done();
    restored.start(None);
    restored.ready().await;
    assert_eq!(trust(&restored.admin().await).await.anchors, anchors);
    let again = Agent::minted(&restored, CALLER).await;
    assert_eq!(again.svid.cert_chain.last(), agent.svid.cert_chain.last(), "the same issuing authority");
    agent.grpc(&restored).await.unwrap().bundle().await.unwrap();
    say(&format!("restarted and restored with {} alone: the same authorities", second.uri()));
}

/// The third node is sealed for every key, and issues nevertheless; it has a certificate of its own, too.
async fn others_sign_for_it(cluster: &Cluster, agent: &Agent) {
    let node = &cluster.nodes[2];
    let lent = Agent::minted(node, CALLER).await;
    assert_eq!(lent.svid.cert_chain.last(), agent.svid.cert_chain.last(), "the same issuing authority");
    let caller = eventually(SETTLE, "the sealed node's own certificate", async || {
        agent.grpc(node).await.map_err(|cause| cause.to_string())
    })
    .await;
    caller.bundle().await.unwrap();
    let mint = ["jwt", "mint", "--spiffe-id", "spiffe://example.org/job", "--audience", "someone"];
    run(Some(&node.socket()), &mint).done();
    assert_eq!(node.get("/readyz").await.unwrap().0, 503, "whoever can choose asks another");
}

/// A configuration with `first` as its backend, and what it takes to reach both.
fn both(first: &impl Kms, second: &impl Kms, more: &str) -> Keys {
    let environment = first.environment().into_iter().chain(second.environment()).collect();
    Keys { backend: first.uri(), more: format!("{more}probe = \"1s\""), environment }
}

fn recipients(node: &Node) -> Value {
    run(Some(&node.socket()), &["recipient", "list", "-o", "json"]).json()
}

fn authorities(node: &Node) -> Vec<Value> {
    let shown = run(Some(&node.socket()), &["authority", "show", "-o", "json"]).json();
    shown["authorities"].as_array().unwrap().clone()
}

/// State and place of every root.
fn roots(node: &Node) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let roots = authorities(node).into_iter().filter(|one| one["kind"] == "x509-root");
    roots.map(|one| (text(&one["state"]), text(&one["kept_by"][0]))).collect()
}

fn active(node: &Node, kind: &str) -> String {
    let all = authorities(node);
    let active = all.iter().find(|one| one["kind"] == kind && one["state"] == "active").unwrap();
    active["id"].as_str().unwrap().to_owned()
}

/// What this node has asked of its KMS, but for probes and openings.
async fn kms_calls(node: &Node) -> u64 {
    let (_, metrics) = node.get("/metrics").await.unwrap();
    let work = |line: &&str| {
        line.starts_with("signet_kms_calls_total{")
            && !line.contains("operation=\"probe\"")
            && !line.contains("operation=\"find\"")
    };
    metrics.lines().filter(work).map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

const CALLER: &str = "spiffe://example.org/gateway";
/// Verifiers look again soon, so that a root is switched within seconds; nothing rotates by itself meanwhile.
const SCHEDULE: &str = "refresh_hint = \"1s\"\n";
const SETTLE: Duration = Duration::from_secs(60);
