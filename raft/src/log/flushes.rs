//! Whether a flush of the log hangs, seen from outside the thread that waits for it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Counts flushes. The writing thread tells of each; somebody else looks now and then. No clock is read by the writer.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    begun: AtomicU64,
    ended: AtomicU64,
    hang: AtomicBool,
    /// The flush that was under way when somebody last looked, and since when it is seen.
    seen: Mutex<Option<(u64, Instant)>>,
}

impl Flushes {
    /// The writer begins to flush.
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::AcqRel);
    }

    /// The flush is done.
    pub(crate) fn end(&self) {
        self.ended.fetch_add(1, Ordering::AcqRel);
    }

    /// Looks whether one flush has been under way for `stall`.
    pub(crate) fn look(&self, now: Instant, stall: Duration) {
        let (ended, begun) = (self.ended.load(Ordering::Acquire), self.begun.load(Ordering::Acquire));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if begun == ended {
            *seen = None;
        } else if seen.is_none_or(|(flush, _)| flush != begun) {
            *seen = Some((begun, now));
        }
        let hang = seen.is_some_and(|(_, since)| now.duration_since(since) >= stall);
        self.hang.store(hang, Ordering::Release);
    }

    /// Whether one hung at the last look.
    pub(crate) fn hang(&self) -> bool {
        self.hang.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_flush_that_takes_long_hangs_and_many_short_ones_do_not() {
        let (flushes, stall, began) = (Flushes::default(), Duration::from_millis(500), Instant::now());
        for at in 0..20 {
            flushes.begin();
            flushes.look(began + Duration::from_millis(100 * at), stall);
            flushes.end();
            assert!(!flushes.hang());
        }
        flushes.begin();
        for (at, hangs) in [(2000, false), (2400, false), (2500, true), (2600, true)] {
            flushes.look(began + Duration::from_millis(at), stall);
            assert_eq!(flushes.hang(), hangs, "at {at}");
        }
        flushes.end();
        flushes.look(began + Duration::from_millis(2700), stall);
        assert!(!flushes.hang());
    }
}
