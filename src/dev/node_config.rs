//! The configuration of a demo node.

use serde::Serialize;

use super::folder::Folder;
use super::plan::{Plan, Port};
use crate::cli::{Failure, write_secret};

/// Writes a node's configuration.
///
/// # Errors
/// It could not be written.
pub(super) fn write(folder: &Folder, plan: &Plan, node: usize) -> Result<(), Failure> {
    let text = render(folder, plan, node)?;
    write_secret(&folder.config(node), text.as_bytes())
}

fn render(folder: &Folder, plan: &Plan, node: usize) -> Result<String, Failure> {
    let config = NodeConfig {
        data_dir: folder.data(node).display().to_string(),
        peer: Listen { listen: plan.address(node, Port::Peer).to_string() },
        grpc: Listen { listen: plan.address(node, Port::Grpc).to_string() },
        https: Https { listen: plan.address(node, Port::Https).to_string(), names: ["localhost", "127.0.0.1"] },
        admin: Admin {
            socket: folder.socket(node).display().to_string(),
            http: plan.address(node, Port::Admin).to_string(),
        },
        keys: Keys { backend: format!("file:{}", folder.key_encryption_key().display()) },
        trust_domain: TrustDomainSection {
            name: plan.trust_domain.to_string(),
            token_issuer: plan.token_issuer(),
            demo: true,
        },
        log: Log { format: "text", level: "info" },
        // Three nodes on a laptop: what one of them sets aside the others would miss.
        disk: Disk { ballast: "0B" },
    };
    toml::to_string(&config).map_err(|cause| Failure::new("io", format!("cannot write a configuration: {cause}")))
}

#[derive(Serialize)]
struct NodeConfig {
    data_dir: String,
    peer: Listen,
    grpc: Listen,
    https: Https,
    admin: Admin,
    keys: Keys,
    trust_domain: TrustDomainSection,
    log: Log,
    disk: Disk,
}

#[derive(Serialize)]
struct Disk {
    ballast: &'static str,
}

#[derive(Serialize)]
struct Listen {
    listen: String,
}

#[derive(Serialize)]
struct Https {
    listen: String,
    names: [&'static str; 2],
}

#[derive(Serialize)]
struct Admin {
    socket: String,
    http: String,
}

#[derive(Serialize)]
struct Keys {
    backend: String,
}

#[derive(Serialize)]
struct TrustDomainSection {
    name: String,
    token_issuer: String,
    demo: bool,
}

#[derive(Serialize)]
struct Log {
    format: &'static str,
    level: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_listens_on_loopback_only_and_is_marked_as_a_demo() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(Some(dir.path())).unwrap();
        let plan = Plan::new("dev.local".parse().unwrap()).unwrap();
        let config: toml::Table = render(&folder, &plan, 2).unwrap().parse().unwrap();
        for section in ["peer", "grpc", "https"] {
            let listen = config[section]["listen"].as_str().unwrap();
            assert!(listen.starts_with("127.0.0.1:"), "{section} {listen}");
        }
        assert!(config["admin"]["http"].as_str().unwrap().starts_with("127.0.0.1:"));
        assert_eq!(config["trust_domain"]["demo"].as_bool(), Some(true));
        assert_eq!(config["trust_domain"]["token_issuer"].as_str(), Some(plan.https(1).as_str()));
        assert_eq!(config["data_dir"].as_str(), Some(folder.data(2).to_str().unwrap()));
    }
}
