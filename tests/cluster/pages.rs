//! The pages say what is so: docs/operations.md is typed in, line by line, and must print what it shows; every test that
//! docs/consistency.md names exists.
//!
//! `SIGNET_WRITE_PAGES=1` writes what the commands print into the page instead of comparing it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::cli::{arg, signet};
use crate::support::cluster::Alone;
use crate::support::node::{Keys, Node, Settings};
use crate::support::wait::eventually;

#[test]
fn every_test_that_the_consistency_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = String::new();
    for folder in ["model", "kms", "raft", "api", "src", "tests"] {
        read_all(&root.join(folder), &mut sources);
    }
    let page = std::fs::read_to_string(root.join("docs/consistency.md")).unwrap();
    let named: Vec<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|text| text.matches('_').count() >= 3 && !text.contains(' '))
        .collect();
    assert!(named.len() > 30, "the page names {} tests", named.len());
    let missing: Vec<_> = named.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}

fn read_all(folder: &Path, into: &mut String) {
    for item in std::fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            read_all(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operations_page_prints_what_it_shows() {
    let _alone = Alone::turn().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let mut desk = Desk::new();
    let mut written = Vec::new();
    let mut lines = page.lines().peekable();
    let mut typed = 0;
    while let Some(line) = lines.next() {
        written.push(line.to_owned());
        if let Some(name) = line.strip_prefix("<!-- kill ").and_then(|rest| rest.strip_suffix(" -->")) {
            desk.kill(name);
        }
        if line != "```console" {
            continue;
        }
        while let Some(line) = lines.next_if(|line| *line != "```") {
            let command = line.strip_prefix("$ ").unwrap_or_else(|| panic!("output without a command: {line:?}"));
            let mut shown = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ") && *line != "```") {
                shown.push(line.to_owned());
            }
            typed += 1;
            let printed = desk.run(command, &shown).await;
            written.push(format!("$ {}", desk.translated(command)));
            written.extend(printed);
        }
    }
    assert!(typed > 20, "the page has only {typed} commands");
    if std::env::var_os("SIGNET_WRITE_PAGES").is_some() {
        std::fs::write(&path, written.join("\n") + "\n").unwrap();
    }
}

/// Where the page is typed in: a folder with configurations, and servers.
struct Desk {
    folder: tempfile::TempDir,
    nodes: Vec<Node>,
    servers: BTreeMap<String, Child>,
    /// Node ids of the page, and those that these nodes have here.
    ids: BTreeMap<String, String>,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("signet-page-").tempdir().unwrap();
        let settings = Settings {
            trust_domain: "example.org".to_owned(),
            issuance_lease: "30s".to_owned(),
            keys: Keys::file(Path::new("kek")),
            more: String::new(),
        };
        let nodes: Vec<Node> = (1..=4).map(|n| Node::new(folder.path().join(format!("n{n}")), &settings)).collect();
        for (position, node) in nodes.iter().enumerate() {
            std::fs::copy(node.config(), folder.path().join(format!("n{}.toml", position + 1))).unwrap();
        }
        Self { folder, nodes, servers: BTreeMap::new(), ids: BTreeMap::new() }
    }

    fn kill(&mut self, name: &str) {
        let mut server = self.servers.remove(name).unwrap_or_else(|| panic!("{name} does not run"));
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// Types one line, and holds what it prints against what the page shows. What only looks is typed again until it
    /// prints that, as an operator would who waits for it.
    async fn run(&mut self, command: &str, shown: &[String]) -> Vec<String> {
        if let Some(server) = command.strip_suffix(" &") {
            self.start(server).await;
            return Vec::new();
        }
        let line = self.translated(command);
        let writing = std::env::var_os("SIGNET_WRITE_PAGES").is_some();
        let looks = ["status", "members", "hash", "list", "readyz"].iter().any(|word| command.contains(word));
        let printed = eventually(Duration::from_secs(30), &format!("what the page shows of {command:?}"), async || {
            let printed = self.shell(&line).await;
            let same = stable(&printed) == stable(shown);
            if writing && !(looks && printed.iter().any(|line| line.contains("learner") && !command.contains("demote")))
            {
                return Ok(printed);
            }
            match same {
                true => Ok(printed),
                false if looks => Err(printed.join("\n")),
                false => panic!("{command} printed\n{}\nand the page shows\n{}", printed.join("\n"), shown.join("\n")),
            }
        })
        .await;
        if command == "signet cluster members" {
            self.learn_ids(shown, &printed);
        }
        printed
    }

    async fn start(&mut self, command: &str) {
        let mut words = command.split(' ');
        assert_eq!(words.next(), Some("signet"), "{command}");
        let words: Vec<&str> = words.collect();
        let name = words.iter().find_map(|word| word.strip_suffix(".toml")).unwrap().to_owned();
        let log = std::fs::File::create(self.folder.path().join(format!("{name}.log"))).unwrap();
        let mut server = Command::new(signet());
        server.args(&words).current_dir(self.folder.path()).stdin(Stdio::null());
        server.stdout(log.try_clone().unwrap()).stderr(log);
        self.servers.insert(name.clone(), server.spawn().unwrap());
        let position: usize = name.strip_prefix('n').unwrap().parse().unwrap();
        let node = &self.nodes[position - 1];
        node.answers().await;
        if words.contains(&"--join-token-file") {
            node.ready().await;
        }
    }

    /// The command with this cluster's node ids.
    fn translated(&self, command: &str) -> String {
        let mut previous = "";
        let word = |word| {
            let names_a_node = ["promote", "demote", "remove", "transfer-leader"].contains(&previous);
            previous = word;
            if names_a_node { self.ids.get(word).map_or(word, String::as_str) } else { word }
        };
        command.split(' ').map(word).collect::<Vec<_>>().join(" ")
    }

    fn learn_ids(&mut self, shown: &[String], printed: &[String]) {
        let first = |lines: &[String]| -> Vec<String> {
            let words = lines.iter().filter_map(|line| line.split_whitespace().next());
            words.filter(|word| word.bytes().all(|byte| byte.is_ascii_digit())).map(str::to_owned).collect()
        };
        self.ids.extend(first(shown).into_iter().zip(first(printed)));
    }

    async fn shell(&self, line: &str) -> Vec<String> {
        let bin: PathBuf = signet().parent().unwrap().to_owned();
        let path = format!("{}:{}", arg(&bin), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{{ {line}\n}} 2>&1")).current_dir(self.folder.path()).stdin(Stdio::null());
        shell.env("PATH", path).env("SIGNET_SOCKET", "n1/admin.sock").env_remove("SIGNET_DEV_DIR");
        let output = tokio::task::spawn_blocking(move || shell.output().unwrap()).await.unwrap();
        String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim_end().to_owned()).collect()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        for (name, server) in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
            if std::thread::panicking() {
                let log = std::fs::read_to_string(self.folder.path().join(format!("{name}.log"))).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!(
                    "--- the end of the log of {name} ---\n{}",
                    lines[lines.len().saturating_sub(30)..].join("\n")
                );
            }
        }
    }
}

/// What of an output is the same in every run: no numbers, no keys, no ids, and whoever leads.
fn stable(lines: &[String]) -> Vec<String> {
    let word = |word: &str| -> String {
        let bare = word.trim_matches(|c: char| "(),.:".contains(c));
        if matches!(bare, "leader" | "follower") {
            return "member".to_owned();
        }
        // What is not known at this moment.
        if word == "-" {
            return "#".to_owned();
        }
        // A recipient is named by the kind of its backend and its key.
        let bare = bare.rsplit(':').next().unwrap_or(bare);
        let long = bare.len() >= 16 && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if long && bare.bytes().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()) {
            return "KEY".to_owned();
        }
        let mut out = String::new();
        for c in word.trim_start_matches(['+', '-']).chars() {
            match c {
                '0'..='9' if out.ends_with('#') => {}
                '0'..='9' => out.push('#'),
                other => out.push(other),
            }
        }
        out
    };
    let line = |line: &String| line.split_whitespace().filter(|it| *it != "ms").map(word).collect::<Vec<_>>().join(" ");
    lines.iter().map(line).collect()
}
