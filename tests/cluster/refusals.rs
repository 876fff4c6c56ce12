//! Bad input: each is refused with an error that names the field and the fix, and nothing is changed.

use std::time::Duration;

use rustix::process::Signal;
use signet_api::service::EntryFilter;
use signet_model::refusal::Reason;

use crate::support::agent::{Agent, request};
use crate::support::cli::{arg, file, run};
use crate::support::cluster::{Alone, Cluster};
use crate::support::node::Node;
use crate::support::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_refuses_what_it_must_and_nothing_changes() {
    let cluster = Cluster::of_one(Some(Alone::turn().await), "example.org", "30s").await;
    let node = &cluster.nodes[0];
    run(Some(&node.socket()), &["entry", "create", "--entry-id", "one", "--spiffe-id", "spiffe://example.org/one"])
        .refused(2, "usage");
    let create = |id: &str, spiffe_id: &str| {
        let parent = "spiffe://example.org/host";
        run(
            Some(&node.socket()),
            &[
                "entry",
                "create",
                "--entry-id",
                id,
                "--spiffe-id",
                spiffe_id,
                "--parent-id",
                parent,
                "--selector",
                "unix:uid:1",
            ],
        )
    };
    create("one", "spiffe://example.org/one").done();
    let before = State::of(node).await;

    malformed_spiffe_ids(node, &create);
    csrs(node).await;
    oversized_bodies(&cluster).await;
    let said = run(Some(&node.socket()), &["cluster", "init"]).refused(1, "already_exists");
    assert!(said.contains("already"), "{said}");
    assert_eq!(State::of(node).await, before);
}

/// What must stay as it is.
#[derive(Debug, PartialEq)]
struct State {
    entries: Vec<String>,
    bundle: String,
    policy: (u64, String),
    members: usize,
    cluster: String,
}

impl State {
    async fn of(node: &Node) -> Self {
        let admin = node.admin().await;
        let status = node.status().await.unwrap();
        Self {
            entries: admin.entries(&EntryFilter::default()).await.unwrap().iter().map(|e| format!("{e:?}")).collect(),
            bundle: format!("{:?}", admin.bundle().await.unwrap()),
            policy: admin.policy().await.unwrap(),
            members: status.nodes.len(),
            cluster: status.cluster_id,
        }
    }
}

fn malformed_spiffe_ids(node: &Node, create: &dyn Fn(&str, &str) -> crate::support::cli::Said) {
    for (id, problem) in [
        ("https://example.org/x", "spiffe://"),
        ("spiffe://Example.org/x", "'E'"),
        ("spiffe://example.org/a//b", "empty"),
        ("spiffe://example.org/x/", "end"),
        ("spiffe://example.org/a/../b", "'..'"),
        ("spiffe://example.org/x?y=1", "'?'"),
    ] {
        let said = create("bad", id).refused(2, "usage");
        assert!(said.contains("--spiffe-id") && said.contains(problem), "{id}: {said}");
    }
    let said = create("foreign", "spiffe://elsewhere.org/x").refused(1, "invalid_argument");
    assert!(said.contains("spiffe ID") && said.contains("trust domain \"example.org\""), "{said}");
    let said =
        run(Some(&node.socket()), &["jwt", "mint", "--spiffe-id", "spiffe://elsewhere.org/x", "--audience", "a"]);
    let said = said.refused(1, "invalid_argument");
    assert!(said.contains("example.org"), "{said}");
}

async fn csrs(node: &Node) {
    let admin = node.admin().await;
    let (_, good) = request(&["spiffe://example.org/x"]);
    let mut bad_signature = good.clone();
    *bad_signature.last_mut().unwrap() ^= 1;
    let (_, two_uris) = request(&["spiffe://example.org/x", "spiffe://example.org/y"]);
    let (_, no_uri) = request(&[]);
    let (_, foreign) = request(&["spiffe://elsewhere.org/x"]);
    let garbage = b"this is no request".to_vec();
    let cut_off = good[..good.len() / 2].to_vec();
    for (csr, problem) in [
        (bad_signature, "signature"),
        (two_uris, "URI"),
        (no_uri, "URI"),
        (foreign, "example.org"),
        (garbage, "CSR"),
        (cut_off, "CSR"),
    ] {
        let refusal = admin.mint_x509_svid(csr, 0).await.unwrap_err();
        assert_eq!(refusal.reason(), Some(Reason::InvalidArgument), "{refusal:?}");
        assert!(refusal.message.to_lowercase().contains(&problem.to_lowercase()), "{problem} not in {refusal:?}");
    }
    admin.mint_x509_svid(good, 0).await.unwrap();
}

