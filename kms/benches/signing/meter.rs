//! Time on the wall and time of the processor.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How long and how often to measure.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) repeats: usize,
    pub(crate) window: Duration,
}

/// What one operation cost, in microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

/// A measurement that has begun.
pub(crate) struct Meter {
    clock: ClockId,
    wall: Instant,
    cpu: Duration,
}

impl Meter {
    /// Counts the processor time of all threads.
    pub(crate) fn of_process() -> Self {
        Self::by(ClockId::ProcessCPUTime)
    }

    fn by(clock: ClockId) -> Self {
        Self { clock, wall: Instant::now(), cpu: now(clock) }
    }

    pub(crate) fn goes_on(&self, plan: Plan) -> bool {
        self.wall.elapsed() < plan.window
    }

    pub(crate) fn per(&self, times: u32) -> Cost {
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(times);
        Cost { wall: micros(self.wall.elapsed()), cpu: micros(now(self.clock).saturating_sub(self.cpu)) }
    }
}

/// Does it again and again on this thread for one window: processor microseconds for each time.
pub(crate) fn cpu_micros(plan: Plan, mut work: impl FnMut()) -> f64 {
    let meter = Meter::by(ClockId::ThreadCPUTime);
    let mut times = 0;
    while times == 0 || meter.goes_on(plan) {
        for _ in 0..BETWEEN_LOOKS {
            work();
        }
        times += BETWEEN_LOOKS;
    }
    meter.per(times).cpu
}

/// The middle one of them.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn now(clock: ClockId) -> Duration {
    clock_gettime(clock).try_into().unwrap()
}

/// A look at a clock of the processor's time is a system call.
const BETWEEN_LOOKS: u32 = 8;
