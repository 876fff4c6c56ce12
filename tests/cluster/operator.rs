//! What an operator's scripts rely on: the forms of answers, exit codes, and who is written down as having asked.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::cli::{arg, file, foreign, run};
use crate::support::cluster::Cluster;
use crate::support::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn every_node_takes_every_command_and_shows_the_same() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader(&[0, 1, 2]).await;
    let follower = (0..3).find(|position| *position != leader).unwrap();
    let [leader_socket, follower_socket] = [leader, follower].map(|position| cluster.nodes[position].socket());
    let at_follower = |arguments: &[&str]| run(Some(&follower_socket), arguments);

    // Two followers may need a moment until they have dialled each other.
    let status = eventually(Duration::from_secs(10), "everybody to reach everybody", async || {
        let status = at_follower(&["cluster", "status", "-o", "json"]).json();
        if status.to_string().contains("unreachable") { Err(status.to_string()) } else { Ok(status) }
    });
    status_is_as_documented(&status.await, cluster.nodes[leader].id);

    let mode = std::fs::metadata(&follower_socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the admin socket is open to others");
    let (status, metrics) = cluster.nodes[leader].get("/metrics").await.unwrap();
    assert!(
        status == 200 && metrics.contains("\nsignet_raft_is_leader 1\n") && metrics.ends_with("# EOF\n"),
        "{metrics}"
    );

    let (id, parent) = ("spiffe://example.org/shop", "spiffe://example.org/host");
    let create =
        ["entry", "create", "--entry-id", "shop", "--spiffe-id", id, "--parent-id", parent, "--selector", "unix:uid:7"];
    at_follower(&create).done();
    // Read at once at another node: reads are linearizable.
    let entry = run(Some(&leader_socket), &["entry", "show", "shop", "-o", "json"]).json();
    assert_eq!(entry["spiffe_id"], id, "{entry}");
    at_follower(&create).refused(1, "already_exists");
    at_follower(&["entry", "update", "shop", "--jwt-svid-ttl", "2m"]).done();
    let entry = run(Some(&leader_socket), &["entry", "show", "shop", "-o", "json"]).json();
    assert_eq!(entry["jwt_svid_ttl"], 120, "{entry}");
    let list = run(Some(&leader_socket), &["entry", "list", "-o", "json"]).json();
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    at_follower(&["entry", "delete", "shop"]).done();
    run(Some(&leader_socket), &["entry", "show", "shop"]).refused(1, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_forwards_a_command_passes_on_who_asked() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader(&[0, 1, 2]).await;
    let follower = (0..3).find(|position| *position != leader).unwrap();
    let (id, parent) = ("spiffe://example.org/shop", "spiffe://example.org/host");
    let create =
        ["entry", "create", "--entry-id", "shop", "--spiffe-id", id, "--parent-id", parent, "--selector", "unix:uid:7"];
    run(Some(&cluster.nodes[follower].socket()), &create).done();
    let uid = rustix::process::getuid().as_raw();
    let asked_at = cluster.nodes[follower].id;
    for node in &cluster.nodes {
        let entry = run(Some(&node.socket()), &["entry", "show", "shop", "-o", "json"]).json();
        let changed_by = entry["changed_by"].as_str().unwrap();
        assert!(changed_by.starts_with(&format!("uid {uid} (pid ")), "node {}: {changed_by}", node.id);
        assert!(changed_by.ends_with(&format!(" on node {asked_at}")), "node {}: {changed_by}", node.id);
    }
}

fn status_is_as_documented(status: &Value, leader: u64) {
    assert_eq!(status["leader"], leader, "{status}");
    assert!(status["term"].as_u64().is_some(), "{status}");
    assert_ne!(status["stale"], true, "{status}");
    let nodes = status["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3, "{status}");
    for node in nodes {
        let role = if node["id"] == leader { "leader" } else { "follower" };
        assert_eq!(node["role"], role, "{status}");
        assert!(node["applied"].as_u64().is_some(), "{status}");
        assert_eq!(node["version"], env!("CARGO_PKG_VERSION"), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inspect_says_in_words_what_is_wrong_with_a_token() {
    let cluster = Cluster::of_three().await;
    let node = &cluster.nodes[0];
    let agent = Agent::minted(node, "spiffe://example.org/x").await;
    let token =
        node.admin().await.mint_jwt_svid(&agent.spiffe_id.parse().unwrap(), &["me".to_owned()], 0).await.unwrap().token;
    let inspect = |name: &str, text: &str, more: &[&str]| {
        let path = file(cluster.folder(), name, text);
        run(Some(&node.socket()), &[&["token", "inspect", arg(&path)], more].concat())
    };
    let said = inspect("good", &token, &[]).done();
    assert!(said.contains(&agent.spiffe_id), "{said}");
    let (head, signature) = token.rsplit_once('.').unwrap();
    let last = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{head}.{last}{}", &signature[1..]);
    let said = inspect("forged", &forged, &[]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(format!("{}{}", said.stdout, said.stderr).to_lowercase().contains("signature"), "{said:?}");
    let said = inspect("other-audience", &token, &["--audience", "you"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(format!("{}{}", said.stdout, said.stderr).contains("aud"), "{said:?}");
    let said = inspect("nothing", "this is no token", &[]);
    assert_eq!(said.code, Some(1), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ended_by_sigterm_comes_back_as_the_same_node() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader(&[0, 1, 2]).await;
    let id = cluster.nodes[leader].id;
    cluster.nodes[leader].signal(rustix::process::Signal::TERM);
    let ended = cluster.nodes[leader].ended(Duration::from_secs(20)).await;
    assert_eq!(ended.code(), Some(0), "{}", cluster.nodes[leader].log());
    let rest: Vec<usize> = (0..3).filter(|position| *position != leader).collect();
    let status = cluster.settled(&rest).await;
    assert_ne!(status.leader, Some(id), "{status:?}");
    cluster.nodes[leader].start(None);
    cluster.nodes[leader].ready().await;
    assert_eq!(cluster.nodes[leader].status().await.unwrap().answered_by, id);
    assert_eq!(cluster.settled(&[0, 1, 2]).await.nodes.len(), 3);
}

#[test]
fn the_command_line_explains_itself() {
    let help = foreign(crate::support::cli::signet(), &["--help"]).done();
    for command in
        ["server", "cluster", "entry", "x509", "jwt", "bundle", "policy", "exchange", "token", "dev", "loadtest"]
    {
        assert!(help.contains(command), "{command} is not in the help");
    }
    assert!(help.contains("no quorum"), "the exit codes are not in the help");
}
