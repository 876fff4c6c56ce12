//! What the members' clocks say, so that one wrong clock cannot drive cluster time ahead, and its owner is told.
//!
//! The leader hears every member's clock with the answers to its heartbeats, and tells the median with the next ones.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use signet_model::time::UnixTime;
use tokio::time::Instant;

/// This node's clock, held against those of its peers.
pub(crate) struct Clocks {
    own: Arc<dyn Fn() -> UnixTime + Send + Sync>,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    /// How far each peer's clock was ahead of ours when it last answered, in milliseconds, and when that was.
    ahead: BTreeMap<u64, (i64, Instant)>,
    /// How far our clock is ahead of the median, and when that was found.
    own: Option<(i64, Instant)>,
    /// Since when it has been off by too much.
    off_since: Option<Instant>,
}

impl Clocks {
    /// Only this node's clock yet.
    pub(crate) fn new(own: Arc<dyn Fn() -> UnixTime + Send + Sync>) -> Self {
        Self { own, heard: Mutex::default() }
    }

    /// This node's clock.
    pub(crate) fn own(&self) -> UnixTime {
        (self.own)()
    }

    /// A peer told its clock.
    pub(crate) fn heard(&self, peer: u64, told: UnixTime) {
        let (own, now) = (self.own(), Instant::now());
        let mut heard = self.lock();
        heard.ahead.insert(peer, (difference(told, own), now));
        let (low, high) = heard.median(now);
        heard.judge(if low > 0 { -low } else { (-high).max(0) }, now);
    }

    /// The leader told between which times the median of the members' clocks lies.
    pub(crate) fn told(&self, low: UnixTime, high: UnixTime) {
        let own = self.own();
        let ahead = if own < low { difference(own, low) } else { difference(own, high).max(0) };
        self.lock().judge(ahead, Instant::now());
    }

    /// Between which times the median of the clocks lies that this node has heard, its own among them, and how many they
    /// are.
    pub(crate) fn median(&self) -> (UnixTime, UnixTime, usize) {
        let (own, now) = (self.own(), Instant::now());
        let heard = self.lock();
        let (low, high) = heard.median(now);
        (moved(own, low), moved(own, high), heard.fresh(now).count() + 1)
    }

    /// This node's clock, but never far ahead of the median of all.
    pub(crate) fn stamp(&self) -> UnixTime {
        let own = self.own();
        // Of two clocks nobody knows which is wrong: then this node's counts if it is the later one.
        let (_, median) = self.lock().median(Instant::now());
        let behind = Duration::from_millis(median.min(0).unsigned_abs());
        if behind > TOLERANCE { own.before(behind - TOLERANCE) } else { own }
    }

