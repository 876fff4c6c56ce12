//! A member whose cluster went on without it: a survivor was made a new cluster when the quorum seemed lost, and this node
//! has come back. It is not heard there, rightly; here it learns why, and says so.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Member;
use crate::identity::cluster_text;
use crate::peer::{Lane, cluster_in, proto};

/// Asks around while there is no leader, and reports who belongs to another cluster now. Ends with the member.
pub(crate) async fn watch(member: Weak<Member>) {
    let mut reported = BTreeSet::new();
    loop {
        tokio::time::sleep_until(Instant::now() + PAUSE).await;
        let Some(member) = member.upgrade() else { return };
        if member.leadership().borrow().leader.is_some() {
            reported.clear();
            continue;
        }
        for peer in member.directory.roster().keys().filter(|peer| **peer != member.id) {
            let Some(cluster) = other_cluster(&member, *peer).await else { continue };
            if reported.insert(*peer) {
                tracing::error!(
                    peer,
                    "node {peer} is a member of another cluster now, {}, and this node {} is of cluster {}: that node was \
                     recovered without this one. To let this host join it, stop it, empty its data directory and start it \
                     with a new join token; if the recovery was a mistake, undo it on node {peer}",
                    cluster_text(&cluster),
                    member.id,
                    cluster_text(&member.cluster()),
                );
            }
        }
    }
}

/// The cluster of `peer`, whose key the connection has proven, if it is not ours.
async fn other_cluster(member: &Arc<Member>, peer: u64) -> Option<Vec<u8>> {
    let mut client = member.links.client(peer, Lane::Calls)?;
    let envelope = Some(member.directory.envelope(peer));
    let request = proto::StatusRequest { envelope, address: String::new() };
    let refusal = timeout(PAUSE, client.status(request)).await.ok()?.err()?;
    cluster_in(&refusal).filter(|cluster| *cluster != member.cluster())
}

/// Not in a hurry: nobody waits for it, and an election takes less.
const PAUSE: Duration = Duration::from_secs(2);