async fn oversized_bodies(cluster: &Cluster) {
    let node = &cluster.nodes[0];
    let agent = Agent::minted(node, "spiffe://example.org/gateway").await;
    let huge = "a".repeat(2 * 1024 * 1024);
    let answer = agent.https(node).exchange(&[("subject_token", &huge)]).await.unwrap();
    assert_eq!(answer.status, 413, "{:?}", answer.body);
    let refusal = node.admin().await.mint_x509_svid(vec![0x30; 8 * 1024 * 1024], 0).await.unwrap_err();
    assert!(matches!(refusal.code.as_str(), "resource_exhausted" | "invalid_argument"), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_works_once_and_not_for_long() {
    let mut cluster = Cluster::of_one(Some(Alone::turn().await), "example.org", "30s").await;
    let used = cluster.join_token("1h");
    let mut second = Node::new(cluster.folder().join("second"), &cluster.settings);
    second.start(Some(&used));
    second.ready().await;
    let before = State::of(&cluster.nodes[0]).await;
    assert_eq!(before.members, 2);

    let expired = cluster.join_token("1s");
    let forged = cluster.folder().join("forged");
    std::fs::write(&forged, "not a token").unwrap();
    // Its second is over when the clock has moved by two.
    let made = crate::support::clock::now_secs();
    eventually(Duration::from_secs(5), "the token to expire", async || {
        if crate::support::clock::now_secs() > made + 1 { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    for (token, problem) in [(used, "used"), (expired, "expired"), (forged, "token")] {
        let name = format!("refused-{problem}");
        let mut node = Node::new(cluster.folder().join(name), &cluster.settings);
        node.start(Some(&token));
        let log = refused(&mut node).await;
        assert!(log.contains(problem) && log.contains("join-token"), "{problem}: {log}");
    }
    assert_eq!(State::of(&cluster.nodes[0]).await, before);
    second.signal(Signal::TERM);
    assert_eq!(second.ended(Duration::from_secs(20)).await.code(), Some(0), "{}", second.log());
    cluster.nodes.push(second);
}

/// The process must end with exit code 1; what it said.
async fn refused(node: &mut Node) -> String {
    let status = node.ended(Duration::from_secs(30)).await;
    assert_eq!(status.code(), Some(1), "{}", node.log());
    node.log()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_clusters_data_is_refused() {
    let mut first = Cluster::of_one(Some(Alone::turn().await), "example.org", "30s").await;
    first.nodes[0].kill();
    // A second cluster beside it, with the first one's log under its own identity.
    let mut other = Node::new(first.folder().join("other"), &first.settings);
    other.start(None);
    other.answers().await;
    run(Some(&other.socket()), &["cluster", "init"]).done();
    other.ready().await;
    let token = first.folder().join("token-of-the-other");
    run(Some(&other.socket()), &["cluster", "join-token", arg(&token)]).done();
    other.kill();

    // Its operator thinks that this is a newcomer to the second cluster.
    first.nodes[0].start(Some(&token));
    let log = refused(&mut first.nodes[0]).await;
    assert!(log.contains("cluster") && log.contains("data"), "{log}");

    swap_logs(&first.nodes[0], &other);
    other.start(None);
    let log = refused(&mut other).await;
    assert!(log.contains("mixes clusters") && log.contains(other.data().to_str().unwrap()), "{log}");

    // Nothing was changed: with their own logs both run again.
    swap_logs(&first.nodes[0], &other);
    other.start(None);
    other.ready().await;
    first.nodes[0].start(None);
    first.nodes[0].ready().await;
}

/// Puts the log of each in the place of the other's.
fn swap_logs(one: &Node, other: &Node) {
    // What belongs to a log goes with it: the watermark would otherwise call it damaged.
    for part in ["log", "vote", "watermark"] {
        let [ours, theirs, aside] = [one.data().join(part), other.data().join(part), one.folder.join("aside")];
        for (from, to) in [(&ours, &aside), (&theirs, &ours), (&aside, &theirs)] {
            std::fs::rename(from, to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_refused_with_every_mistake_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = file(
        folder.path(),
        "signet.toml",
        "data_dri = \"/nowhere\"\n[peer]\nlisten = \"here\"\n[keys]\nbackend = \"file:/nowhere\"\n[admin]\nhtpp = \"127.0.0.1:1\"\n",
    );
    for command in [vec!["config", "check", arg(&config)], vec!["server", "--config", arg(&config)]] {
        let said = run(None, &command);
        assert_eq!(said.code, Some(1), "{said:?}");
        for key in ["data_dri", "data_dir", "peer.listen", "admin.htpp", "docs/configuration.md"] {
            assert!(said.stderr.contains(key), "{key}: {said:?}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something was written");
}
