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
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::rotation::{Watch, active, authority, rotated, show};
use crate::support::agent::Agent;
use crate::support::cli::run;
use crate::support::cluster::{Alone, Cluster};
use crate::support::kms::{KeyFiles, Kms as _};
use crate::support::node::Keys;
use crate::support::wait::eventually;

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

/// Three nodes have these kinds of keys in their backend, with these algorithms: they issue, rotate, and make each
/// signature there.
pub(crate) async fn signs_in_its_backend(keys: Keys, algorithms: &str, kinds: &[&str]) {
    let signing: String = kinds.iter().map(|kind| format!("{kind} = \"kms\"\n")).collect();
    let more =
        format!("refresh_hint = \"1s\"\n[trust_domain.algorithms]\n{algorithms}\n[trust_domain.signing]\n{signing}");
    let cluster = Cluster::of_three_with(Some(keys), "2s", &more).await;
    let mut watch = Watch::start(&cluster).await;
    let kinds: Vec<String> = kinds.iter().map(|kind| kind.replace('_', "-")).collect();
    in_backend(&show(&cluster).unwrap(), &kinds);
    let before = show(&cluster).unwrap()["kms_calls_last_hour"].as_u64().unwrap();
    for _ in 0..5 {
        watch.round(&cluster).await;
    }
    let after = show(&cluster).unwrap()["kms_calls_last_hour"].as_u64().unwrap();
    // One node tells only of its own.
    assert!(after >= before + 5, "{before} and then {after} calls: the signatures were made elsewhere");

    let first = active(&show(&cluster).unwrap());
    authority(&cluster.nodes[1], &["rotate", "--reason", "a test"]);
    rotated(&cluster, &mut watch, &first, &IN_MEMORY).await;
    in_backend(&show(&cluster).unwrap(), &kinds);
    watch.round(&cluster).await;
    assert_eq!(watch.unanswered, Vec::<String>::new());
}

/// Exactly the keys of these kinds, besides roots, are in a backend.
fn in_backend(shown: &Value, kinds: &[String]) {
    for one in shown["authorities"].as_array().unwrap() {
        let kind = one["kind"].as_str().unwrap();
        let expected = kind == "x509-root" || kinds.iter().any(|other| other == kind);
        assert_eq!(one["in_backend"], expected, "{one}");
    }
}

/// What needs the backend is refused within a bound while that is away, and nothing else; then it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_signed_in_the_backend_waits_for_it() {
    let mut kms = KeyFiles::new("kek");
    let keys = Keys { backend: kms.uri(), more: "probe = \"1s\"".to_owned(), ..Keys::default() };
    let settings = ("example.org", "30s", "[trust_domain.signing]\njwt_svid = \"kms\"\n");
    let cluster = Cluster::of_one_saying(Vec::new(), Some(Alone::turn().await), Some(keys), settings).await;
    let node = &cluster.nodes[0];
    let jwt = || run(Some(&node.socket()), &["jwt", "mint", "--spiffe-id", ID, "--audience", "a", "--timeout", "5s"]);
    jwt().done();
    kms.stop();
    eventually(BOUND, "the refusal of what the backend signs", async || {
        let said = jwt();
        if said.stderr.contains("error[sealed]") { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
    let began = Instant::now();
    let refused = jwt().refused(1, "sealed");
    assert!(refused.contains("makes every signature of this kind"), "{refused}");
    assert!(began.elapsed() < BOUND / 2);
    Agent::minted(node, ID).await;
    kms.start();
    eventually(BOUND, "the backend to sign again", async || {
        let said = jwt();
        if said.code == Some(0) { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
}

const ID: &str = "spiffe://example.org/workload";
/// A debug build on a busy machine.
const BOUND: Duration = Duration::from_secs(30);
const EVERYWHERE: [usize; 3] = [0, 1, 2];
const IN_MEMORY: [&str; 3] = ["x509-issuing", "jwt-svid", "transaction-token"];
