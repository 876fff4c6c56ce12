//! Setting cluster time right after a wrong clock has driven it ahead.

use signet_model::stored::from_bytes;

use super::Member;
use super::change::{Done, Turn};
use super::judge::quorum;
use crate::membership::ChangeError;
use crate::types::{Order, OrderOutcome};

impl Member {
    /// As the leader: sets cluster time to the median of the members' clocks, if it is well ahead of that.
    pub(super) async fn reset_time(&self) -> Result<Done, Turn> {
        self.base().await?;
        let refused = |detail: String| Err(Turn::Refused(ChangeError::NotHealthy { detail }));
        let (_, median, clocks) = self.clocks.median();
        let voters = self.state.position().membership.membership().voter_ids().count();
        if clocks < quorum(voters) {
            return refused(format!("only {clocks} clocks of {voters} voters are known; try again in a moment"));
        }
        let placed = self.propose_here(Order::ResetTime { to: median }).await?;
        match from_bytes(&placed.outcome.body) {
            Ok(OrderOutcome::TimeReset { before }) => {
                let now = placed.outcome.at;
                tracing::warn!(before = before.millis(), now = now.millis(), "cluster time was reset");
                Ok(Done::Time(before, now))
            }
            Ok(OrderOutcome::TimeIsRight { now }) => refused(format!(
                "cluster time is {} ms ahead of the members' clocks, which is nothing to correct (it must be more than \
                 2000); set the members' clocks first if they are wrong",
                now.since(median).as_millis()
            )),
            _ => Err(Turn::Refused(ChangeError::Unknown)),
        }
    }
}
