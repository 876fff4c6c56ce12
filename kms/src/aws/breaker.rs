//! A region that keeps failing is left alone for a while.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Counts failures in a row. After [`LIMIT`] of them the region gets no calls for a pause, then one at a time to try
/// with; each that fails doubles the pause, up to [`LONGEST`], and one that succeeds ends it.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    pause: Duration,
    /// Somebody is trying.
    trial: bool,
}

impl Breaker {
    /// Whether a call may be made at `now`. If the pause has just ended, this is the one to try with: others wait until
    /// it has said how it went, or for as long as it may take at most.
    pub(super) fn admits(&self, now: Instant) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &mut state.open else { return true };
        if now < open.until {
            return false;
        }
        (open.until, open.trial) = (now + TRIAL, true);
        true
    }

    /// How long it will still admit no call.
    pub(super) fn closed_for(&self, now: Instant) -> Option<Duration> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.open.as_ref().map(|open| open.until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// The region answered; whether with what was asked for makes no difference.
    pub(super) fn answered(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    /// The region did not answer, or had too much to do.
    pub(super) fn failed(&self, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        let pause = match &state.open {
            None if state.failures < LIMIT => return,
            None => FIRST,
            // Begun before the pause: it says nothing new.
            Some(open) if !open.trial => return,
            Some(open) => (open.pause * 2).min(LONGEST),
        };
        state.open = Some(Open { until: now + pause, pause, trial: false });
    }
}

/// Two calls that used up their attempts.
const LIMIT: u32 = 6;
const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(30);
/// An attempt and a little.
const TRIAL: Duration = Duration::from_millis(2500);

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(now: Instant) -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..LIMIT {
            assert!(breaker.admits(now));
            breaker.failed(now);
        }
        breaker
    }

    #[test]
    fn a_region_that_keeps_failing_is_left_alone_then_tried_by_one() {
        let start = Instant::now();
        let breaker = broken(start);
        assert!(!breaker.admits(start) && !breaker.admits(start + FIRST - Duration::from_millis(1)));
        assert_eq!(breaker.closed_for(start), Some(FIRST));
        assert!(breaker.admits(start + FIRST), "one may try");
        assert!(!breaker.admits(start + FIRST), "one only");
        assert!(breaker.admits(start + FIRST + TRIAL), "the one was never heard of again");
        breaker.answered();
        assert!(breaker.admits(start + FIRST) && breaker.admits(start + FIRST));
    }

    #[test]
    fn the_pause_doubles_up_to_its_limit() {
        let mut now = Instant::now();
        let breaker = broken(now);
        for pause in [2, 4, 8, 16, 30, 30] {
            assert_eq!(breaker.closed_for(now), Some(Duration::from_secs(pause)));
            now += Duration::from_secs(pause);
            assert!(breaker.admits(now));
            breaker.failed(now);
        }
    }

    #[test]
    fn calls_that_were_under_way_do_not_lengthen_the_pause() {
        let now = Instant::now();
        let breaker = broken(now);
        (0..20).for_each(|_| breaker.failed(now));
        assert_eq!(breaker.closed_for(now), Some(FIRST));
    }

    #[test]
    fn an_answer_in_between_starts_the_count_anew() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..3 {
            for _ in 1..LIMIT {
                breaker.failed(now);
            }
            breaker.answered();
        }
        assert!(breaker.admits(now));
    }
}
