//! A leader whose disk fills up lets a voter take over whose disk has more room.
//!
//! It does not refuse to be elected: when every disk is nearly full, somebody has to lead all the same, for reads, leases
//! and the removal of what fills the disks.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::join_all;
use openraft::async_runtime::WatchReceiver;
use tokio::time::timeout;

use super::transfer::NotMoved;
use super::{Member, chore};
use crate::disk::DiskState;
use crate::status::Role;

/// Looks after it until the member is gone.
pub(super) async fn shed(member: Weak<Member>) {
    let Some(mut ticks) = chore(&member, PAUSE) else { return };
    loop {
        ticks.tick().await;
        let Some(member) = member.upgrade() else { return };
        let here = member.disk.state();
        if here >= DiskState::HandOver && member.leadership().borrow().role == Role::Leader {
            member.hand_over_to_more_room(here).await;
        }
    }
}

impl Member {
    /// Hands leadership to the voter that has most of the log among those with more room than `here`, if there is one.
    async fn hand_over_to_more_room(self: &Arc<Self>, here: DiskState) {
        let voters: Vec<u64> = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.voter_ids().filter(|id| *id != self.id).collect()
        };
        let asked = voters.into_iter().map(async |id| {
            let reply = timeout(ASK, self.status_of(id)).await.ok()?;
            let better = reply.unfit.is_empty() && DiskState::named(&reply.disk).is_some_and(|there| there < here);
            better.then_some((reply.last_log, id))
        });
        let Some((_, target)) = join_all(asked).await.into_iter().flatten().max() else { return };
        match self.move_leadership(Some(target), TAKE_OVER).await {
            Ok(leader) => {
                tracing::warn!(node = self.id, leader, "handed leadership over, because this node's disk fills up")
            }
            Err(NotMoved::NotLeader(_)) => {}
            Err(NotMoved::Refused(why) | NotMoved::Failed(why)) => {
                tracing::warn!(node = self.id, %why, "this node leads on although its disk fills up")
            }
        }
    }
}

/// Disks fill slowly, measured once a second.
const PAUSE: Duration = Duration::from_millis(500);
const ASK: Duration = Duration::from_secs(1);
const TAKE_OVER: Duration = Duration::from_secs(2);
