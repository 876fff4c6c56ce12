//! Programs of two feature levels in one cluster: a debug build takes its level from the environment.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::cli::run;
use crate::support::cluster::Cluster;
use crate::support::node::Node;
use crate::support::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn the_level_is_raised_when_all_run_the_newer_program_and_the_older_one_starts_no_more() {
    let mut cluster = Cluster::of_three().await;
    assert_eq!(status(&cluster.nodes[0])["level"], 1);
    run(Some(&cluster.nodes[0].socket()), &["cluster", "upgrade", "finalize"]).refused(1, "failed_precondition");

    restart(&mut cluster, 1, "2").await;
    restart(&mut cluster, 2, "2").await;
    let upgraded = cluster.nodes[1].socket();
    let finalize = |more: &[&str]| run(Some(&upgraded), &[&["cluster", "upgrade", "finalize"], more].concat());
    let old = cluster.nodes[0].id;
    let refused = finalize(&[]).refused(1, "failed_precondition");
    assert!(refused.contains(&format!("node {old} runs version")), "{refused}");
    let shown = status(&cluster.nodes[1]);
    assert_eq!((&shown["level"], &shown["known"]), (&json!(1), &json!(2)), "{shown}");
    assert!(shown["obstacles"].to_string().contains(&format!("node {old} ")), "{shown}");

    restart(&mut cluster, 0, "2").await;
    eventually(BOUND, "nothing to stand in the way", async || {
        let said = finalize(&["--dry-run"]);
        if said.code == Some(0) { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
    assert_eq!(status(&cluster.nodes[1])["level"], 1, "a dry run changed something");
    eventually(BOUND, "the level to be raised", async || {
        let said = finalize(&[]);
        if said.code == Some(0) { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
    for node in &cluster.nodes {
        assert_eq!(status(node)["level"], 2, "node {}", node.id);
    }

    cluster.nodes[2].kill();
    cluster.nodes[2].environment.clear();
    cluster.nodes[2].start(None);
    let ended = cluster.nodes[2].ended(BOUND).await;
    assert_eq!(ended.code(), Some(1), "{}", cluster.nodes[2].log());
    let log = cluster.nodes[2].log();
    assert!(log.contains("it knows feature level 1, and level 2 is in force; install the version"), "{log}");
}

fn status(node: &Node) -> Value {
    run(Some(&node.socket()), &["cluster", "upgrade", "status", "-o", "json"]).json()
}

async fn restart(cluster: &mut Cluster, position: usize, level: &'static str) {
    let node = &mut cluster.nodes[position];
    node.kill();
    node.environment = vec![("SIGNET_TEST_FEATURE_LEVEL".to_owned(), level.to_owned())];
    node.start(None);
    node.ready().await;
    cluster.settled(&[position]).await;
}

const BOUND: Duration = Duration::from_secs(30);
