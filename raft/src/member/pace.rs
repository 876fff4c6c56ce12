//! When openraft's clock ticks.
//!
//! It ticks five times in a heartbeat, on every node, only to see whether a heartbeat or an election is due. In a cluster
//! that nobody asks anything that was most of the work. So it stands still for as long as it cannot have anything to do: on
//! a follower while its leader has been heard lately, and on a leader without writes, whose heartbeats are sent from here.
//! Those say that the next one comes only after twice the interval, and a follower gives such a leader twice the time, at
//! most the longest election timeout. Whenever there is any doubt, it ticks.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::{Heard, Member, news};
use crate::config::Timings;
use crate::status::Role;

/// Runs until the member or raft is gone.
pub(super) async fn serve(member: Weak<Member>, timings: Timings) {
    let Some((mut leadership, id)) = member.upgrade().map(|member| (member.leadership(), member.id)) else { return };
    let mut pace = Pace::new(&timings, id, Instant::now());
    loop {
        let Some(member) = member.upgrade() else { return };
        let now = Instant::now();
        let (role, leader) = {
            let leadership = leadership.borrow_and_update();
            (leadership.role, leadership.leader)
        };
        let step = match role {
            Role::Leader => pace.leading(member.log.entries.load(Ordering::Relaxed), now),
            Role::Follower | Role::Learner if leader.is_some() => pace.following(member.leader_heard(), now),
            Role::Follower | Role::Learner | Role::Candidate | Role::Waiting | Role::Unreachable => pace.ticking(now),
        };
        member.raft.runtime_config().tick(step.tick);
        member.links.set_quiet(!step.tick);
        if step.beat && member.raft.trigger().heartbeat().await.is_err() {
            return;
        }
        drop(member);
        news(&mut leadership, step.until).await;
    }
}

/// What to do now, and when to look again.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    /// Whether openraft's clock ticks.
    tick: bool,
    /// Whether a heartbeat is to be sent from here.
    beat: bool,
    until: Instant,
}

/// What is known from the last look.
#[derive(Debug)]
struct Pace {
    heartbeat: Duration,
    /// For so long after its leader was heard a follower needs no clock.
    trust: Duration,
    /// The same, if that leader has no writes. Differs between members, so that not all of them stand for election at once.
    quiet_trust: Duration,
    /// Durable entries of the log at the last look, and when they became more.
    entries: u64,
    grown: Instant,
    /// When the next heartbeat is due.
    beat: Instant,
}

impl Pace {
    fn new(timings: &Timings, id: u64, now: Instant) -> Self {
        let heartbeat = timings.heartbeat;
        let trust = (heartbeat * 2).min(timings.election_min * 4 / 5);
        let later = if id.is_multiple_of(2) { heartbeat / 2 } else { Duration::ZERO };
        let quiet_trust = (trust * QUIET + later).min(timings.election_max);
        Self { heartbeat, trust, quiet_trust, entries: 0, grown: now, beat: now }
    }

    /// On a leader. While there are writes openraft's own clock keeps its heartbeats: it does not wait behind proposals.
    fn leading(&mut self, entries: u64, now: Instant) -> Step {
        if self.entries != entries {
            (self.entries, self.grown) = (entries, now);
        }
        if now.duration_since(self.grown) < CALM {
            self.beat = now;
            return Step { tick: true, beat: false, until: now + self.heartbeat };
        }
        let (beat, interval) = (now >= self.beat, self.heartbeat * QUIET);
        if beat {
            // On a grid, so that being woken late does not make the intervals longer.
            self.beat += interval;
            if self.beat <= now {
                self.beat = now + interval;
            }
        }
        Step { tick: false, beat, until: self.beat }
    }

    /// On a follower that last heard this of its leader.
    fn following(&self, heard: Heard, now: Instant) -> Step {
        let until = heard.at + if heard.quiet { self.quiet_trust } else { self.trust };
        if until > now { Step { tick: false, beat: false, until } } else { self.ticking(now) }
    }

    /// When openraft is to decide.
    fn ticking(&self, now: Instant) -> Step {
        Step { tick: true, beat: false, until: now + self.trust }
    }
}

/// So long after the last write a leader sends its heartbeats from here.
const CALM: Duration = Duration::from_millis(300);
/// So many times the interval lies between two of those.
const QUIET: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_follower_needs_no_clock_while_its_leader_is_heard_and_has_one_before_an_election_is_due() {
        let began = Instant::now();
        for timings in [Timings::lan(), Timings::wan()] {
            for (quiet, due) in [(false, timings.election_min * 4 / 5), (true, timings.election_max)] {
                let pace = Pace::new(&timings, 1, began);
                let silent = |after: Duration| pace.following(Heard { at: began, quiet }, began + after);
                let trust = if quiet { pace.quiet_trust } else { pace.trust };
                assert_eq!(silent(Duration::ZERO), Step { tick: false, beat: false, until: began + trust });
                assert!(!silent(timings.heartbeat).tick);
                assert!(silent(due).tick);
                assert!(silent(timings.election_min * 100).tick);
            }
        }
    }

    #[test]
    fn a_heartbeat_of_a_leader_without_writes_may_be_late_by_half_an_interval() {
        let began = Instant::now();
        for timings in [Timings::lan(), Timings::wan()] {
            let pace = Pace::new(&timings, 1, began);
            let heard = Heard { at: began, quiet: true };
            assert!(!pace.following(heard, began + timings.heartbeat * QUIET * 3 / 2).tick);
        }
    }

    #[test]
    fn two_followers_of_a_leader_that_falls_silent_without_writes_do_not_stand_at_the_same_time() {
        let began = Instant::now();
        for timings in [Timings::lan(), Timings::wan()] {
            let [one, other] = [2, 3].map(|id| Pace::new(&timings, id, began).quiet_trust);
            assert!(one.abs_diff(other) >= timings.heartbeat / 3, "{one:?} and {other:?}");
        }
    }

    #[test]
    fn a_leader_without_writes_sends_one_heartbeat_in_two_intervals_however_late_it_is_woken() {
        let began = Instant::now();
        let mut pace = Pace::new(&Timings::lan(), 1, began);
        assert!(pace.leading(1, began).tick);
        assert!(pace.leading(2, began + CALM).tick, "there was a write");
        assert!(pace.leading(2, began + CALM + MS).tick);
        let calm = began + CALM + CALM;
        assert_eq!(pace.leading(2, calm), Step { tick: false, beat: true, until: calm + MS * 60 });
        assert!(!pace.leading(2, calm + MS * 58).beat, "news of the leadership is no reason for another one");
        assert_eq!(pace.leading(2, calm + MS * 63), Step { tick: false, beat: true, until: calm + MS * 120 });
        assert_eq!(pace.leading(2, calm + MS * 400), Step { tick: false, beat: true, until: calm + MS * 460 });
        assert_eq!(pace.leading(3, calm + MS * 460), Step { tick: true, beat: false, until: calm + MS * 490 });
    }
}
