//! npm `oidc-provider` as the issuer of users' access tokens.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::peers::Peers;

/// The running provider. Ends when dropped.
pub(crate) struct Provider {
    pub(crate) issuer: String,
    process: Child,
}

impl Provider {
    /// Starts it; its script and packages go below `folder`.
    pub(crate) fn start(peers: &Peers, folder: &Path) -> Self {
        let script = peers.node_script(folder, "oidc.mjs", include_str!("peers/oidc.mjs"));
        let mut command = Command::new("node");
        command.arg(script).args([CLIENT_ID, CLIENT_SECRET, USER]);
        // Its warnings (plain HTTP, Node.js version) are about its own deployment.
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with('{')));
        let ready: Value =
            serde_json::from_str(&ready.unwrap_or_else(|| panic!("the provider ended before it was ready")).unwrap())
                .unwrap();
        Self { issuer: ready["issuer"].as_str().unwrap().to_owned(), process }
    }

    /// An access token for `resource`.
    pub(crate) async fn access_token(&self, resource: &str, scope: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("resource", resource), ("scope", scope)];
        let request = reqwest::Client::new().post(format!("{}/token", self.issuer));
        let answer = request.basic_auth(CLIENT_ID, Some(CLIENT_SECRET)).form(&form).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        body["access_token"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const CLIENT_ID: &str = "shop-web";
/// Of a provider that lives for one test, on loopback.
const CLIENT_SECRET: &str = "of-this-test-only";
/// `sub` of its tokens.
pub(crate) const USER: &str = "alice";
