//! What `signet dev` says about the cluster it runs: `DIR/dev.json`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use signet_model::spiffe_id::TrustDomain;

/// A running cluster on this machine, parsed.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) trust_domain: TrustDomain,
    /// The file of the trust anchors, PEM.
    pub(crate) bundle: PathBuf,
    /// Issuer of the demo users' access tokens.
    pub(crate) user_issuer: String,
    /// What access tokens and exchanges are for.
    pub(crate) audience: String,
    /// Scopes that the demo rule grants; at least one.
    pub(crate) scopes: Vec<String>,
    /// At least one.
    pub(crate) nodes: Vec<Node>,
}

/// A node's process and doors.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) pid: u32,
    pub(crate) https: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) admin_socket: PathBuf,
    pub(crate) admin_http: SocketAddr,
}

/// Why the cluster cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DevError {
    /// There is no such file, or not yet.
    #[error("cannot read {path}: is `signet dev --data {dir}` running and ready?", path = .dir.join("dev.json").display(), dir = .dir.display())]
    Unreadable {
        /// The folder that was given.
        dir: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// It is not what `signet dev` writes.
    #[error("dev.json: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A field has a value that cannot be used.
    #[error("dev.json: {field} {problem}")]
    Field {
        /// Which.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The load test is for clusters on this machine only.
    #[error("dev.json: {field} is {value}, which is not on this machine; the load test only addresses loopback")]
    NotLoopback {
        /// Which.
        field: String,
        /// Its value.
        value: String,
    },
}

impl Cluster {
    /// Reads `dir/dev.json`.
    pub(crate) fn read(dir: &Path) -> Result<Self, DevError> {
        let text =
            std::fs::read(dir.join("dev.json")).map_err(|cause| DevError::Unreadable { dir: dir.to_owned(), cause })?;
        Self::parse(&text)
    }

    fn parse(text: &[u8]) -> Result<Self, DevError> {
        let raw: RawCluster = serde_json::from_slice(text)?;
        if raw.nodes.is_empty() {
            return Err(field("nodes", "is empty"));
        }
        if raw.token.scopes.is_empty() {
            return Err(field("token.scopes", "is empty, so no exchange would be granted"));
        }
        let trust_domain = raw.trust_domain.parse().map_err(|error| field("trust_domain", format!("{error}")))?;
        let nodes = raw.nodes.into_iter().map(Node::parse).collect::<Result<_, _>>()?;
        Ok(Self {
            trust_domain,
            bundle: raw.bundle,
            user_issuer: raw.demo_issuer.issuer,
            audience: raw.token.audience,
            scopes: raw.token.scopes,
            nodes,
        })
    }

    /// The processes of all nodes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| node.pid).collect()
    }
}

impl Node {
    fn parse(raw: RawNode) -> Result<Self, DevError> {
        let named = |what: &str| format!("nodes[id {}].{what}", raw.id);
        let https = raw.https.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
        let https = https.ok_or_else(|| field(named("https"), "does not begin with https://"))?;
        Ok(Self {
            id: raw.id,
            pid: raw.pid,
            https: loopback(named("https"), https)?,
            grpc: loopback(named("grpc"), &raw.grpc)?,
            admin_socket: raw.admin_socket,
            admin_http: loopback(named("admin_http"), &raw.admin_http)?,
        })
    }
}

/// Parses `host:port` and insists that it is on this machine. Names are not resolved, so that no answer of a resolver
/// can send load elsewhere; `localhost` means 127.0.0.1.
fn loopback(name: String, value: &str) -> Result<SocketAddr, DevError> {
    let address: SocketAddr = match value.strip_prefix("localhost:") {
        Some(port) => port.parse().map(|port| SocketAddr::from(([127, 0, 0, 1], port))).ok(),
        None => value.parse().ok(),
    }
    .ok_or_else(|| match value.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            DevError::NotLoopback { field: name.clone(), value: value.to_owned() }
        }
        _ => field(name.clone(), format!("is {value:?}, not host:port")),
    })?;
    let on_this_machine = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    if on_this_machine { Ok(address) } else { Err(DevError::NotLoopback { field: name, value: value.to_owned() }) }
}

fn field(field: impl Into<String>, problem: impl Into<String>) -> DevError {
    DevError::Field { field: field.into(), problem: problem.into() }
}

// Fields that are not named here are none of our business: the file may grow.
#[derive(Deserialize)]
struct RawCluster {
    trust_domain: String,
    bundle: PathBuf,
    token: RawToken,
    demo_issuer: RawIssuer,
    nodes: Vec<RawNode>,
}

