//! `[https]`: the token endpoint and public documents.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use super::Mistakes;

#[derive(Debug, Clone)]
pub(crate) struct HttpsConfig {
    pub(crate) listen: SocketAddr,
    /// DNS names by which clients reach this node: in the server certificate.
    pub(crate) dns_names: Vec<String>,
    /// IP addresses likewise.
    pub(crate) ip_addresses: Vec<IpAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    listen: Option<String>,
    names: Vec<String>,
}

impl Raw {
    pub(super) fn check(self, mistakes: &mut Mistakes) -> Option<HttpsConfig> {
        let listen = mistakes.listen("https.listen", self.listen, "0.0.0.0:8443")?;
        let (mut dns_names, mut ip_addresses) = (Vec::new(), Vec::new());
        for name in self.names {
            match name.parse() {
                Ok(address) => ip_addresses.push(address),
                Err(_) if rustls_pki_types::DnsName::try_from(name.as_str()).is_ok() => dns_names.push(name),
                Err(_) => mistakes.add("https.names", format_args!("{name:?} is neither a DNS name nor an IP address")),
            }
        }
        Some(HttpsConfig { listen, dns_names, ip_addresses })
    }
}
