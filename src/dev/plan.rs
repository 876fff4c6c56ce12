//! What stays the same from one start of a demo cluster to the next.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use serde::{Deserialize, Serialize};
use signet_model::spiffe_id::TrustDomain;

use crate::cli::Failure;

/// The nodes of a demo cluster, by number.
pub(super) const NODES: [usize; 3] = [1, 2, 3];

/// Names and ports, kept in the cluster's folder. Stored form: fields are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    /// The trust domain.
    pub(super) trust_domain: TrustDomain,
    /// The first of [`PORTS`] ports in a row.
    pub(super) first_port: u16,
    /// The three nodes form a cluster, with demo entries and policy.
    pub(super) established: bool,
    /// Of the latest `dev.json`.
    #[serde(default)]
    pub(super) generation: u64,
}

/// A node's listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Https,
    Grpc,
    Peer,
    Admin,
}

impl Plan {
    /// A plan on ports that are free now.
    ///
    /// # Errors
    /// No row of free ports was found.
    pub(super) fn new(trust_domain: TrustDomain) -> Result<Self, Failure> {
        for _ in 0..ATTEMPTS {
            let mut dice = [0u8; 2];
            aws_lc_rs::rand::fill(&mut dice).map_err(|_| Failure::new("io", "the system gave no random bytes"))?;
            let first_port = LOWEST_PORT + u16::from_le_bytes(dice) % (HIGHEST_PORT - LOWEST_PORT - PORTS);
            if (first_port..first_port + PORTS).all(is_free) {
                return Ok(Self { trust_domain, first_port, established: false, generation: 0 });
            }
        }
        Err(Failure::new(
            "io",
            format!("found no {PORTS} free ports in a row between {LOWEST_PORT} and {HIGHEST_PORT}"),
        ))
    }

    /// The ports that somebody listens on.
    pub(super) fn taken_ports(&self) -> Vec<u16> {
        (self.first_port..self.first_port + PORTS).filter(|port| !is_free(*port)).collect()
    }

    /// Where a node listens.
    pub(super) fn address(&self, node: usize, port: Port) -> SocketAddr {
        let offset = match port {
            Port::Https => 0,
            Port::Grpc => 1,
            Port::Peer => 2,
            Port::Admin => 3,
        };
        let node = u16::try_from(node.saturating_sub(1)).unwrap_or(0);
        loopback(self.first_port + PORTS_OF_A_NODE * node + offset)
    }

    /// A node's HTTPS address.
    pub(super) fn https(&self, node: usize) -> String {
        format!("https://{}", self.address(node, Port::Https))
    }

    /// `iss` of transaction tokens. The first node's address, so that what is found by way of it is really there.
    pub(super) fn token_issuer(&self) -> String {
        self.https(1)
    }

    /// Where the demo issuer listens.
    pub(super) fn demo_issuer_address(&self) -> SocketAddr {
        loopback(self.first_port + PORTS - 1)
    }

    /// The demo issuer's `iss`.
    pub(super) fn demo_issuer(&self) -> String {
        format!("http://{}", self.demo_issuer_address())
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(loopback(port)).is_ok()
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

const PORTS_OF_A_NODE: u16 = 4;
/// The nodes' and the demo issuer's.
const PORTS: u16 = 3 * PORTS_OF_A_NODE + 1;
/// Below the ports that systems give to outgoing connections, which could otherwise take ours while a node is down.
const LOWEST_PORT: u16 = 20_000;
const HIGHEST_PORT: u16 = 32_000;
const ATTEMPTS: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_listeners_share_a_port_and_all_are_on_loopback() {
        let plan = Plan::new("dev.local".parse().unwrap()).unwrap();
        let mut seen = BTreeSet::from([plan.demo_issuer_address()]);
        for node in NODES {
            for port in [Port::Https, Port::Grpc, Port::Peer, Port::Admin] {
                assert!(seen.insert(plan.address(node, port)), "{node} {port:?}");
            }
        }
        assert_eq!(seen.len(), usize::from(PORTS));
        assert!(seen.iter().all(|address| address.ip().is_loopback()));
        assert!(seen.iter().all(|address| (plan.first_port..plan.first_port + PORTS).contains(&address.port())));
    }

    #[test]
    fn says_which_ports_are_taken() {
        let plan = Plan::new("dev.local".parse().unwrap()).unwrap();
        let listener = TcpListener::bind(plan.address(2, Port::Grpc)).unwrap();
        assert!(plan.taken_ports().contains(&listener.local_addr().unwrap().port()));
    }
}
