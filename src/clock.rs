//! The only place in this program that reads a clock.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use signet_model::time::UnixTime;

/// The wall clock: what goes into credentials.
#[must_use]
pub(crate) fn now() -> UnixTime {
    let time = clock_gettime(ClockId::Realtime);
    let secs = u64::try_from(time.tv_sec).unwrap_or(0);
    UnixTime::from_millis(secs.saturating_mul(1000).saturating_add(millis(time.tv_nsec)))
}

/// Time since this machine started, suspend included (`CLOCK_BOOTTIME`): what leases and pauses are measured on.
#[must_use]
pub(crate) fn boottime() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}

fn millis(nanos: rustix::time::Nsecs) -> u64 {
    u64::try_from(nanos / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_never_runs_backwards() {
        let first = boottime();
        assert!(boottime() >= first);
    }

    #[test]
    fn the_wall_clock_is_after_this_was_written() {
        assert!(now() > UnixTime::from_secs(1_795_000_000));
    }
}
