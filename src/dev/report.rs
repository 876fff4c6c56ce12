//! `dev.json`: what scripts may rely on.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use signet_model::spiffe_id::TrustDomain;

use crate::cli::{Failure, write_secret};

/// The running demo cluster. Scripts rely on these fields: none is renamed or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Grows each time the file is replaced.
    pub(crate) generation: u64,
    /// The trust domain.
    pub(crate) trust_domain: String,
    /// The trust anchors, PEM.
    pub(crate) bundle: PathBuf,
    /// Transaction tokens.
    pub(crate) token: TokenReport,
    /// Who signs the demo users' access tokens.
    pub(crate) demo_issuer: DemoIssuerReport,
    /// The nodes, by id.
    pub(crate) nodes: Vec<NodeReport>,
}

/// Transaction tokens of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenReport {
    /// `iss`, and what a JWT-SVID that authenticates at the token endpoint has as audience.
    pub(crate) issuer: String,
    /// `aud`
    pub(crate) audience: String,
    /// What the demo rule grants.
    pub(crate) scopes: Vec<String>,
}

/// The demo issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DemoIssuerReport {
    /// `iss` of the access tokens.
    pub(crate) issuer: String,
    /// Its keys.
    pub(crate) jwks_uri: String,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeReport {
    /// Its id in the cluster.
    pub(crate) id: u64,
    /// Its process.
    pub(crate) pid: u32,
    /// The URL of its HTTPS door.
    pub(crate) https: String,
    /// Host and port of its gRPC door.
    pub(crate) grpc: String,
    /// Its admin socket.
    pub(crate) admin_socket: PathBuf,
    /// Host and port of its admin HTTP: metrics, health.
    #[serde(default)]
    pub(crate) admin_http: String,
}

impl Report {
    /// Reads the report in `folder`.
    ///
    /// # Errors
    /// No demo cluster is ready there.
    pub(crate) fn read(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(FILE);
        let bytes = std::fs::read(&path).map_err(|cause| {
            if cause.kind() != std::io::ErrorKind::NotFound {
                return Failure::file("read", &path, cause);
            }
            let message =
                format!("no demo cluster is ready in {}: start it with signet dev --data DIR", folder.display());
            Failure::new("not_running", message)
        })?;
        serde_json::from_slice(&bytes).map_err(|cause| Failure::file("understand", &path, cause))
    }

    /// The trust domain, parsed.
    ///
    /// # Errors
    /// The file was not written by `signet dev`.
    pub(crate) fn trust_domain(&self) -> Result<TrustDomain, Failure> {
        let parsed = self.trust_domain.parse::<TrustDomain>();
        parsed.map_err(|cause| Failure::new("io", format!("{FILE} has no usable trust domain: {cause}")))
    }

    /// Puts the report into `folder`, whole.
    ///
    /// # Errors
    /// It could not be written.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(self).map_err(|cause| Failure::new("io", cause.to_string()))?;
        write_secret(&folder.join(FILE), &text)
    }

    /// Takes the report out of `folder`.
    pub(super) fn remove(folder: &Path) {
        // If it is not there, or the folder has gone, that is what was wanted.
        let _ = std::fs::remove_file(folder.join(FILE));
    }
}

const FILE: &str = "dev.json";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report() -> Report {
        Report {
            generation: 7,
            trust_domain: "dev.local".to_owned(),
            bundle: "/d/bundle.pem".into(),
            token: TokenReport {
                issuer: "https://127.0.0.1:20000".to_owned(),
                audience: "dev.local".to_owned(),
                scopes: vec!["orders.read".to_owned()],
            },
            demo_issuer: DemoIssuerReport {
                issuer: "http://127.0.0.1:20012".to_owned(),
                jwks_uri: "http://127.0.0.1:20012/keys".to_owned(),
            },
            nodes: vec![NodeReport {
                id: 1,
                pid: 4711,
                https: "https://127.0.0.1:20000".to_owned(),
                grpc: "127.0.0.1:20001".to_owned(),
                admin_socket: "/d/run/node-1.sock".into(),
                admin_http: "127.0.0.1:20003".to_owned(),
            }],
        }
    }

    #[test]
    fn scripts_find_exactly_these_fields() {
        let expected = json!({
            "generation": 7,
            "trust_domain": "dev.local",
            "bundle": "/d/bundle.pem",
            "token": {"issuer": "https://127.0.0.1:20000", "audience": "dev.local", "scopes": ["orders.read"]},
            "demo_issuer": {"issuer": "http://127.0.0.1:20012", "jwks_uri": "http://127.0.0.1:20012/keys"},
            "nodes": [{
                "id": 1,
                "pid": 4711,
                "https": "https://127.0.0.1:20000",
                "grpc": "127.0.0.1:20001",
                "admin_socket": "/d/run/node-1.sock",
                "admin_http": "127.0.0.1:20003",
            }],
        });
        assert_eq!(serde_json::to_value(report()).unwrap(), expected);
    }

    #[test]
    fn a_report_comes_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Report::read(dir.path()).unwrap_err().code(), "not_running");
        report().write(dir.path()).unwrap();
        assert_eq!(Report::read(dir.path()).unwrap(), report());
        Report::remove(dir.path());
        Report::remove(dir.path());
        assert_eq!(Report::read(dir.path()).unwrap_err().code(), "not_running");
    }
}
