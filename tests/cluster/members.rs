//! Members are promoted, demoted, removed, drained and handed the lead, by the commands that an operator types.

use std::time::Duration;

use serde_json::Value;

use crate::support::cli::{Said, run};
use crate::support::cluster::Cluster;
use crate::support::wait::eventually;

fn at(cluster: &Cluster, node: usize, arguments: &[&str]) -> Said {
    run(Some(&cluster.nodes[node].socket()), arguments)
}

/// What `cluster members` says once a quorum confirms it and everybody answers.
async fn members(cluster: &Cluster, node: usize) -> Value {
    eventually(Duration::from_secs(20), "every member to answer", async || {
        let said = at(cluster, node, &["cluster", "members", "-o", "json"]);
        let told: Value = serde_json::from_str(&said.stdout).map_err(|_| format!("{said:?}"))?;
        let silent = said.code != Some(0) || told.to_string().contains("unreachable");
        if silent { Err(format!("{said:?}")) } else { Ok(told) }
    })
    .await
}

fn member(members: &Value, id: u64) -> &Value {
    members["members"].as_array().unwrap().iter().find(|member| member["id"] == id).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_demoted_promoted_and_removed_and_says_so_at_its_end() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader(&[0, 1, 2]).await;
    let (asked, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let id = cluster.nodes[other].id;
    let node = id.to_string();
    let before = members(&cluster, asked).await;
    let number = before["membership"].as_u64().unwrap();
    assert!(before["members"].as_array().unwrap().iter().all(|member| member["voter"] == true), "{before}");

    let dry = at(&cluster, asked, &["cluster", "demote", &node, "--dry-run", "-o", "json"]).json();
    assert_eq!((&dry["dry_run"], &dry["membership"]), (&true.into(), &number.into()), "{dry}");
    assert_eq!(members(&cluster, asked).await["membership"], number, "a dry run changed something");

    let wrong = (number + 1).to_string();
    let said = at(&cluster, asked, &["cluster", "demote", &node, "--if-membership", &wrong]).refused(1, "conflict");
    assert!(said.contains(&format!("it is {number} now, not {wrong}")), "{said}");
    at(&cluster, asked, &["cluster", "promote", "999"]).refused(1, "not_found");

    let right = number.to_string();
    let demote = ["cluster", "demote", &node, "--if-membership", &right, "--idempotency-key", "once", "-o", "json"];
    let demoted = at(&cluster, asked, &demote).json();
    assert_eq!(demoted["learners"], serde_json::json!([id]), "{demoted}");
    assert!(demoted["warnings"].to_string().contains("two voters"), "{demoted}");
    // Asked again under its key, although the membership is another one now.
    assert_eq!(at(&cluster, leader, &demote).json(), demoted);
    let after = members(&cluster, asked).await;
    assert_eq!((&member(&after, id)["voter"], &member(&after, id)["role"]), (&false.into(), &"learner".into()));

    let said = at(&cluster, asked, &["cluster", "promote", &node]).done();
    assert!(said.starts_with(&format!("node {node} votes: voters ")), "{said}");

    let said = at(&cluster, asked, &["cluster", "remove", &node, "--dry-run"]).done();
    assert!(said.contains("They would be replaced."), "{said}");
    let said = at(&cluster, asked, &["cluster", "remove", &node]).done();
    assert!(said.starts_with(&format!("node {node} is removed and cut off: ")), "{said}");
    assert!(said.contains("  x509-issuing ") && said.contains("(active): signs until 20"), "{said}");
    assert!(said.contains("They are being replaced"), "{said}");
    let ended = cluster.nodes[other].ended(Duration::from_secs(30)).await;
    assert_eq!(ended.code(), Some(1), "{}", cluster.nodes[other].log());
    assert!(cluster.nodes[other].log().contains("removed"), "{}", cluster.nodes[other].log());
    let left = members(&cluster, asked).await;
    assert_eq!(left["members"].as_array().map(Vec::len), Some(2), "{left}");

    // Two are left, and go on.
    let create = ["entry", "create", "--spiffe-id", "spiffe://example.org/a", "--parent-id", "spiffe://example.org/h"];
    at(&cluster, asked, &[&create[..], &["--selector", "unix:uid:7"]].concat()).done();

    // It stays out, and a new one takes its place.
    cluster.nodes[other].start(None);
    assert_eq!(cluster.nodes[other].ended(Duration::from_secs(30)).await.code(), Some(1));
    cluster.nodes.remove(other);
    cluster.add_node().await;
    assert_ne!(cluster.nodes[2].id, id, "a node id was given again");
    assert_eq!(members(&cluster, 0).await["members"].as_array().map(Vec::len), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_goes_where_it_is_sent_and_leaves_a_drained_node() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader(&[0, 1, 2]).await;
    let to = (leader + 1) % 3;
    let (id, node) = (cluster.nodes[to].id, cluster.nodes[to].id.to_string());
    let seen = members(&cluster, to).await;
    let number = seen["membership"].to_string();

    let said = at(&cluster, leader, &["cluster", "transfer-leader", &node, "--dry-run"]).done();
    assert!(said.starts_with(&format!("node {node} could lead; nothing was changed")), "{said}");
    at(&cluster, to, &["cluster", "transfer-leader", &node, "--if-membership", "999999"]).refused(1, "conflict");
    at(&cluster, to, &["cluster", "transfer-leader", "999"]).refused(1, "not_found");
    let told = ["cluster", "transfer-leader", &node, "--if-membership", &number, "-o", "json"];
    assert_eq!(at(&cluster, leader, &told).json()["leader"], id);
    assert_eq!(cluster.settled(&[0, 1, 2]).await.leader, Some(id));

    let said = at(&cluster, to, &["cluster", "drain", "--dry-run"]).done();
    assert!(said.contains("nothing was changed, it is not drained"), "{said}");
    let drained = at(&cluster, to, &["cluster", "drain", "-o", "json"]).json();
    assert_eq!((&drained["node"], &drained["drained"]), (&id.into(), &true.into()), "{drained}");
    assert!(drained["leader"].is_u64() && drained["leader"] != id, "{drained}");
    let (status, body) = cluster.nodes[to].get("/readyz").await.unwrap();
    assert!(status == 503 && body.contains("drain --undo"), "{status} {body}");
    // It still answers those who ask it, and does not lead even when it is asked to.
    at(&cluster, to, &["entry", "list"]).done();
    at(&cluster, leader, &["cluster", "transfer-leader", &node, "--dry-run"]).refused(1, "failed_precondition");
    assert_eq!(member(&members(&cluster, leader).await, id)["draining"], true);

    at(&cluster, to, &["cluster", "drain", "--undo"]).done();
    cluster.nodes[to].ready().await;
    assert_eq!(at(&cluster, leader, &["cluster", "transfer-leader", &node, "-o", "json"]).json()["leader"], id);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_loses_the_quorum_whatever_the_force() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader(&[0, 1, 2]).await;
    let (alive, dead) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.nodes[dead].kill();
    let node = cluster.nodes[alive].id.to_string();
    let refused = eventually(Duration::from_secs(20), "the leader to miss the dead node", async || {
        let said = at(&cluster, leader, &["cluster", "remove", &node, "--keep-keys", "--force", "--dry-run"]);
        if said.code == Some(1) { Ok(said) } else { Err(format!("{said:?}")) }
    })
    .await
    .refused(1, "failed_precondition");
    assert!(refused.contains("would lose the quorum"), "{refused}");
    at(&cluster, leader, &["cluster", "remove", &node, "--keep-keys", "--force"]).refused(1, "failed_precondition");
    // The dead one may go.
    let dead = cluster.nodes[dead].id.to_string();
    let said = at(&cluster, leader, &["cluster", "remove", &dead, "--keep-keys"]).done();
    assert!(said.contains("They were NOT replaced"), "{said}");
    cluster.nodes[alive].ready().await;

    let said = at(&cluster, leader, &["cluster", "reset-time", "--dry-run"]).done();
    assert!(said.contains("nothing was changed"), "{said}");
    at(&cluster, leader, &["cluster", "reset-time"]).refused(1, "failed_precondition");
}
