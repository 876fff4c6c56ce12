//! `[peer]`: how the nodes of the cluster reach this one.

use std::net::SocketAddr;

use serde::Deserialize;

use super::Mistakes;

#[derive(Debug, Clone)]
pub(crate) struct PeerConfig {
    pub(crate) listen: SocketAddr,
    /// `host:port`; what is listened on where it is not set.
    pub(crate) advertise: Option<String>,
    /// Where to look for members that are not where they are registered.
    pub(crate) contacts: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    listen: Option<String>,
    advertise: Option<String>,
    contacts: Vec<String>,
}

impl Raw {
    pub(super) fn check(self, mistakes: &mut Mistakes) -> Option<PeerConfig> {
        let listen = mistakes.listen("peer.listen", self.listen, "0.0.0.0:8082")?;
        if let Some(advertise) = &self.advertise {
            if !is_address(advertise) {
                mistakes.add("peer.advertise", format_args!("{advertise:?} is not host:port"));
            }
        } else if listen.ip().is_unspecified() {
            mistakes.add("peer.advertise", "is needed where peer.listen is every address of the host: the host:port by which the other nodes reach this one");
        }
        for contact in self.contacts.iter().filter(|contact| !is_address(contact)) {
            mistakes.add("peer.contacts", format_args!("{contact:?} is not host:port"));
        }
        Some(PeerConfig { listen, advertise: self.advertise, contacts: self.contacts })
    }
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}
