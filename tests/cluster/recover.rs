//! The drill for a quorum that is lost for good: kill two of three and delete what they had, recover on the third, have two
//! new nodes join, and let an old one come back.

use std::path::Path;
use std::time::Duration;

use crate::support::agent::Agent;
use crate::support::cli::{arg, create_entry, file, run};
use crate::support::cluster::Cluster;
use crate::support::node::Node;
use crate::support::wait::eventually;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &target)
        } else {
            std::fs::copy(item.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_quorum_is_recovered_on_the_survivor_and_the_old_members_are_fenced() {
    let mut cluster = Cluster::of_three().await;
    let sockets: Vec<_> = cluster.nodes.iter().map(Node::socket).collect();
    for name in ["shop", "search"] {
        create_entry(&sockets[0], name);
    }
    let unused = cluster.join_token("1h");
    let agent = Agent::minted(&cluster.nodes[2], "spiffe://example.org/host").await;
    // The survivor has seen everything, and a quorum has told it so.
    run(Some(&sockets[2]), &["entry", "show", "search"]).done();

    // One of the lost ones will come back from what somebody had copied.
    let folder = cluster.folder().to_owned();
    for node in &mut cluster.nodes {
        node.kill();
    }
    let kept = folder.join("kept");
    copy(&cluster.nodes[0].data(), &kept);
    for lost in &cluster.nodes[..2] {
        std::fs::remove_dir_all(lost.data()).unwrap();
    }
    let data = cluster.nodes[2].data();
    let old_id = cluster.nodes[2].id;

    let plan_file = folder.join("plan.json");
    let plan = run(None, &["recover", "plan", "--data-dir", arg(&data), "--out", arg(&plan_file), "-o", "json"]).json();
    assert_eq!((&plan["chosen"], plan["lost"].as_array().map(Vec::len)), (&old_id.into(), Some(2)), "{plan}");
    assert!(plan["complete_until"]["index"].as_u64().unwrap() > 0, "{plan}");
    assert_eq!(
        (&plan["voided_join_tokens"], plan["authorities"].as_array().map(Vec::len)),
        (&1.into(), Some(5)),
        "{plan}"
    );
    let told = run(None, &["recover", "plan", "--data-dir", arg(&data)]).done();
    assert!(told.contains("may be missing") && told.contains("Authorities to review"), "{told}");
    assert!(!told.contains("no loss"), "{told}");

    // Nothing happens without the right confirmation.
    let apply = ["recover", "apply", "--plan", arg(&plan_file), "--data-dir", arg(&data)];
    let told = run(None, &apply).done();
    assert!(told.contains("Nothing was changed"), "{told}");
    run(None, &[&apply[..], &["--confirm", "another"]].concat()).refused(1, "failed_precondition");
    let id = plan["cluster_id"].as_str().unwrap();
    let recovered = run(None, &[&apply[..], &["--confirm", id, "-o", "json"]].concat()).json();
    assert_ne!(recovered["cluster_id"], plan["cluster_id"], "{recovered}");
    assert!(recovered["node_id"].as_u64().unwrap() > 3, "{recovered}");
    assert!(Path::new(recovered["set_aside"].as_str().unwrap()).join("identity").exists());

    let end = plan["survivors"][0]["last_log"]["index"].as_u64().unwrap();
    let hash = plan["survivors"][0]["chain_hash"].as_str().unwrap();
    let receipt = |hash: &str| format!("{{\"index\": {end}, \"chain_hash\": \"{hash}\"}}\n{{\"index\": 3}}\n");
    let covered = file(&folder, "covered", &receipt(hash));
    let verify = ["recover", "verify", "--data-dir", arg(&data), "-o", "json", "--receipts"];
    let verified = run(None, &[&verify[..], &[arg(&covered)]].concat()).json();
    assert_eq!(
        (&verified["spaces"]["Entries"]["rows"], verified["problems"].as_array().map(Vec::len)),
        (&2.into(), Some(0))
    );
    assert_eq!(verified["ancestors"][0]["kind"], "recovered", "{verified}");
    assert_eq!((&verified["agreeing_hashes"], &verified["receipts"]), (&1.into(), &2.into()), "{verified}");
    let other = file(&folder, "other", &receipt(&"0".repeat(64)));
    let told = run(None, &[&verify[..], &[arg(&other)]].concat());
    assert!(told.code == Some(1) && told.stderr.contains("the hashes differ"), "{told:?}");
    let beyond = file(&folder, "beyond", &format!("{{\"index\": {}}}\n", end + 5));
    run(None, &[&verify[..], &[arg(&beyond)]].concat()).refused(1, "failed_precondition");

    // It serves, with the same keys, and its journal goes on.
    let node = &mut cluster.nodes[2];
    node.start(None);
    node.ready().await;
    let survivor = &cluster.nodes[2];
    run(Some(&survivor.socket()), &["entry", "show", "search"]).done();
    agent.grpc(survivor).await.unwrap().bundle().await.unwrap();
    Agent::minted(survivor, "spiffe://example.org/host").await;
    eventually(Duration::from_secs(20), "the issuance journal to be replicated", async || {
        let (_, metrics) = survivor.get("/metrics").await?;
        if metrics.contains("\nsignet_issuance_backlog_records 0\n") { Ok(()) } else { Err(metrics) }
    })
    .await;
    create_entry(&survivor.socket(), "new");

    // Two new nodes join, by new tokens.
    let mut joined = Vec::new();
    for name in ["fourth", "fifth"] {
        let token = folder.join(format!("token-{name}"));
        run(Some(&survivor.socket()), &["cluster", "join-token", arg(&token)]).done();
        let mut node = Node::new(folder.join(name), &cluster.settings);
        node.start(Some(&token));
        node.answers().await;
        node.ready().await;
        joined.push(node);
    }
    eventually(Duration::from_secs(30), "three voters", async || {
        let status = survivor.status().await?;
        let here = status.nodes.iter().filter(|node| matches!(node.role, "leader" | "follower")).count();
        if here == 3 && !status.stale { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    for node in &joined {
        run(Some(&node.socket()), &["entry", "show", "new"]).done();
    }

    // An old member comes back, and an unused token of the old cluster is tried: neither is let in.
    std::fs::rename(&kept, cluster.nodes[0].data()).unwrap();
    cluster.nodes[0].start(None);
    cluster.nodes[0].answers().await;
    eventually(Duration::from_secs(30), "the old member to say why it is left out", async || {
        let log = cluster.nodes[0].log();
        let said = log.contains("is a member of another cluster now")
            && log.contains(recovered["cluster_id"].as_str().unwrap());
        if said { Ok(()) } else { Err(log.lines().rev().take(5).collect::<Vec<_>>().join("\n")) }
    })
    .await;
    let stale = run(Some(&cluster.nodes[0].socket()), &["cluster", "status", "-o", "json"]);
    assert_eq!(stale.code, Some(3), "it has no quorum: {stale:?}");
    let mut newcomer = Node::new(folder.join("sixth"), &cluster.settings);
    newcomer.start(Some(&unused));
    newcomer.answers().await;
    let status = cluster.nodes[2].status().await.unwrap();
    assert_eq!(status.nodes.len(), 3, "{status:?}");
    create_entry(&cluster.nodes[2].socket(), "still");
}
