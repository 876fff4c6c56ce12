//! Leadership goes to a node that reaches the key backend which rotation needs: only the leader asks it to sign.

use std::time::Duration;

use signet_model::authority::{AuthorityKind, StoredKey};
use signet_model::recipient::RecipientId;
use signet_model::rotation::Hierarchy;

use super::Rotation;
use crate::clock;

/// When this node last tried to give leadership away for that reason, and last tried its backend, boot clock.
#[derive(Debug, Default)]
pub(super) struct GivingWay {
    tried: Option<Duration>,
    looked: Option<Duration>,
}

impl Rotation {
    /// As the leader: lets another voter lead that can use a backend which this node cannot, once a step `failed` or the
    /// backend has been failing for minutes. Whether it leads now.
    pub(super) async fn give_way(&self, memory: &mut GivingWay, hierarchy: &Hierarchy, failed: bool) -> bool {
        let Some((needed, since)) = self.lacking(memory, hierarchy, failed).await else { return false };
        let now = clock::boottime();
        if !failed && now.saturating_sub(since) < PATIENCE || recently(memory.tried, now) {
            return false;
        }
        memory.tried = Some(now);
        let Some(live) = self.live.current() else { return false };
        let own = self.node.identity().map_or(0, |identity| identity.node_id);
        let voters = self.living_voters().await;
        let able = live.backends.iter().filter(|one| one.node != own && one.opens(&needed));
        for node in able.map(|one| one.node).filter(|node| voters.contains(node)) {
            match self.node.transfer_leadership(Some(node), TAKE_OVER).await {
                Ok(leader) => {
                    tracing::warn!(leader, recipient = %needed, "handed leadership over: this node cannot use the key backend that rotation needs, and that one can");
                    return true;
                }
                Err(cause) => tracing::info!(node, %cause, "leadership was not handed over"),
            }
        }
        false
    }

    /// A recipient whose backend signs for rotation and cannot be used here, and since when (boot clock).
    async fn lacking(
        &self,
        memory: &mut GivingWay,
        hierarchy: &Hierarchy,
        failed: bool,
    ) -> Option<(RecipientId, Duration)> {
        let root = hierarchy.active(AuthorityKind::X509Root)?;
        let StoredKey::InBackend { recipient: Some(of_root), .. } = &root.key else { return None };
        let home = &hierarchy.recipients.roots;
        let new_roots = (failed && !home.is_empty()).then_some(home);
        for recipient in [Some(of_root), new_roots].into_iter().flatten() {
            // A call that failed says more than a probe of some minutes ago.
            if failed && self.backends.failing(recipient).is_none() && !recently(memory.looked, clock::boottime()) {
                memory.looked = Some(clock::boottime());
                self.backends.look_at(recipient).await;
            }
            if let Some(since) = self.backends.failing(recipient) {
                return Some((recipient.clone(), since));
            }
        }
        None
    }
}

fn recently(last: Option<Duration>, now: Duration) -> bool {
    last.is_some_and(|last| now.saturating_sub(last) < AGAIN)
}

/// A backend that is away for a moment is no reason to move leadership while nothing has to be signed.
const PATIENCE: Duration = Duration::from_mins(5);
const AGAIN: Duration = Duration::from_secs(10);
const TAKE_OVER: Duration = Duration::from_secs(2);
