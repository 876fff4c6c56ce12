//! A node that has lost touch with the leader: it goes on signing while its lease lasts, and then it stops and says so.

use std::time::Duration;

use rustix::process::Signal;
use signet_model::refusal::Reason;
use tokio::time::Instant;

use crate::support::cli::run;
use crate::support::cluster::Cluster;
use crate::support::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_stops_signing_when_its_lease_ends_and_says_so() {
    let cluster = Cluster::of_three_with_lease("4s").await;
    let leader = cluster.leader(&[0, 1, 2]).await;
    let alone = (0..3).find(|position| *position != leader).unwrap();
    let node = &cluster.nodes[alone];
    let admin = node.admin().await;
    let audience = ["someone".to_owned()];
    let mint = async || admin.mint_jwt_svid(&"spiffe://example.org/x".parse().unwrap(), &audience, 0).await;
    mint().await.unwrap();

    let cut = Instant::now();
    let others = || (0..3).filter(|position| *position != alone).map(|position| &cluster.nodes[position]);
    others().for_each(|other| other.signal(Signal::STOP));
    mint().await.expect("losing the leader for less than the lease costs nothing");
    let refusal = eventually(Duration::from_secs(15), "the lease to end", async || match mint().await {
        Ok(_) => Err("it still signs".to_owned()),
        Err(refusal) => Ok(refusal),
    })
    .await;
    let signed_for = cut.elapsed();
    assert_eq!(refusal.reason(), Some(Reason::LeaseExpired), "{refusal:?}");
    assert!(signed_for < Duration::from_secs(7), "it signed for {signed_for:?} with a lease of 4 s");
    let (status, body) = node.get("/readyz").await.unwrap();
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("lease"), "{body}");
    assert_eq!(node.get("/livez").await.unwrap().0, 200);

    // What it knows is shown, marked as stale, and the exit code says that there is no quorum.
    let status = run(Some(&node.socket()), &["cluster", "status", "-o", "json"]);
    assert_eq!(status.code, Some(3), "{status:?}");
    let status: serde_json::Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["stale"], true, "{status}");
    run(Some(&node.socket()), &["entry", "delete", "nothing", "--timeout", "2s"]).refused(3, "no_quorum");

    others().for_each(|other| other.signal(Signal::CONT));
    eventually(Duration::from_secs(15), "it to sign again", async || mint().await.map_err(|e| e.to_string())).await;
    node.ready().await;
}
