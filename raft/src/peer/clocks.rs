//! What the members' clocks say, so that one wrong clock cannot drive cluster time ahead.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use signet_model::time::UnixTime;

/// This node's clock, held against those of its peers.
pub(crate) struct Clocks {
    own: Arc<dyn Fn() -> UnixTime + Send + Sync>,
    /// How far each peer's clock was ahead of ours when it last answered, in milliseconds.
    ahead: Mutex<BTreeMap<u64, i64>>,
}

impl Clocks {
    /// Only this node's clock yet.
    pub(crate) fn new(own: Arc<dyn Fn() -> UnixTime + Send + Sync>) -> Self {
        Self { own, ahead: Mutex::default() }
    }

    /// This node's clock.
    pub(crate) fn own(&self) -> UnixTime {
        (self.own)()
    }

    /// A peer told its clock.
    pub(crate) fn heard(&self, peer: u64, told: UnixTime) {
        let own = self.own();
        let ahead = match i64::try_from(told.since(own).as_millis()) {
            Ok(0) => -i64::try_from(own.since(told).as_millis()).unwrap_or(i64::MAX),
            Ok(ahead) => ahead,
            Err(_) => i64::MAX,
        };
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner).insert(peer, ahead);
    }

    /// This node's clock, but never far ahead of the median of all.
    pub(crate) fn stamp(&self) -> UnixTime {
        let own = self.own();
        let median = {
            let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
            let mut all: Vec<i64> = ahead.values().copied().chain([0]).collect();
            all.sort_unstable();
            // Of two clocks nobody knows which is wrong: then this node's counts if it is the later one.
            all.get(all.len() / 2).copied().unwrap_or(0)
        };
        let behind = Duration::from_millis(median.min(0).unsigned_abs());
        if behind > TOLERANCE { own.before(behind - TOLERANCE) } else { own }
    }
}

impl fmt::Debug for Clocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clocks").finish_non_exhaustive()
    }
}

/// A leader may be this far ahead of the median.
const TOLERANCE: Duration = Duration::from_millis(500);

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
}
