//! When each request is meant to start, and keeping to it.

use std::time::Duration;

/// The intended starts of a run: request `n` at `n / rate` seconds, whatever happened to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    rate: u32,
    warmup: Duration,
    measured: Duration,
}

/// One request to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Its number in the run, from 0.
    pub(crate) number: u64,
    /// When it is meant to start, counted from the start of the run. Its latency is counted from here.
    pub(crate) intended: Duration,
    /// False while the run warms up.
    pub(crate) measured: bool,
}

/// The time of a run, so that a test can play it.
pub(crate) trait Timeline {
    /// How much of the run has passed.
    fn elapsed(&self) -> Duration;
    /// Blocks until this much has passed; returns at once when it has.
    fn wait_until(&mut self, elapsed: Duration);
}

impl Schedule {
    /// `rate` requests a second for `warmup` and then `measured`.
    pub(crate) const fn new(rate: u32, warmup: Duration, measured: Duration) -> Self {
        Self { rate, warmup, measured }
    }

    /// All requests of the run.
    pub(crate) fn slots(self) -> u64 {
        self.started_before(self.end())
    }

    /// When measuring begins.
    pub(crate) const fn warmup(self) -> Duration {
        self.warmup
    }

    /// When measuring ends, and with it the last request begins.
    pub(crate) const fn end(self) -> Duration {
        self.warmup.saturating_add(self.measured)
    }

    /// Request `number` of the run. Computed from the start each time, so that no rounding adds up.
    pub(crate) fn slot(self, number: u64) -> Slot {
        let nanos = u128::from(number).saturating_mul(NANOS_PER_SEC) / u128::from(self.rate.max(1));
        let intended = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Slot { number, intended, measured: intended >= self.warmup }
    }

    /// How many requests are meant to start before this.
    fn started_before(self, elapsed: Duration) -> u64 {
        let scaled = elapsed.as_nanos().saturating_mul(u128::from(self.rate));
        u64::try_from(scaled.div_ceil(NANOS_PER_SEC)).unwrap_or(u64::MAX)
    }

    /// Hands out each request at its intended start, or at once when that has passed: a slow moment delays what it
    /// delays, and never removes a request. Ends with the schedule, or when `begin` says that nobody listens any more.
    ///
    /// Returns the longest delay between an intended start and its handing out: how well this machine kept time.
    pub(crate) fn play(self, timeline: &mut impl Timeline, mut begin: impl FnMut(Slot) -> bool) -> Duration {
        let mut latest = Duration::ZERO;
        for number in 0..self.slots() {
            let slot = self.slot(number);
            timeline.wait_until(slot.intended);
            latest = latest.max(timeline.elapsed().saturating_sub(slot.intended));
            if !begin(slot) {
                break;
            }
        }
        latest
    }
}

const NANOS_PER_SEC: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// Time that passes only when somebody waits, or when the test says so.
    struct Played(Rc<Cell<Duration>>);

    impl Timeline for Played {
        fn elapsed(&self) -> Duration {
            self.0.get()
        }
        fn wait_until(&mut self, elapsed: Duration) {
            self.0.set(self.0.get().max(elapsed));
        }
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn every_request_starts_exactly_at_its_time() {
        let now = Rc::new(Cell::new(Duration::ZERO));
        let mut starts = Vec::new();
        let schedule = Schedule::new(4, millis(500), millis(1000));
        let latest = schedule.play(&mut Played(now.clone()), |slot| {
            starts.push((slot.number, slot.intended, now.get(), slot.measured));
            true
        });
        let expected: Vec<_> = (0..6).map(|n| (n, millis(250 * n), millis(250 * n), n >= 2)).collect();
        assert_eq!(starts, expected);
        assert_eq!(latest, Duration::ZERO);
    }

    #[test]
    fn a_stall_delays_requests_but_drops_none_and_moves_no_intended_start() {
        let now = Rc::new(Cell::new(Duration::ZERO));
        let mut late = Vec::new();
        let latest = Schedule::new(10, Duration::ZERO, millis(1000)).play(&mut Played(now.clone()), |slot| {
            assert_eq!(slot.intended, millis(100 * slot.number));
            late.push(now.get() - slot.intended);
            if slot.number == 2 {
                now.set(now.get() + millis(350));
            }
            true
        });
        assert_eq!(late, [0, 0, 0, 250, 150, 50, 0, 0, 0, 0].map(millis));
        assert_eq!(latest, millis(250));
    }

    #[test]
    fn rounding_does_not_add_up_at_a_rate_that_divides_nothing() {
        let schedule = Schedule::new(7, Duration::ZERO, Duration::from_secs(3600));
        assert_eq!(schedule.slots(), 7 * 3600);
        assert_eq!(schedule.slot(7 * 1800).intended, Duration::from_secs(1800));
        assert_eq!(schedule.slot(1).intended, Duration::from_nanos(142_857_142));
    }

    #[test]
    fn a_window_that_is_no_multiple_of_the_interval_holds_every_start_inside_it() {
        let schedule = Schedule::new(3, Duration::ZERO, millis(1001));
        assert_eq!(schedule.slots(), 4);
        assert!(schedule.slot(3).intended < schedule.end());
        assert!(schedule.slot(4).intended >= schedule.end());
    }

    #[test]
    fn stops_when_nobody_listens() {
        let now = Rc::new(Cell::new(Duration::ZERO));
        let mut begun = 0;
        Schedule::new(100, Duration::ZERO, millis(1000)).play(&mut Played(now), |_| {
            begun += 1;
            begun < 5
        });
        assert_eq!(begun, 5);
    }
}
