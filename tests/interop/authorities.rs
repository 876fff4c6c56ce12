//! Authorities by SPIRE's own command line, unmodified: what it shows, what it changes for the whole cluster, and how it
//! prints what is refused.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::cli::{Said, arg, foreign, run};
use crate::support::cluster::Cluster;
use crate::support::say;
use crate::support::wait::eventually;

/// `spire-server`, with the commands that are about authorities.
struct Spire {
    program: PathBuf,
    socket: PathBuf,
}

impl Spire {
    /// Nothing, with a word about it, where it is not installed; on CI that is a failure.
    fn find(socket: PathBuf) -> Option<Self> {
        let Some(program) = program() else {
            let reason = "SPIRE's command line is not compiled; ./test compiles it";
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "authorities by SPIRE: {reason}");
            writeln!(std::io::stderr().lock(), "skipped: authorities by SPIRE: {reason}").unwrap();
            return None;
        };
        Some(Self { program, socket })
    }

    fn run(&self, command: &str, more: &[&str]) -> Said {
        let words: Vec<&str> = command.split(' ').chain(["-socketPath", arg(&self.socket)]).collect();
        foreign(&self.program, &[&words[..], more].concat())
    }

    fn json(&self, command: &str, more: &[&str]) -> Value {
        self.run(command, &[more, &["-output", "json"]].concat()).json()
    }

    /// It fails, and says what is expected; that is shown.
    fn refused(&self, command: &str, more: &[&str], because: &str) {
        let said = self.run(command, more);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.stderr.contains(because), "{command} {more:?}: {said:?}");
        say(&format!("$ spire-server {command}\n{}", said.stderr.trim_end()));
    }

    /// Done as soon as the cluster lets it be.
    async fn done(&self, command: &str, more: &[&str]) {
        eventually(BOUND, command, async || {
            let said = self.run(command, more);
            if said.code == Some(0) { Ok(()) } else { Err(said.stderr) }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spires_own_command_line_shows_and_rotates_the_authorities_and_prints_refusals() {
    let cluster = Cluster::of_three_saying("2s", "refresh_hint = \"1s\"").await;
    let Some(spire) = Spire::find(cluster.nodes[1].socket()) else { return };
    let ours = |kind: &str, state: &str| -> Vec<String> {
        let shown = run(Some(&cluster.nodes[2].socket()), &["authority", "show", "-o", "json"]).json();
        let all = shown["authorities"].as_array().unwrap().iter();
        let all = all.filter(|one| one["kind"] == kind && one["state"] == state);
        all.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    let told = |state: &Value| state["authority_id"].as_str().unwrap_or_default().to_owned();

    // JWT-SVID keys: prepared, active once every verifier can know it, tainted and revoked once nobody signs with it.
    let shown = spire.json("localauthority jwt show", &[]);
    let first = told(&shown["active"]);
    assert_eq!(ours("jwt-svid", "active"), [first.as_str()]);
    spire.refused("localauthority jwt taint", &["-authorityID", &first], "could not taint JWT authority");
    spire.refused("localauthority jwt revoke", &["-authorityID", "nobody"], "could not revoke JWT authority");
    let prepared = told(&spire.json("localauthority jwt prepare", &[])["prepared_authority"]);
    assert_eq!(ours("jwt-svid", "prepared"), [prepared.as_str()]);
    spire.refused("localauthority jwt activate", &["-authorityID", &prepared], "could not activate JWT authority");
    spire.done("localauthority jwt activate", &["-authorityID", &prepared]).await;
    let shown = spire.run("localauthority jwt show", &[]).done();
    assert!(shown.contains(&prepared) && shown.contains(&first), "{shown}");
    assert_eq!(ours("jwt-svid", "active"), [prepared.as_str()]);
    spire.done("localauthority jwt taint", &["-authorityID", &first]).await;
    spire.done("localauthority jwt revoke", &["-authorityID", &first]).await;
    let bundle = cluster.nodes[0].admin().await.bundle().await.unwrap();
    let left: Vec<&str> = bundle.jwt_authorities.iter().map(|key| key.key_id.as_str()).collect();
    assert!(left.contains(&prepared.as_str()) && !left.contains(&first.as_str()), "{left:?}");

    // Issuing CAs are prepared and activated; what is tainted is the root above them.
    let first = told(&spire.json("localauthority x509 show", &[])["active"]);
    assert_eq!(ours("x509-issuing", "active"), [first.as_str()]);
    let prepared = told(&spire.json("localauthority x509 prepare", &[])["prepared_authority"]);
    spire.done("localauthority x509 activate", &["-authorityID", &prepared]).await;
    let state = spire.json("localauthority x509 show", &[]);
    assert_eq!((told(&state["active"]), told(&state["old"])), (prepared.clone(), first.clone()));
    spire.refused("localauthority x509 taint", &["-authorityID", &first], "can't be tainted alone");
    spire.refused("localauthority x509 revoke", &["-authorityID", &first], "can't be revoked alone");

    let root = state["active"]["upstream_authority_subject_key_id"].as_str().unwrap().to_owned();
    assert_eq!(ours("x509-root", "active"), [root.as_str()]);
    spire.refused("upstreamauthority taint", &["-subjectKeyID", &root], "could not taint X.509 upstream authority");
    run(Some(&cluster.nodes[0].socket()), &["authority", "rotate", "--kind", "x509-root"]).done();
    spire.done("upstreamauthority taint", &["-subjectKeyID", &root]).await;
    spire.done("upstreamauthority revoke", &["-subjectKeyID", &root]).await;
    assert!(!["prepared", "active", "retiring"].iter().any(|state| ours("x509-root", state).contains(&root)));
}

fn program() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = named("SIGNET_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|cache| cache.join("signet")))
        .or_else(|| named("HOME").map(|home| home.join(".cache/signet")));
    let installed = cache.and_then(|cache| std::fs::read_dir(cache.join("tools/spire")).ok()).into_iter().flatten();
    let installed = installed.filter_map(|item| Some(item.ok()?.path()));
    named("SIGNET_SPIRE_SERVER").into_iter().chain(installed).find(|path: &PathBuf| Path::exists(path))
}

/// Until a verifier has looked again, and a root is out of use.
const BOUND: Duration = Duration::from_secs(90);
