//! How long to wait before a node that died is started again.

use std::time::Duration;

/// Grows while a node keeps dying young.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// The pause after a node that lived this long.
    pub(super) fn pause(&mut self, lived: Duration) -> Duration {
        self.deaths = if lived >= GROWN_UP { 0 } else { self.deaths.saturating_add(1) };
        let factor = 1u32.checked_shl(self.deaths.saturating_sub(1)).unwrap_or(u32::MAX);
        FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A node that lived this long did not die of its start.
const GROWN_UP: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_while_a_node_dies_young_and_is_short_again_afterwards() {
        let mut backoff = Backoff::default();
        let young = Duration::from_secs(1);
        let pauses: Vec<u128> = (0..7).map(|_| backoff.pause(young).as_millis()).collect();
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
        assert_eq!(backoff.pause(GROWN_UP), FIRST_PAUSE);
        for _ in 0..100 {
            assert!(backoff.pause(young) <= LONGEST_PAUSE);
        }
    }
}
