//! The only place of this crate that reads clocks.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use signet_model::time::UnixTime;

use crate::schedule::Timeline;

/// The time of day.
pub(crate) fn now() -> UnixTime {
    #[expect(clippy::disallowed_methods, reason = "this is the program's clock.rs")]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// [`now`], as the client takes it.
pub(crate) fn api_clock() -> signet_api::Clock {
    Arc::new(now)
}

/// A point from which a run's time is counted. Copies count from the same point.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch {
    zero: Instant,
}

impl Stopwatch {
    /// Starts `ahead` in the future, so that all parts of a run are in place when its time begins.
    pub(crate) fn starting_in(ahead: Duration) -> Self {
        Self { zero: Instant::now() + ahead }
    }

    /// Waits until this much of the run has passed.
    pub(crate) async fn until(self, elapsed: Duration) {
        tokio::time::sleep_until((self.zero + elapsed).into()).await;
    }
}

impl Timeline for Stopwatch {
    fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.zero)
    }

    fn wait_until(&mut self, elapsed: Duration) {
        // Not tokio's timer: it counts whole milliseconds, a latency measured from the intended start would show them.
        let left = (self.zero + elapsed).saturating_duration_since(Instant::now());
        if !left.is_zero() {
            std::thread::sleep(left);
        }
    }
}
