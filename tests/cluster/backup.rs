//! Backups: saved from a running cluster, and a new cluster made from one.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use std::time::Duration;

use crate::support::agent::{Agent, trust};
use crate::support::cli::{arg, create_entry, file, run};
use crate::support::cluster::{Alone, Cluster};
use crate::support::node::Node;
use crate::support::users::policy;
use crate::support::wait::eventually;

/// The hashes of entries, policy and authorities in what `verify` has found.
fn hashes(verified: &Value) -> Vec<Value> {
    ["Entries", "EntriesByParent", "EntriesBySpiffeId", "EntriesByIdentity", "Policy", "Authorities"]
        .map(|space| verified["spaces"][space]["sha256"].clone())
        .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_one_cluster_restores_into_a_new_one_that_signs_with_the_same_keys() {
    let mut old = Cluster::of_three().await;
    let sockets: Vec<_> = old.nodes.iter().map(Node::socket).collect();
    let folder = tempfile::tempdir().unwrap();
    for name in ["shop", "search", "cart"] {
        create_entry(&sockets[0], name);
    }
    let document = policy("https://idp.example.org", "https://idp.example.org/keys", "spiffe://example.org/gateway");
    let document = file(folder.path(), "policy.yaml", &document);
    run(Some(&sockets[1]), &["policy", "apply", arg(&document)]).done();
    let agent = Agent::minted(&old.nodes[0], "spiffe://example.org/host").await;
    let anchors = trust(&old.nodes[0].admin().await).await.anchors;
    let unused = old.join_token("1h");

    // From a node that follows, while all serve.
    let leader = old.leader(&[0, 1, 2]).await;
    let follower = (0..3).find(|at| *at != leader).unwrap();
    let backup = folder.path().join("backup");
    run(Some(&sockets[follower]), &["snapshot", "save", arg(&backup)]).done();
    assert_eq!(std::fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    run(Some(&sockets[follower]), &["snapshot", "save", arg(&backup)]).refused(1, "already_exists");
    create_entry(&sockets[0], "later");
    let verified = run(None, &["snapshot", "verify", arg(&backup), "-o", "json"]).json();
    assert_eq!(verified["problems"].as_array().map(Vec::len), Some(0), "{verified}");
    assert_eq!((&verified["spaces"]["Entries"]["rows"], &verified["trust_domain"]), (&3.into(), &"example.org".into()));
    assert_eq!((&verified["join_tokens"]["usable"], &verified["join_tokens"]["used"]), (&1.into(), &2.into()));
    assert_eq!(verified["voters"].as_array().map(Vec::len), Some(3), "{verified}");

    // The old cluster is gone; the new one begins with one node.
    for node in &mut old.nodes {
        node.kill();
    }
    let mut first = Node::new(folder.path().join("restored"), &old.settings);
    let data = first.data();
    let restored = ["snapshot", "restore", arg(&backup), "--data-dir", arg(&data), "-o", "json"];
    let dry = run(None, &[&restored[..], &["--dry-run"]].concat()).json();
    assert_eq!((&dry["dry_run"], first.data().exists()), (&true.into(), false), "{dry}");
    let restored = run(None, &restored).json();
    assert_ne!(restored["cluster_id"], restored["old_cluster_id"]);
    assert_eq!(restored["voided_join_tokens"], 1, "{restored}");
    let offline = run(None, &["recover", "verify", "--data-dir", arg(&data), "-o", "json"]).json();
    assert_eq!(hashes(&offline), hashes(&verified), "entries, policy and authorities are the same");
    first.start(None);
    first.ready().await;

    // Same authorities: what the old one signed is good here, and what this one signs is good there.
    assert_eq!(trust(&first.admin().await).await.anchors, anchors);
    agent.grpc(&first).await.unwrap().bundle().await.unwrap();
    let newer = Agent::minted(&first, "spiffe://example.org/host").await;
    assert_eq!(newer.svid.cert_chain.last(), agent.svid.cert_chain.last(), "the same issuing authority");
    newer.grpc(&first).await.unwrap().bundle().await.unwrap();
    run(Some(&first.socket()), &["entry", "show", "cart"]).done();
    run(Some(&first.socket()), &["entry", "show", "later"]).refused(1, "not_found");

    // Tokens: neither a used nor an unused one of the old cluster lets anybody in.
    let mut newcomer = Node::new(folder.path().join("newcomer"), &old.settings);
    newcomer.start(Some(&unused));
    newcomer.answers().await;
    create_entry(&first.socket(), "new");
    let status = first.status().await.unwrap();
    assert_eq!(status.nodes.len(), 1, "nobody joined by an old token: {status:?}");
    newcomer.kill();
    let again = folder.path().join("again");
    run(Some(&first.socket()), &["snapshot", "save", arg(&again)]).done();
    let after = run(None, &["snapshot", "verify", arg(&again), "-o", "json"]).json();
    assert_eq!((&after["join_tokens"]["usable"], &after["join_tokens"]["used"]), (&0.into(), &2.into()), "{after}");
    assert_eq!(after["ancestors"][0]["cluster_id"], restored["old_cluster_id"], "{after}");
    // A running cluster prepares its next keys in its own time, so authorities were compared before it ran.
    assert_eq!(hashes(&after)[4], hashes(&verified)[4], "the policy is the same");
    run(Some(&first.socket()), &["entry", "delete", "new"]).done();
    let equal = folder.path().join("equal");
    run(Some(&first.socket()), &["snapshot", "save", arg(&equal)]).done();
    let equal = run(None, &["snapshot", "verify", arg(&equal), "-o", "json"]).json();
    assert_eq!(hashes(&equal)[..4], hashes(&verified)[..4], "entries and their indexes are the same");

    // Others join by a token of the new one.
    let token = folder.path().join("token");
    run(Some(&first.socket()), &["cluster", "join-token", arg(&token)]).done();
    let mut second = Node::new(folder.path().join("second"), &old.settings);
    second.start(Some(&token));
    second.answers().await;
    second.ready().await;
    run(Some(&second.socket()), &["entry", "show", "cart"]).done();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_damaged_or_no_backup_is_refused_by_name_and_place() {
    let cluster = Cluster::of_three().await;
    create_entry(&cluster.nodes[0].socket(), "shop");
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    run(Some(&cluster.nodes[0].socket()), &["snapshot", "save", arg(&backup)]).done();
    let inspected = run(None, &["snapshot", "inspect", arg(&backup), "-o", "json"]).json();
    assert_eq!(inspected["size"], std::fs::metadata(&backup).unwrap().len(), "{inspected}");

    let mut bytes = std::fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let damaged = folder.path().join("damaged");
    std::fs::write(&damaged, &bytes).unwrap();
    let target = folder.path().join("target");
    for command in [
        vec!["snapshot", "verify", arg(&damaged)],
        vec!["snapshot", "restore", arg(&damaged), "--data-dir", arg(&target)],
    ] {
        let told = run(None, &command).refused(1, "damaged");
        assert!(told.contains("damaged at byte ") && told.contains("use another copy"), "{told}");
    }
    let key = file(folder.path(), "no-backup", "this is no backup");
    let told = run(None, &["snapshot", "inspect", arg(&key)]).refused(1, "damaged");
    assert!(told.contains("it is no snapshot of Signet"), "{told}");
    let occupied = ["snapshot", "restore", arg(&backup), "--data-dir", arg(folder.path())];
    run(None, &occupied).refused(1, "failed_precondition");
    run(None, &["snapshot", "inspect", "/no/such/file"]).refused(1, "io");
}

#[tokio::test(flavor = "multi_thread")]
async fn scheduled_backups_come_in_time_old_ones_go_and_foreign_files_stay() {
    let mut cluster = Cluster::of_one(Some(Alone::turn().await), "example.org", "30s").await;
    let folder = cluster.folder().join("backups");
    std::fs::create_dir(&folder).unwrap();
    let foreign = ["signet-example.org-notes.snapshot", "mine", "signet-other.org-00-20200101T000000Z-1.snapshot"];
    for name in foreign {
        std::fs::write(folder.join(name), "mine").unwrap();
    }
    let node = &mut cluster.nodes[0];
    let status = run(Some(&node.socket()), &["snapshot", "status"]).done();
    assert!(status.contains("no backups are scheduled"), "{status}");
    node.kill();
    let mut config = std::fs::read_to_string(node.config()).unwrap();
    config.push_str(&format!("[backups]\nschedule = \"5s\"\nfolder = {folder:?}\nkeep = 1\n"));
    std::fs::write(node.config(), config).unwrap();
    node.start(None);
    node.ready().await;
    let node = &cluster.nodes[0];
    let own = || {
        let names = std::fs::read_dir(&folder).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap());
        let mut own: Vec<String> = names.filter(|name| !foreign.contains(&name.as_str())).collect();
        own.sort();
        own
    };
    let first = eventually(Duration::from_secs(30), "the first backup", async || {
        own().into_iter().find(|name| name.starts_with("signet-")).ok_or_else(|| node.log())
    });
    let first = first.await;
    run(None, &["snapshot", "verify", arg(&folder.join(&first))]).done();
    let said = run(Some(&node.socket()), &["snapshot", "status", "-o", "json"]).json();
    assert_eq!((&said["last_success"]["name"], &said["active"]), (&first.clone().into(), &true.into()), "{said}");
    eventually(Duration::from_secs(30), "a second backup in the place of the first", async || {
        let own = own();
        if own.len() == 1 && own[0] != first && !own[0].starts_with('.') { Ok(()) } else { Err(format!("{own:?}")) }
    })
    .await;
    for name in foreign {
        assert!(folder.join(name).exists(), "{name} is not ours and was removed");
    }
    let (_, metrics) = node.get("/metrics").await.unwrap();
    assert!(metrics.contains("signet_backups_total{result=\"ok\"}"), "{metrics}");
    assert!(!metrics.contains("signet_backup_last_success_timestamp_seconds 0\n"), "{metrics}");

    // A place that is gone is told, in status and metrics, and comes back by itself.
    std::fs::rename(&folder, cluster.folder().join("away")).unwrap();
    std::fs::write(&folder, "a file is in the way").unwrap();
    eventually(Duration::from_secs(30), "the failure to be told", async || {
        let said = run(Some(&node.socket()), &["snapshot", "status"]).done();
        if said.contains("check the path, its permissions") { Ok(()) } else { Err(said) }
    })
    .await;
}
