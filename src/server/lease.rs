//! The issuance lease: a node signs only while it knows that it is not cut off.
//!
//! The leader, sure of its quorum, confirms that it leads; the node has then applied everything that was committed up to
//! there, and may sign for the lease's length, counted on its own boot clock from the moment it asked. So a deletion or
//! a ban that was committed before is in force on every node within one lease, without any two clocks agreeing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use signet_model::refusal::{Reason, Refusal};
use signet_model::time::UnixTime;
use signet_raft::{BarrierError, LeaseGrant, Node};
use tokio_util::sync::CancellationToken;

use crate::clock;

/// How long this node may sign, by its own clocks.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    /// Boot clock, milliseconds. Zero before the first grant.
    until: AtomicU64,
    /// Wall clock, milliseconds: beyond this the boot clock must have stood still, as in a paused machine.
    wall_until: AtomicU64,
    /// Wall clock, milliseconds: set while this node's wall clock is off by too much.
    clock_is_off_by: AtomicU64,
}

impl Lease {
    /// Whether this node may sign now.
    ///
    /// # Errors
    /// [`Reason::LeaseExpired`] says since when and why; the caller asks another node.
    pub(crate) fn check(&self, boot: Duration, wall: UnixTime) -> Result<(), Refusal> {
        let refuse = |detail: String| Err(Refusal::new(Reason::LeaseExpired, detail));
        let off = self.clock_is_off_by.load(Ordering::Acquire);
        if off > 0 {
            return refuse(format!(
                "this node's clock is {off} ms away from the cluster's, so it does not sign; set its clock, and ask another node"
            ));
        }
        let until = self.until.load(Ordering::Acquire);
        if until == 0 {
            return refuse("this node has no issuance lease from the leader yet; ask another node or retry".to_owned());
        }
        let boot = millis(boot);
        if boot >= until || wall.millis() >= self.wall_until.load(Ordering::Acquire) {
            return refuse(format!(
                "this node's issuance lease ended {} ms ago, because no leader with a quorum renewed it; ask another node",
                boot.saturating_sub(until)
            ));
        }
        Ok(())
    }

    /// Takes a grant that was asked for at `asked`.
    fn take(&self, asked: Duration, wall: UnixTime, grant: LeaseGrant, length: Duration) {
        let off = wall.millis().abs_diff(grant.cluster_time.millis());
        if off > millis(TOLERATED_CLOCK_ERROR) {
            self.clock_is_off_by.store(off, Ordering::Release);
            return;
        }
        self.clock_is_off_by.store(0, Ordering::Release);
        self.wall_until.store(grant.cluster_time.after(length + TOLERATED_CLOCK_ERROR).millis(), Ordering::Release);
        self.until.fetch_max(millis(asked + length), Ordering::AcqRel);
    }
}

/// Renews the lease until `stop`. `length` is asked anew each time, since it is a replicated setting that is not known
/// before the trust domain is.
pub(crate) async fn keep(lease: &Lease, node: &Node, length: impl Fn() -> Option<Duration>, stop: CancellationToken) {
    let mut held = true;
    while !stop.is_cancelled() {
        let mut pause = RETRY;
        if let Some(length) = length() {
            match renew(lease, length, node.lease(length.min(ASK_FOR_AT_MOST)), clock::boottime, clock::now).await {
                Ok(()) => pause = (length / 5).clamp(RETRY, RENEW),
                Err(BarrierError::NotMember | BarrierError::ShuttingDown) => {}
                Err(cause) => tracing::debug!(%cause, "issuance lease not renewed"),
            }
            let holds = lease.check(clock::boottime(), clock::now());
            match (&holds, held) {
                (Err(refusal), true) => tracing::warn!(code = %refusal.reason, "stopped signing: {refusal}"),
                (Ok(()), false) => tracing::info!("signing: the leader granted an issuance lease"),
                _ => {}
            }
            held = holds.is_ok();
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Asks once. What was granted is counted from before the question: the leader confirmed its quorum some time after that,
/// and how long its answer travelled nobody knows.
async fn renew(
    lease: &Lease,
    length: Duration,
    ask: impl Future<Output = Result<LeaseGrant, BarrierError>>,
    boottime: impl Fn() -> Duration,
    now: impl Fn() -> UnixTime,
) -> Result<(), BarrierError> {
    let asked = boottime();
    let grant = ask.await?;
    lease.take(asked, now(), grant, length);
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const TOLERATED_CLOCK_ERROR: Duration = Duration::from_secs(2);
const RENEW: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(100);
const ASK_FOR_AT_MOST: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(30);
    const WALL: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn grant(at: UnixTime) -> LeaseGrant {
        LeaseGrant { index: 1, cluster_time: at }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn no_grant_no_signature() {
        assert_eq!(Lease::default().check(secs(1), WALL).unwrap_err().reason, Reason::LeaseExpired);
    }

    #[test]
    fn a_lease_counts_from_when_it_was_asked_for_not_from_when_it_came() {
        let lease = Lease::default();
        lease.take(secs(100), WALL, grant(WALL), LENGTH);
        assert_eq!(lease.check(secs(129), WALL.after(secs(29))), Ok(()));
        assert!(lease.check(secs(130), WALL.after(secs(30))).is_err());
    }

    #[tokio::test]
    async fn an_answer_that_travelled_for_long_does_not_lengthen_the_lease() {
        let (lease, clock) = (Lease::default(), AtomicU64::new(100));
        let boottime = || secs(clock.load(Ordering::Relaxed));
        let ask = async {
            clock.fetch_add(25, Ordering::Relaxed);
            Ok(grant(WALL.after(secs(25))))
        };
        renew(&lease, LENGTH, ask, boottime, || WALL.after(secs(25))).await.unwrap();
        assert_eq!(lease.check(secs(129), WALL.after(secs(29))), Ok(()));
        assert!(lease.check(secs(131), WALL.after(secs(31))).is_err(), "it was counted from the answer");
    }

    #[test]
    fn a_machine_that_was_paused_does_not_trust_its_lease() {
        let lease = Lease::default();
        lease.take(secs(100), WALL, grant(WALL), LENGTH);
        assert!(lease.check(secs(101), WALL.after(secs(33))).is_err());
    }

    #[test]
    fn a_clock_that_is_off_by_more_than_two_seconds_costs_the_lease() {
        let lease = Lease::default();
        lease.take(secs(100), WALL, grant(WALL), LENGTH);
        lease.take(secs(101), WALL.after(secs(4)), grant(WALL.after(secs(1))), LENGTH);
        let refusal = lease.check(secs(101), WALL.after(secs(4))).unwrap_err();
        assert!(refusal.detail.contains("clock is 3000 ms away"), "{refusal}");
        lease.take(secs(102), WALL.after(secs(2)), grant(WALL.after(secs(2))), LENGTH);
        assert_eq!(lease.check(secs(102), WALL.after(secs(2))), Ok(()));
    }

    #[test]
    fn a_late_answer_does_not_shorten_a_newer_lease() {
        let lease = Lease::default();
        lease.take(secs(110), WALL, grant(WALL), LENGTH);
        lease.take(secs(100), WALL, grant(WALL), LENGTH);
        assert_eq!(lease.check(secs(139), WALL.after(secs(29))), Ok(()));
    }
}
