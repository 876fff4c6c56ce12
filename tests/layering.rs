//! Holds what the rooms really import against the plan of the house (`README.md`, "The rooms"): the walls stand only as
//! long as something fails when one is broken through.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A room, and which rooms it may import.
struct Room {
    package: &'static str,
    may_import: &'static [&'static str],
}

const ROOMS: &[Room] = &[
    Room { package: "signet-model", may_import: &[] },
    Room { package: "signet-kms", may_import: &["signet-model"] },
    Room { package: "signet-raft", may_import: &["signet-model"] },
    Room { package: "signet-api", may_import: &["signet-model"] },
    Room { package: "signet-loadtest", may_import: &["signet-model", "signet-api"] },
    Room {
        package: "signet",
        may_import: &["signet-model", "signet-kms", "signet-raft", "signet-api", "signet-loadtest"],
    },
];

/// Crates that only some rooms may name in their dependencies, each with the rooms that may.
const FENCED: &[(&str, &[&str])] = &[
    ("openraft", &["signet-raft"]),
    ("rocksdb", &["signet-raft"]),
    ("tonic", &["signet-api", "signet-raft", "signet-loadtest", "signet"]),
    ("prost", &["signet-api", "signet-raft"]),
];

/// What the deciding room never touches: runtimes, sockets, stores, dice.
const NEVER_IN_MODEL: &[&str] = &[
    "tokio",
    "futures",
    "async-trait",
    "openraft",
    "rocksdb",
    "tonic",
    "axum",
    "hyper",
    "reqwest",
    "rustls",
    "socket2",
    "rand",
    "getrandom",
    "chrono",
    "time",
    "tempfile",
];

/// One provider of cryptography in the whole tree. With a second one rustls would refuse to choose.
const NEVER_IN_TREE: &[&str] = &["ring", "openssl", "openssl-sys", "native-tls", "schannel", "security-framework"];

const LONG_FILE: usize = 500;
/// What a longer file must hold, followed by the reason.
const LONG_FILE_MARK: &str = "Over 500 lines because";

#[test]
fn rooms_import_only_what_the_plan_allows() {
    for (name, package) in workspace_packages() {
        let room = room(&name);
        for dependency in dependencies(&package, &[Kind::Normal, Kind::Build]) {
            let ours = dependency.starts_with("signet");
            assert!(
                !ours || room.may_import.contains(&dependency.as_str()),
                "{name} imports {dependency}, which the plan does not allow: see the table of rooms in README.md"
            );
        }
    }
}

#[test]
fn every_room_of_the_plan_exists_and_no_other() {
    let packages: BTreeSet<String> = workspace_packages().into_keys().collect();
    let planned: BTreeSet<String> = ROOMS.iter().map(|r| r.package.to_owned()).collect();
    assert_eq!(packages, planned);
}

#[test]
fn a_plain_cargo_test_runs_every_room() {
    let metadata = metadata(&["--no-deps"]);
    assert_eq!(strings(&metadata["workspace_default_members"]), strings(&metadata["workspace_members"]));
}

#[test]
fn fenced_crates_stay_in_their_rooms() {
    for (name, package) in workspace_packages() {
        for dependency in dependencies(&package, &[Kind::Normal, Kind::Build, Kind::Dev]) {
            if let Some((_, rooms)) = FENCED.iter().find(|(fenced, _)| *fenced == dependency) {
                assert!(rooms.contains(&name.as_str()), "{name} imports {dependency}, which only {rooms:?} may");
            }
        }
    }
}

#[test]
fn the_model_knows_no_runtime_no_socket_and_no_dice() {
    let packages = workspace_packages();
    for dependency in dependencies(&packages["signet-model"], &[Kind::Normal, Kind::Build]) {
        assert!(!NEVER_IN_MODEL.contains(&dependency.as_str()), "signet-model imports {dependency}");
    }
}

#[test]
fn the_tree_holds_one_provider_of_cryptography() {
    // `cargo tree` and not `cargo metadata`, which also lists optional dependencies that nothing switched on.
    let output = cargo(&["tree", "--workspace", "--prefix", "none", "--edges", "normal,build,dev", "--format", "{p}"]);
    let tree = String::from_utf8(output).unwrap();
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("aws-lc-rs"), "aws-lc-rs is gone from the tree: this test looks at the wrong thing");
    for never in NEVER_IN_TREE {
        assert!(!names.contains(never), "{never} is in the tree: cargo tree -i {never} shows why");
    }
}

#[test]
fn every_room_takes_the_workspace_lints() {
    for (name, package) in workspace_packages() {
        let manifest = std::fs::read_to_string(package["manifest_path"].as_str().unwrap()).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let inherits = manifest.get("lints").and_then(|l| l.get("workspace")).and_then(toml::Value::as_bool);
        assert_eq!(inherits, Some(true), "{name}: Cargo.toml lacks `[lints] workspace = true`");
    }
}

#[test]
fn no_file_is_long_without_a_reason() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "model", "kms", "raft", "api", "loadtest"] {
        source_files(&root().join(folder), &mut files);
    }
    assert!(files.len() > 20, "only {} files found: this test looks in the wrong place", files.len());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().count();
        // The mark is assembled here so that this file does not hold it by accident.
        assert!(
            lines <= LONG_FILE || text.contains(LONG_FILE_MARK),
            "{} has {lines} lines: split it, or say in it \"{LONG_FILE_MARK} …\"",
            file.display()
        );
    }
}

#[derive(PartialEq, Clone, Copy)]
enum Kind {
    Normal,
    Build,
    Dev,
}

fn room(package: &str) -> &'static Room {
    ROOMS.iter().find(|r| r.package == package).unwrap_or_else(|| panic!("{package} is not in the plan of the house"))
}

/// The names of a package's direct dependencies of these kinds.
fn dependencies(package: &Value, kinds: &[Kind]) -> BTreeSet<String> {
    let wanted = |d: &&Value| {
        let kind = match d["kind"].as_str() {
            None => Kind::Normal,
            Some("build") => Kind::Build,
            Some(_) => Kind::Dev,
        };
        kinds.contains(&kind)
    };
    package["dependencies"]
        .as_array()
        .unwrap()
        .iter()
        .filter(wanted)
        .map(|d| d["name"].as_str().unwrap().to_owned())
        .collect()
}

fn workspace_packages() -> BTreeMap<String, Value> {
    let metadata = metadata(&["--no-deps"]);
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.map(|p| (p["name"].as_str().unwrap().to_owned(), p.clone())).collect()
}

fn metadata(arguments: &[&str]) -> Value {
    serde_json::from_slice(&cargo(&[&["metadata", "--format-version", "1"], arguments].concat())).unwrap()
}

/// What cargo says. Nothing is downloaded for it: what the tests were built from is there already.
fn cargo(arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO"));
    let output = command.args(arguments).args(["--locked", "--offline"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn source_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
            source_files(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs" || e == "proto" || e == "mjs" || e == "py") {
            into.push(path);
        }
    }
}

fn strings(list: &Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
