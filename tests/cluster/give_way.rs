//! A leader that cannot use the root's key backend lets another lead when something has to be signed.

use std::time::Duration;

use crate::rolling::restart_each;
use crate::support::cli::run;
use crate::support::cluster::{Cluster, KEY_FILE};
use crate::support::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn leadership_goes_to_a_node_that_reaches_the_root_s_backend() {
    let mut cluster = Cluster::of_three_saying("4s", "refresh_hint = \"1s\"\n").await;
    // Each node gets a copy of the key file of its own.
    for node in &cluster.nodes {
        let own = node.folder.join(KEY_FILE);
        std::fs::copy(cluster.folder().join(KEY_FILE), &own).unwrap();
        node.set_keys(&format!("backend = \"file:{}\"\nprobe = \"1s\"", own.display()));
    }
    restart_each(&mut cluster).await;
    let all = [0, 1, 2];
    let leader = cluster.leader(&all).await;
    let before = issuing(&cluster);
    std::fs::remove_file(cluster.nodes[leader].folder.join(KEY_FILE)).unwrap();
    let other = (leader + 1) % 3;
    eventually(SETTLE, "the leader's backend to fail", async || {
        let told = run(Some(&cluster.nodes[other].socket()), &["recipient", "list", "-o", "json"]).json();
        let usable = told["recipients"][0]["usable_by"].as_array().map(Vec::len);
        if usable == Some(2) { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
    assert_eq!(cluster.leader(&all).await, leader, "nothing has to be signed, so nothing has to move");

    run(Some(&cluster.nodes[leader].socket()), &["authority", "rotate", "--kind", "x509-issuing"]).done();
    eventually(SETTLE, "another leader to make an issuing CA", async || {
        let now = issuing(&cluster);
        let made = now.iter().any(|id| !before.contains(id));
        let log = cluster.nodes[leader].log();
        let handed = log.contains("cannot use the key backend that rotation needs");
        if made && handed { Ok(()) } else { Err(format!("{now:?} {log}")) }
    })
    .await;
}

/// The ids of all issuing CAs.
fn issuing(cluster: &Cluster) -> Vec<String> {
    let shown = run(Some(&cluster.nodes[0].socket()), &["authority", "show", "-o", "json"]).json();
    let all = shown["authorities"].as_array().unwrap();
    let issuing = all.iter().filter(|one| one["kind"] == "x509-issuing");
    issuing.filter_map(|one| one["id"].as_str().map(str::to_owned)).collect()
}

const SETTLE: Duration = Duration::from_secs(60);
