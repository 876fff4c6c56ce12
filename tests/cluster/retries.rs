//! A retry after a lost reply does not act twice, whichever node it goes to; and what can be read without a quorum.

use std::time::Duration;

use signet_api::client::AdminClient;

use crate::support::cli::{arg, run};
use crate::support::cluster::Cluster;

/// Applies a policy under `key` until some node says what came of it, as a caller would who knows every node's socket.
async fn apply(cluster: &Cluster, first: usize, document: &str, key: &str) -> u64 {
    for attempt in 0..400 {
        let node = &cluster.nodes[(first + attempt) % cluster.nodes.len()];
        let Ok(client) = AdminClient::connect(&node.socket()).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let client = client.with_timeout(Duration::from_secs(2)).with_idempotency_key(key).unwrap();
        match client.apply_policy(document.to_owned(), None).await {
            Ok(version) => return version,
            Err(error) => assert!(!error.code.starts_with("idempotency"), "{error:?}"),
        }
    }
    panic!("no node took the policy");
}

/// Each policy counts the version up by one, so an application that was made twice, or not at all, is seen at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_a_lost_reply_acts_once_even_when_the_leader_is_killed() {
    const CHANGES: u64 = 40;
    let mut cluster = Cluster::of_three().await;
    for change in 0..CHANGES {
        let document = format!("issuers: []\nrules: []\n# {change}\n");
        let key = format!("change-{change}");
        if change % 20 == 10 {
            // The call is at the leader, or on its way there, when that dies.
            let leader = cluster.leader(&[0, 1, 2]).await;
            let version = {
                let calls = apply(&cluster, leader, &document, &key);
                let kill = async {
                    tokio::time::sleep(Duration::from_millis(change % 7)).await;
                    rustix::process::kill_process(cluster.nodes[leader].pid(), rustix::process::Signal::KILL).unwrap();
                };
                tokio::join!(calls, kill).0
            };
            assert_eq!(version, change + 1, "told another outcome than the first");
            cluster.nodes[leader].kill();
            cluster.nodes[leader].start(None);
        } else {
            let version = apply(&cluster, usize::try_from(change).unwrap(), &document, &key).await;
            assert_eq!(version, change + 1, "told another outcome than the first");
        }
        // The reply is thrown away, and somebody else asks again elsewhere.
        assert_eq!(apply(&cluster, 1, &document, &key).await, change + 1, "the retry acted again");
    }
    cluster.all_ready().await;
    assert_eq!(cluster.nodes[0].admin().await.policy().await.unwrap().0, CHANGES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_run_again_under_its_key_is_told_what_came_of_the_first() {
    let cluster = Cluster::of_three().await;
    let at = |node: usize, arguments: &[&str]| run(Some(&cluster.nodes[node].socket()), arguments);
    let (id, parent) = ("spiffe://example.org/shop", "spiffe://example.org/host");
    let create = |selector: &'static str| {
        let what = ["entry", "create", "--spiffe-id", id, "--parent-id", parent, "--selector", selector];
        [&what[..], &["-o", "json", "--idempotency-key", "make-the-shop"]].concat()
    };
    let made = at(0, &create("unix:uid:7")).json();
    assert_eq!(at(1, &create("unix:uid:7")).json(), made, "another node tells another outcome");
    at(2, &create("unix:uid:8")).refused(1, "idempotency_key_reused");
    assert_eq!(at(2, &["entry", "list", "-o", "json"]).json().as_array().map(Vec::len), Some(1));

    // The outcome of a change that came after it does not change what the retry is told.
    let entry = made["id"].as_str().unwrap();
    let update = ["entry", "update", entry, "--hint", "a", "--idempotency-key", "hint", "-o", "json"];
    let updated = at(0, &update).json();
    assert_eq!((&updated["hint"], &updated["revision"]), (&"a".into(), &1.into()));
    let delete = ["entry", "delete", entry, "--idempotency-key", "away", "-o", "json"];
    let deleted = at(1, &delete).json();
    assert_eq!(at(2, &delete).json(), deleted);
    at(2, &["entry", "delete", entry]).refused(1, "not_found");

    // A join token is a secret that is told once; under its key it is told again.
    let token = |node: usize, name: &str, key: &str| {
        let path = cluster.folder().join(name);
        at(node, &["cluster", "join-token", arg(&path), "--idempotency-key", key]).done();
        std::fs::read_to_string(path).unwrap()
    };
    let first = token(0, "token-a", "t1");
    assert_eq!(token(1, "token-b", "t1"), first);
    assert_ne!(token(1, "token-c", "t2"), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_a_stale_read_is_answered_and_says_so() {
    let mut cluster = Cluster::of_three().await;
    let (id, parent) = ("spiffe://example.org/shop", "spiffe://example.org/host");
    let create = ["entry", "create", "--spiffe-id", id, "--parent-id", parent, "--selector", "unix:uid:7"];
    run(Some(&cluster.nodes[0].socket()), &create).done();
    cluster.caught_up(2, cluster.settled(&[0]).await.nodes.iter().filter_map(|node| node.applied).max().unwrap()).await;
    cluster.nodes[0].kill();
    cluster.nodes[1].kill();
    let socket = cluster.nodes[2].socket();
    run(Some(&socket), &["entry", "list", "--timeout", "2s"]).refused(3, "no_quorum");
    let said = run(Some(&socket), &["entry", "list", "--stale", "-o", "json", "--timeout", "20s"]);
    let index: Option<u64> = said.stderr.trim().strip_prefix("stale as of index ").and_then(|text| text.parse().ok());
    assert!(index.is_some_and(|index| index > 1), "{said:?}");
    assert_eq!(said.json().as_array().map(Vec::len), Some(1));
    let said = run(Some(&socket), &["policy", "show", "--stale"]);
    assert!(said.stderr.contains("stale as of index "), "{said:?}");
}
