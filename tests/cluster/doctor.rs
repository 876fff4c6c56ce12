//! `signet doctor` and `signet debug bundle`, with a node and without.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::agent::{Agent, exchange_form, txn_token};
use crate::support::cli::{Said, arg, file, run};
use crate::support::cluster::{Cluster, KEY_FILE};
use crate::support::users::{AUDIENCE, Users, policy};
use crate::support::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_sees_what_is_wrong_with_a_node_its_machine_and_its_cluster() {
    let mut cluster = Cluster::of_three().await;
    let socket = cluster.nodes[0].socket();
    let doctor = |more: &[&str]| run(Some(&socket), &[&["doctor", "-o", "json"], more].concat());

    let said = doctor(&[]);
    let names: Vec<String> = checks(&said).iter().map(|check| check["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ALL, "{said:?}");
    for name in ["permissions", "disk", "quorum", "clocks", "versions", "upgrade", "authorities"] {
        assert_eq!(check(&said, name)["verdict"], "ok", "{said:?}");
    }
    assert!(check(&said, "fsync")["measured"].as_str().unwrap().contains("p99"), "{said:?}");
    assert!(check(&said, "peers")["measured"].as_str().unwrap().contains("p50"), "{said:?}");
    let failed = checks(&said).iter().any(|check| check["verdict"] == "fail");
    assert_eq!(said.code, Some(i32::from(failed)), "{said:?}");
    for check in checks(&said) {
        let found = matches!(check["verdict"].as_str(), Some("warn" | "fail"));
        assert_eq!(check["fix"] != "", found, "{check}");
    }

    // A member that does not answer, and a data directory that is open to others.
    let id = cluster.nodes[2].id;
    cluster.nodes[2].kill();
    std::fs::set_permissions(cluster.nodes[0].data(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = eventually(Duration::from_secs(20), "the dead member to be missed", async || {
        let said = doctor(&[]);
        if check(&said, "peers")["verdict"] == "fail" { Ok(said) } else { Err(format!("{said:?}")) }
    })
    .await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(check(&said, "peers")["problem"].as_str().unwrap().contains(&format!("node {id} (")), "{said:?}");
    assert_eq!(check(&said, "permissions")["verdict"], "fail", "{said:?}");
    let table = run(Some(&socket), &["doctor"]);
    assert!(table.code == Some(1) && table.stdout.contains("fix: chmod 0700"), "{table:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_node_the_doctor_looks_at_configuration_machine_and_data_directory() {
    let mut cluster = Cluster::of_one(None, "example.org", "30s").await;
    let node = &mut cluster.nodes[0];
    node.signal(Signal::TERM);
    node.ended(Duration::from_secs(20)).await;
    let config = node.config();
    let doctor = |config: &str| run(None, &["doctor", "--config", config, "-o", "json"]);

    let said = doctor(arg(&config));
    assert_eq!(check(&said, "config")["verdict"], "ok", "{said:?}");
    assert_eq!(check(&said, "permissions")["verdict"], "ok", "{said:?}");
    for name in ["quorum", "peers", "clocks"] {
        assert_eq!(check(&said, name)["verdict"], "skipped", "{said:?}");
        assert!(check(&said, name)["measured"].as_str().unwrap().contains("no node answers at"), "{said:?}");
    }
    let ballast = node.data().join("ballast");
    std::fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let released = run(None, &["doctor", "--config", arg(&config), "--release-ballast"]);
    assert!(released.stderr.contains("1.0 MiB free") && !ballast.exists(), "{released:?}");

    let wrong = file(cluster.folder(), "wrong.toml", "data_dir = \"/x\"\nnonsense = 1\n");
    let said = doctor(arg(&wrong));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(check(&said, "config")["problem"].as_str().unwrap().contains("nonsense"), "{said:?}");
    assert_eq!(check(&said, "disk")["verdict"], "skipped", "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bug_report_holds_what_it_needs_and_no_secret() {
    let cluster = Cluster::of_three().await;
    let users = Users::start().await;
    let node = &cluster.nodes[1];
    let admin = node.admin().await;
    admin.apply_policy(policy(&users.issuer, &users.jwks_uri(), CALLER), None).await.unwrap();
    let gateway = Agent::minted(node, CALLER).await;
    let access_token = users.token("alice", AUDIENCE, "orders.read");
    let form = exchange_form(&access_token, "example.org", "orders.read");
    let transaction_token = txn_token(&gateway.https(node).exchange(&form).await.unwrap()).unwrap();
    let jwt_svid = admin.mint_jwt_svid(&CALLER.parse().unwrap(), &["someone".to_owned()], 0).await.unwrap().token;
    let join_token = std::fs::read_to_string(cluster.join_token("1h")).unwrap();
    let kek = std::fs::read_to_string(cluster.folder().join(KEY_FILE)).unwrap();

    let report = cluster.folder().join("report.tar");
    run(Some(&node.socket()), &["debug", "bundle", arg(&report)]).done();
    assert_eq!(std::fs::metadata(&report).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = std::fs::read(&report).unwrap();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let names: Vec<String> =
        archive.entries().unwrap().map(|it| it.unwrap().path().unwrap().display().to_string()).collect();
    for name in [
        "version.txt",
        "config.toml",
        "doctor.json",
        "metrics.txt",
        "cluster-status.txt",
        "journal.json",
        "log.txt",
        "raft.txt",
        "rocksdb-log.txt",
        "rocksdb-state.txt",
    ] {
        assert!(names.contains(&format!("signet-debug/{name}")), "{name} is not in {names:?}");
    }
    for text in ["raft runs", "signet_raft_applied_index", "rocksdb.background-errors", "[trust_domain]", "example.org"]
    {
        assert!(holds(&bytes, text.as_bytes()), "{text:?} is not in the report");
    }

    let signature = |token: &str| token.rsplit('.').next().unwrap().as_bytes().to_vec();
    let join_token = join_token.trim();
    let mut secrets = vec![
        ("the key-encryption key", BASE64_STANDARD.decode(kek.trim()).unwrap()),
        ("the key-encryption key, as text", kek.trim().as_bytes().to_vec()),
        ("a private key in the clear", P256_PKCS8.to_vec()),
        ("a private key as PEM", b"PRIVATE KEY".to_vec()),
        ("the user's access token", signature(&access_token)),
        ("a transaction token", signature(&transaction_token)),
        ("a JWT-SVID", signature(&jwt_svid)),
        ("a join token", join_token.as_bytes()[join_token.len() - 24..].to_vec()),
    ];
    for node in &cluster.nodes {
        let key = std::fs::read(node.data().join("peer.key")).unwrap();
        let at = key.windows(P256_PKCS8.len()).position(|window| window == P256_PKCS8).unwrap() + P256_PKCS8.len();
        let scalar = &key[at..at + 32];
        secrets.push(("a peer's private key", scalar.to_vec()));
        secrets.push(("a peer's private key, as text", BASE64_STANDARD.encode(&scalar[..30]).into_bytes()));
        let hex: String = scalar.iter().map(|byte| format!("{byte:02x}")).collect();
        secrets.push(("a peer's private key, as hexadecimal", hex.into_bytes()));
    }
    for (name, secret) in &secrets {
        assert!(!holds(&bytes, secret), "{name} is in the report");
    }
    run(Some(&node.socket()), &["debug", "bundle", arg(&report)]).refused(1, "io");
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn checks(said: &Said) -> Vec<Value> {
    let document: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|cause| panic!("{cause} in {said:?}"));
    document["checks"].as_array().unwrap().clone()
}

fn check(said: &Said, name: &str) -> Value {
    checks(said).into_iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {said:?}"))
}

const ALL: [&str; 15] = [
    "permissions",
    "fsync",
    "disk",
    "ballast",
    "files",
    "swap",
    "core-dumps",
    "ntp",
    "quorum",
    "clocks",
    "peers",
    "versions",
    "upgrade",
    "authorities",
    "journal",
];
const CALLER: &str = "spiffe://example.org/gateway";
/// How the private key of P-256 begins in PKCS#8: the algorithm, and `ECPrivateKey` version 1 with 32 bytes to follow.
const P256_PKCS8: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
    0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20,
];
