//! Members that have moved find each other again, without a leader or a quorum: each tells whom it reaches where it is now,
//! and passes on what it was told. Keys are pinned, so a wrong address can only fail.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::timeout;

use super::Member;
use crate::peer::{Client, Lane, Pin, client_of, connect_any, proto};

/// Looks after it until the member is gone. `address` is this node's own, `contacts` are addresses to try when members
/// cannot be reached where they are registered.
pub(super) async fn serve(member: Weak<Member>, address: String, contacts: Vec<String>) {
    let mut lost_before = BTreeSet::new();
    loop {
        tokio::time::sleep(PAUSE).await;
        let Some(member) = member.upgrade() else { return };
        let roster = member.directory.roster();
        let moved = roster.get(&member.id).is_some_and(|registered| registered.address != address);
        let told = if moved { address.as_str() } else { "" };
        let (mut lost, mut clients) = (BTreeSet::new(), Vec::new());
        for peer in roster.keys().copied().filter(|peer| *peer != member.id) {
            match member.links.client(peer, Lane::Calls) {
                Some(client) => clients.push((peer, client)),
                None => drop(lost.insert(peer)),
            }
        }
        let missing: BTreeSet<u64> = lost.intersection(&lost_before).copied().collect();
        lost_before = lost;
        if moved || !missing.is_empty() {
            for (peer, client) in clients {
                member.tell(peer, client, told).await;
            }
        }
        if !missing.is_empty() {
            for contact in contacts.iter().filter(|contact| **contact != address) {
                member.knock(contact, told).await;
            }
        }
    }
}

impl Member {
    /// Tells a peer where this node is reached, and hears from it where others are.
    async fn tell(&self, peer: u64, mut client: Client, address: &str) {
        let envelope = Some(self.directory.envelope(peer));
        let request = proto::StatusRequest { envelope, address: address.to_owned() };
        let Ok(Ok(reply)) = timeout(ANSWER, client.status(request)).await else { return };
        for moved in reply.into_inner().moved {
            // What a member says of itself counts more than what others say of it.
            if self.links.client(moved.id, Lane::Calls).is_none()
                && crate::config::check_address(&moved.address).is_ok()
            {
                self.directory.met(moved.id, &moved.address);
            }
        }
    }

    /// Looks which member is at `contact`.
    async fn knock(&self, contact: &str, address: &str) {
        let roster = self.directory.roster();
        let pins: Vec<Pin> = roster.iter().filter(|(id, _)| **id != self.id).map(|(_, node)| node.pin).collect();
        let (connection, driver) = match connect_any(self.links.tls(), contact, pins).await {
            Ok(connected) => connected,
            Err(error) => {
                tracing::debug!(%error, "no member found at a contact");
                return;
            }
        };
        let driver = tokio::spawn(driver);
        let found = roster.iter().find(|(_, node)| node.pin == connection.pin());
        if let Some((peer, _)) = found {
            self.directory.met(*peer, contact);
            self.tell(*peer, client_of(connection, Arc::clone(&self.directory)), address).await;
        }
        driver.abort();
    }
}

const PAUSE: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(1);