    /// How far this node's clock is ahead of the median, in milliseconds, and whether it has been off by too much for a
    /// while. A single late message, as after a pause of the process, is no evidence.
    pub(crate) fn verdict(&self) -> (Option<i64>, bool) {
        let now = Instant::now();
        let heard = self.lock();
        match heard.own {
            Some((ahead, at)) if now.duration_since(at) < FRESH => {
                (Some(ahead), heard.off_since.is_some_and(|since| now.duration_since(since) >= PERSISTENT))
            }
            Some(_) | None => (None, false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    /// How far the peers' clocks are ahead that were heard lately.
    fn fresh(&self, now: Instant) -> impl Iterator<Item = i64> {
        let fresh = self.ahead.values().filter(move |(_, at)| now.duration_since(*at) < FRESH);
        fresh.map(|(ahead, _)| *ahead)
    }

    /// How far the two middle clocks are ahead of ours; of an odd number both are the same one.
    fn median(&self, now: Instant) -> (i64, i64) {
        let mut all: Vec<i64> = self.fresh(now).chain([0]).collect();
        all.sort_unstable();
        let at = |index: usize| all.get(index).copied().unwrap_or(0);
        (at((all.len() - 1) / 2), at(all.len() / 2))
    }

    fn judge(&mut self, ahead: i64, now: Instant) {
        // What was found before a silence says nothing about how long this has been so.
        let silent = self.own.is_none_or(|(_, at)| now.duration_since(at) >= FRESH);
        self.own = Some((ahead, now));
        if ahead.unsigned_abs() <= OFF.as_millis().try_into().unwrap_or(u64::MAX) {
            self.off_since = None;
        } else if silent || self.off_since.is_none() {
            self.off_since = Some(now);
        }
    }
}

impl fmt::Debug for Clocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clocks").finish_non_exhaustive()
    }
}

/// How far `a` is ahead of `b`, in milliseconds.
fn difference(a: UnixTime, b: UnixTime) -> i64 {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    if a >= b { millis(a.since(b)) } else { -millis(b.since(a)) }
}

fn moved(time: UnixTime, by: i64) -> UnixTime {
    let duration = Duration::from_millis(by.unsigned_abs());
    if by < 0 { time.before(duration) } else { time.after(duration) }
}

/// A leader may be this far ahead of the median.
const TOLERANCE: Duration = Duration::from_millis(500);
/// A clock that is further from the median than this is wrong.
const OFF: Duration = Duration::from_secs(2);
/// So long it must be, to be called so.
const PERSISTENT: Duration = Duration::from_secs(1);
/// What was heard longer ago counts no more.
const FRESH: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(peers: &[u64]) -> Clocks {
        let clocks = Clocks::new(Arc::new(|| UnixTime::from_millis(1_000_000)));
        for (at, told) in peers.iter().enumerate() {
            clocks.heard(at as u64 + 2, UnixTime::from_millis(*told));
        }
        clocks
    }

    #[test]
    fn a_clock_that_runs_ahead_of_the_others_is_held_back() {
        assert_eq!(clocks(&[]).stamp().millis(), 1_000_000);
        assert_eq!(clocks(&[999_900, 999_800]).stamp().millis(), 1_000_000);
        assert_eq!(clocks(&[900_000, 910_000]).stamp().millis(), 910_500);
    }

    #[test]
    fn one_peer_that_is_late_or_early_changes_nothing() {
        assert_eq!(clocks(&[5, 1_000_010]).stamp().millis(), 1_000_000);
        assert_eq!(clocks(&[9_000_000, 9_000_000]).stamp().millis(), 1_000_000);
        assert_eq!(clocks(&[5]).stamp().millis(), 1_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_is_called_wrong_when_it_stays_away_from_the_median_of_three() {
        for (peers, ahead) in [([900_000, 900_100], 99_900), ([1_100_000, 1_200_000], -100_000)] {
            let clocks = clocks(&peers);
            assert_eq!(clocks.verdict(), (Some(ahead), false), "not at once");
            tokio::time::advance(PERSISTENT).await;
            assert_eq!(clocks.verdict(), (Some(ahead), true));
            clocks.told(UnixTime::from_millis(1_000_300), UnixTime::from_millis(1_000_300));
            assert_eq!(clocks.verdict(), (Some(-300), false), "and right again at the first good sign");
            tokio::time::advance(FRESH).await;
            assert_eq!(clocks.verdict(), (None, false), "what is old says nothing");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_clocks_nobody_says_which_is_wrong() {
        let clocks = clocks(&[5]);
        tokio::time::advance(PERSISTENT).await;
        assert_eq!(clocks.verdict(), (Some(0), false));
        clocks.told(UnixTime::from_millis(5), UnixTime::from_millis(1_000_000));
        assert_eq!(clocks.verdict(), (Some(0), false));
    }

    #[test]
    fn the_median_is_that_of_all_clocks_heard() {
        let (low, high, count) = clocks(&[1_000_100, 2_000_000]).median();
        assert_eq!((low.millis(), high.millis(), count), (1_000_100, 1_000_100, 3));
        let (low, high, count) = clocks(&[1_000_100]).median();
        assert_eq!((low.millis(), high.millis(), count), (1_000_000, 1_000_100, 2));
    }
}
