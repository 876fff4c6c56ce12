//! The test that a whole cluster passes on every key backend: its roots are made and used there, and its issuing keys
//! are opened there by every node.
//!
//! To add a backend: a file beside `kms/pkcs11.rs`, whose test sets it up, keeps it in a variable until the end, and gives
//! [`serves_and_rotates`] its name and the [`Keys`]: its URI, and what a server needs in its environment.

mod aws;
mod calls;
mod pkcs11;
mod restore;

use std::io::Write as _;

use crate::rotation::{Watch, active, authority, rotated, show};
use crate::support::cluster::Cluster;
use crate::support::node::Keys;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_on_a_key_file_serves_and_rotates() {
    serves_and_rotates("file", None).await;
}

/// Three nodes issue and exchange, rotate the keys in memory and the root by command, lose their leader, go on without
/// it, and open their keys again when all of them were restarted. Nothing that is valid is refused by any verifier.
pub(crate) async fn serves_and_rotates(name: &str, keys: Option<Keys>) {
    let mut cluster = Cluster::of_three_with(keys, "2s", "refresh_hint = \"1s\"").await;
    let mut watch = Watch::start(&cluster).await;
    let first = active(&show(&cluster).unwrap());
    assert_eq!(first.len(), 4, "{first:?}");
    watch.round(&cluster).await;

    // The keys in memory, asked for at a follower: the leader makes them and wraps them.
    let leader = cluster.leader(&EVERYWHERE).await;
    authority(&cluster.nodes[(leader + 1) % 3], &["rotate", "--reason", "a test"]);
    let second = rotated(&cluster, &mut watch, &first, &IN_MEMORY).await;
    assert_eq!(second["x509-root"], first["x509-root"]);
    assert_eq!(watch.unanswered, Vec::<String>::new());

    // Without the leader: the next one uses the same keys, here the root's for a new issuing CA.
    let leader = cluster.leader(&EVERYWHERE).await;
    cluster.nodes[leader].kill();
    let survivors: Vec<usize> = EVERYWHERE.into_iter().filter(|position| *position != leader).collect();
    cluster.leader(&survivors).await;
    authority(&cluster.nodes[survivors[0]], &["rotate", "--kind", "x509-issuing", "--reason", "a test"]);
    let third = rotated(&cluster, &mut watch, &second, &["x509-issuing"]).await;
    let dead = format!("node {}: ", cluster.nodes[leader].id);
    cluster.nodes[leader].start(None);
    cluster.nodes[leader].ready().await;
    watch.unanswered.retain(|failure| !failure.starts_with(&dead));

    // The standby root takes over, and the backend makes another.
    authority(&cluster.nodes[leader], &["rotate", "--kind", "x509-root", "--reason", "a test"]);
    let fourth = rotated(&cluster, &mut watch, &third, &["x509-root", "x509-issuing"]).await;

    for node in &mut cluster.nodes {
        node.kill();
    }
    for node in &mut cluster.nodes {
        node.start(None);
    }
    cluster.all_ready().await;
    assert_eq!(active(&show(&cluster).unwrap()), fourth);
    watch.round(&cluster).await;
    assert_eq!(watch.unanswered, Vec::<String>::new());
    // Not by `println!`, which the test program keeps to itself when all is well.
    let (issued, checks) = (watch.issued, watch.checks);
    writeln!(std::io::stdout().lock(), "a cluster on {name}: {issued} issued, {checks} checks, none refused").unwrap();
}

const EVERYWHERE: [usize; 3] = [0, 1, 2];
const IN_MEMORY: [&str; 3] = ["x509-issuing", "jwt-svid", "transaction-token"];
