//! Whether this node should lead. One that is drained, whose clock is wrong or whose disk hangs gives leadership up and does
//! not stand for election, for as long as somebody else can lead.

use std::fmt;
use std::sync::Weak;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Member, chore};
use crate::status::Role;

/// Why a node should not lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It was told to give leadership up, or is stopping.
    Draining,
    /// Its clock is not the others', by so many milliseconds.
    ClockIsOff(i64),
    /// A flush of its log hangs.
    DiskHangs,
}

impl Unfit {
    /// Pause after an attempt to give leadership away that failed: it costs the cluster a moment.
    fn pause(self) -> Duration {
        match self {
            Self::Draining => Duration::from_secs(2),
            Self::ClockIsOff(_) => Duration::from_secs(5),
            Self::DiskHangs => Duration::from_secs(30),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draining => f.write_str("it is being drained or stopped"),
            Self::ClockIsOff(millis) if *millis < 0 => {
                write!(f, "its clock is {} ms behind the other members'; set it", millis.unsigned_abs())
            }
            Self::ClockIsOff(millis) => write!(f, "its clock is {millis} ms ahead of the other members'; set it"),
            Self::DiskHangs => f.write_str("its disk hangs"),
        }
    }
}

impl Member {
    /// Why this node should not lead now.
    pub(crate) fn unfit(&self) -> Option<Unfit> {
        let (ahead, off) = self.clocks.verdict();
        if *self.draining.borrow() {
            Some(Unfit::Draining)
        } else if let (Some(ahead), true) = (ahead, off) {
            Some(Unfit::ClockIsOff(ahead))
        } else if self.flushes.hang() {
            Some(Unfit::DiskHangs)
        } else {
            None
        }
    }
}

/// Acts on [`Member::unfit`] until the member is gone.
pub(crate) async fn serve(member: Weak<Member>, mut draining: watch::Receiver<bool>, stall: Duration) {
    let Some(mut ticks) = chore(&member, TICK) else { return };
    let mut not_before = Instant::now();
    let mut was = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            Ok(()) = draining.changed() => not_before = Instant::now(),
        }
        let Some(member) = member.upgrade() else { return };
        let now = Instant::now();
        member.flushes.look(now, stall);
        let unfit = member.unfit();
        report(member.id, was, unfit);
        was = unfit;
        // Better a leader that should not lead than none.
        let stands = unfit.is_none() || member.leaderless() >= ALONE;
        member.raft.runtime_config().elect(stands);
        if let (Some(unfit), true) = (unfit, member.leadership.borrow().role == Role::Leader && now >= not_before) {
            let in_vain = !member.hand_over(HAND_OVER).await;
            not_before = Instant::now() + if in_vain { unfit.pause() } else { PAUSE };
        }
    }
}

fn report(node: u64, was: Option<Unfit>, is: Option<Unfit>) {
    match (was, is) {
        (None, Some(Unfit::Draining)) => {
            tracing::info!(node, "this node gives up leadership until it is told otherwise")
        }
        (None, Some(why)) => tracing::warn!(node, "this node should not lead: {why}"),
        (Some(_), None) => tracing::info!(node, "this node may lead again"),
        (None, None) | (Some(_), Some(_)) => {}
    }
}

const TICK: Duration = Duration::from_millis(100);
/// Pause between two looks for somebody who could lead.
const PAUSE: Duration = Duration::from_secs(1);
/// After this long without any leader a node stands for election even if it should not lead.
const ALONE: Duration = Duration::from_secs(2);
const HAND_OVER: Duration = Duration::from_secs(2);
