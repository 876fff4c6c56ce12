//! What must never lie in a node's data, log, snapshot or backup, nor be said in an error.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::cli::{arg, file, run};
use crate::support::cluster::{Cluster, KEY_FILE};
use crate::support::say;
use crate::support::secrets::{PEER_KEY, Secrets, key_file};
use crate::support::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn no_private_key_and_no_token_lies_in_data_log_snapshot_or_backup_or_is_said_in_an_error() {
    let mut cluster = Cluster::of_three_saying("2s", "refresh_hint = \"1s\"\n").await;
    let mut secrets = Secrets::of_busy(&cluster).await;
    let socket = cluster.nodes[0].socket();
    // Keys that sign, keys that did, keys that will; and a second recipient, as far as it gets.
    run(Some(&socket), &["authority", "rotate", "--kind", "jwt-svid", "--kind", "x509-issuing"]).done();
    run(Some(&socket), &["authority", "prepare", "--kind", "transaction-token"]).done();
    let said = eventually(Duration::from_secs(60), "the keys to be replaced", async || {
        let shown = run(Some(&socket), &["authority", "show", "-o", "json"]);
        match shown.stdout.matches("\"retiring\"").count() {
            2 => Ok(shown.stdout),
            _ => Err(shown.stdout),
        }
    })
    .await;
    let mut texts = vec![said];
    let backup = cluster.folder().join("backup");
    run(Some(&socket), &["snapshot", "save", arg(&backup)]).done();
    let report = cluster.folder().join("report.tar");
    run(Some(&socket), &["debug", "bundle", arg(&report)]).done();
    for path in ["/metrics", "/readyz"] {
        texts.push(cluster.nodes[0].get(path).await.unwrap().1);
    }
    for command in [
        &["recipient", "add", "file:/nowhere"][..],
        &["recipient", "remove", "file:/nowhere"],
        &["authority", "activate", "--kind", "jwt-svid", "--id", "none"],
        &["cluster", "status"],
        &["doctor"],
    ] {
        let said = run(Some(&socket), command);
        texts.push(said.stdout + &said.stderr);
    }

    // Ends in good order, so that everything that is buffered is written.
    for node in &mut cluster.nodes {
        node.signal(Signal::TERM);
    }
    for node in &mut cluster.nodes {
        node.ended(Duration::from_secs(20)).await;
    }
    // One more life with keys that open nothing: another one, one cut off, one that others may read.
    let right = cluster.folder().join(KEY_FILE);
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong");
    run(None, &["key", "generate", arg(&wrong)]).done();
    secrets.add_key("another key-encryption key", &key_file(&wrong));
    let text = std::fs::read_to_string(&right).unwrap();
    let cut = file(folder.path(), "cut", &text[..30]);
    std::fs::set_permissions(&cut, std::fs::Permissions::from_mode(0o600)).unwrap();
    let open = file(folder.path(), "open", &text);
    let keys = [&cut, &open].map(|path| format!("file:{}", path.display()));
    let node = &mut cluster.nodes[2];
    node.set_keys(&format!("backend = \"file:{}\"\nrecipients = {keys:?}\n", wrong.display()));
    node.start(None);
    node.answers().await;
    eventually(Duration::from_secs(20), "the node to tell why it is sealed", async || {
        let log = node.log();
        let told = ["sealed: this node cannot sign", "holds no key", "may be read or written by others"];
        if told.iter().all(|text| log.contains(text)) { Ok(()) } else { Err(log) }
    })
    .await;
    node.signal(Signal::TERM);
    node.ended(Duration::from_secs(20)).await;

    let issuing = secrets.add_issuing_keys(&cluster.nodes[0].data(), &right).await;
    assert!(issuing >= 6, "only {issuing} issuing keys");
    let mut searched = secrets.are_not_below(cluster.folder());
    for text in &texts {
        searched += text.len();
        let found = secrets.found_in(text.as_bytes());
        assert!(found.is_empty(), "{found:?} in {text}");
    }
    for node in &cluster.nodes {
        let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(node.data().join(PEER_KEY)), mode(node.data())), (0o600, 0o700));
    }
    assert!(searched > 100_000, "only {searched} bytes: this test looks in the wrong place");
    let (keys, forms) = secrets.count();
    say(&format!(
        "searched {searched} bytes for {keys} keys ({issuing} issuing) and tokens in {forms} forms: none found"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_lies_somewhere_is_found_in_every_form() {
    use base64::Engine as _;
    let key: Vec<u8> = (100..132).collect();
    let mut secrets = Secrets::default();
    secrets.add_key("k", &key);
    for before in 0..7 {
        let around = [&vec![b'x'; before][..], &key, b"after"].concat();
        let base64 = base64::prelude::BASE64_STANDARD.encode(&around);
        // As PEM breaks lines, only sooner.
        let lines: Vec<String> =
            base64.as_bytes().chunks(10).map(|line| String::from_utf8_lossy(line).into()).collect();
        let url = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(&around);
        for text in [&around[..], base64.as_bytes(), lines.join("\n").as_bytes(), url.as_bytes()] {
            assert!(!secrets.found_in(text).is_empty(), "not found in {:?}", String::from_utf8_lossy(text));
        }
    }
    for text in [format!("{key:?}"), format!("{key:02x?}").replace(", ", "")] {
        assert!(!secrets.found_in(text.as_bytes()).is_empty(), "not found in {text}");
    }
    assert!(secrets.found_in(&key[1..]).is_empty());
}
