//! `signet doctor` and `signet debug bundle`, with a node and without.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::cli::{Said, arg, file, run};
use crate::support::cluster::{Cluster, KEY_FILE};
use crate::support::secrets::Secrets;
use crate::support::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_sees_what_is_wrong_with_a_node_its_machine_and_its_cluster() {
    let mut cluster = Cluster::of_three().await;
    let socket = cluster.nodes[0].socket();
    let doctor = |more: &[&str]| run(Some(&socket), &[&["doctor", "-o", "json"], more].concat());

    let said = doctor(&[]);
    let names: Vec<String> = checks(&said).iter().map(|check| check["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ALL, "{said:?}");
    for name in ["permissions", "disk", "quorum", "clocks", "versions", "upgrade", "authorities", "keys"] {
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
    let mut cluster = Cluster::of_three().await;
    let mut secrets = Secrets::of_busy(&cluster).await;
    let node = &cluster.nodes[1];

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

    run(Some(&node.socket()), &["debug", "bundle", arg(&report)]).refused(1, "io");
    let node = &mut cluster.nodes[1];
    node.signal(Signal::TERM);
    node.ended(Duration::from_secs(20)).await;
    let data = cluster.nodes[1].data();
    assert!(secrets.add_issuing_keys(&data, &cluster.folder().join(KEY_FILE)).await >= 3);
    assert_eq!(secrets.found_in(&bytes), Vec::<&str>::new());
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

const ALL: [&str; 16] = [
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
    "keys",
];
