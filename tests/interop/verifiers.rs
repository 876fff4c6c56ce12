//! Independent JOSE libraries that verify our tokens from the keys a node publishes.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::peers::Peers;

/// What a token has to be.
#[derive(Clone)]
pub(crate) struct Expected<'a> {
    /// Where the keys are.
    pub(crate) keys: String,
    /// `use` of the key.
    pub(crate) key_use: &'a str,
    pub(crate) issuer: Option<&'a str>,
    pub(crate) audience: &'a str,
    pub(crate) typ: &'a str,
}

/// Header and claims as both libraries read them. Panics where one refuses or they differ.
pub(crate) fn verified(peers: &Peers, folder: &Path, bundle: &Path, token: &str, expected: &Expected<'_>) -> Value {
    let jose = jose(peers, folder, bundle, token, expected).unwrap_or_else(|refusal| panic!("jose: {refusal}"));
    let joserfc =
        joserfc(peers, folder, bundle, token, expected).unwrap_or_else(|refusal| panic!("joserfc: {refusal}"));
    assert_eq!(jose, joserfc);
    jose
}

/// Both libraries must refuse the token.
pub(crate) fn refused(peers: &Peers, folder: &Path, bundle: &Path, token: &str, expected: &Expected<'_>) {
    for outcome in [jose(peers, folder, bundle, token, expected), joserfc(peers, folder, bundle, token, expected)] {
        assert!(outcome.is_err(), "{outcome:?}");
    }
}

fn jose(peers: &Peers, folder: &Path, bundle: &Path, token: &str, expected: &Expected<'_>) -> Result<Value, String> {
    let script = peers.node_script(folder, "verify.mjs", include_str!("peers/verify.mjs"));
    let mut command = Command::new("node");
    command.arg(script).env("NODE_EXTRA_CA_CERTS", bundle);
    ask(command, token, expected)
}

fn joserfc(peers: &Peers, folder: &Path, bundle: &Path, token: &str, expected: &Expected<'_>) -> Result<Value, String> {
    let script = folder.join("verify.py");
    std::fs::write(&script, include_str!("peers/verify.py")).unwrap();
    let mut command = Command::new(peers.python());
    command.arg(script).arg(bundle);
    ask(command, token, expected)
}

fn ask(mut command: Command, token: &str, expected: &Expected<'_>) -> Result<Value, String> {
    let question = json!({
        "token": token,
        "keys": expected.keys,
        "use": expected.key_use,
        "issuer": expected.issuer,
        "audience": expected.audience,
        "typ": expected.typ,
    });
    // A proxy of the environment has no business with loopback.
    command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(question.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