#[derive(Deserialize)]
struct RawToken {
    audience: String,
    scopes: Vec<String>,
}

#[derive(Deserialize)]
struct RawIssuer {
    issuer: String,
}

#[derive(Deserialize)]
struct RawNode {
    id: u64,
    pid: u32,
    https: String,
    grpc: String,
    admin_socket: PathBuf,
    admin_http: String,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn dev_json() -> Value {
        json!({
            "generation": 3,
            "trust_domain": "demo.signet.example",
            "bundle": "/tmp/demo/bundle.pem",
            "token": { "issuer": "https://tts.example", "audience": "demo.signet.example", "scopes": ["read", "write"] },
            "demo_issuer": { "issuer": "http://127.0.0.1:4000", "jwks_uri": "http://127.0.0.1:4000/jwks" },
            "nodes": [
                { "id": 1, "pid": 71, "https": "https://127.0.0.1:4443", "grpc": "127.0.0.1:4081", "admin_socket": "/tmp/demo/1.sock", "admin_http": "127.0.0.1:4470" },
                { "id": 2, "pid": 72, "https": "https://localhost:4444/", "grpc": "[::1]:4082", "admin_socket": "/tmp/demo/2.sock", "admin_http": "127.0.0.1:4471" },
            ],
        })
    }

    fn parse(value: &Value) -> Result<Cluster, DevError> {
        Cluster::parse(value.to_string().as_bytes())
    }

    #[test]
    fn reads_what_is_promised_and_ignores_what_is_added() {
        let mut value = dev_json();
        value["new"] = json!(true);
        let cluster = parse(&value).unwrap();
        assert_eq!(cluster.trust_domain.as_str(), "demo.signet.example");
        assert_eq!(cluster.pids(), [71, 72]);
        assert_eq!(cluster.nodes[0].https, "127.0.0.1:4443".parse().unwrap());
        assert_eq!(cluster.nodes[1].https, "127.0.0.1:4444".parse().unwrap());
        assert_eq!(cluster.nodes[1].grpc, "[::1]:4082".parse().unwrap());
        assert_eq!(cluster.nodes[1].admin_socket, Path::new("/tmp/demo/2.sock"));
        assert_eq!(cluster.user_issuer, "http://127.0.0.1:4000");
    }

    #[test]
    fn refuses_every_target_that_is_not_on_this_machine() {
        for (name, value) in [
            ("grpc", "10.0.0.7:8081"),
            ("grpc", "signet.example.org:8081"),
            ("grpc", "0.0.0.0:8081"),
            ("grpc", "[2001:db8::1]:8081"),
            ("https", "https://192.0.2.1:8443"),
            ("https", "https://localhost.example.org:8443"),
        ] {
            let mut dev = dev_json();
            dev["nodes"][1][name] = json!(value);
            let error = parse(&dev).unwrap_err();
            assert!(matches!(error, DevError::NotLoopback { .. }), "{value}: {error}");
            let text = error.to_string();
            assert!(text.contains(&format!("nodes[id 2].{name}")) && text.contains("loopback"), "{text}");
        }
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let wrong: [(&str, Value, &str); 7] = [
            ("/nodes", json!([]), "nodes is empty"),
            ("/token/scopes", json!([]), "token.scopes"),
            ("/trust_domain", json!("Example.org"), "trust_domain"),
            ("/nodes/0/https", json!("http://127.0.0.1:1"), "nodes[id 1].https"),
            ("/nodes/0/grpc", json!("127.0.0.1"), "nodes[id 1].grpc"),
            ("/nodes/0/pid", json!("71"), "string"),
            ("/nodes/0/admin_http", json!("localhost"), "nodes[id 1].admin_http"),
        ];
        for (pointer, value, expected) in wrong {
            let mut dev = dev_json();
            *dev.pointer_mut(pointer).unwrap() = value;
            let text = parse(&dev).unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        }
        for name in ["trust_domain", "bundle", "token", "demo_issuer", "nodes"] {
            let mut dev = dev_json();
            dev.as_object_mut().unwrap().remove(name);
            let text = parse(&dev).unwrap_err().to_string();
            assert!(text.contains(name), "{text}");
        }
    }

    #[test]
    fn says_how_to_get_a_cluster_when_there_is_none() {
        let text = Cluster::read(Path::new("/nonexistent/demo")).unwrap_err().to_string();
        assert!(text.contains("/nonexistent/demo/dev.json") && text.contains("signet dev"), "{text}");
    }
}
