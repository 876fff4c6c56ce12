//! One run: a schedule played on open connections, watched from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::clock::Stopwatch;
use crate::cpu::{self, CpuError};
use crate::schedule::{Schedule, Slot, Timeline};
use crate::tally::Tally;

/// One open connection to a server, through which requests go.
pub(crate) trait Door: Send + Sync + 'static {
    /// How many requests it carries at once; more wait, and their latency shows it.
    fn in_flight(&self) -> usize;

    /// Makes request `number` and checks that the answer is whole. `Err` holds a short stable code to count by.
    fn ask(&self, number: u64) -> impl Future<Output = Result<(), String>> + Send;
}

/// What one run showed.
#[derive(Debug)]
pub(crate) struct Run {
    /// Requests whose intended start lay in the measured window.
    pub(crate) tally: Tally,
    /// How long the window was in truth.
    pub(crate) window: Duration,
    /// Requests that succeeded within the window, whenever they were begun: what the processor time was spent on.
    pub(crate) completed: u64,
    /// The servers' processor time in the window.
    pub(crate) cpu: Duration,
    /// How late this machine began a request, at worst.
    pub(crate) latest_start: Duration,
}

/// Why a run has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// A server's processor time could not be read.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// Our own broken invariant.
    #[error("a task of the load test died")]
    Task(#[from] tokio::task::JoinError),
}

/// Plays `schedule` on `doors`, request n on door n modulo their number, and reads the processor time of `pids` where
/// the measured window begins and ends. Returns when each request has ended or was given up, `timeout` after its
/// intended start.
pub(crate) async fn run<D: Door>(
    doors: &[Arc<D>],
    schedule: Schedule,
    timeout: Duration,
    pids: &[u32],
) -> Result<Run, RunError> {
    let watch = Stopwatch::starting_in(LEAD);
    let completed = Arc::new(AtomicU64::new(0));
    let mut lanes = JoinSet::new();
    let mut inboxes = Vec::with_capacity(doors.len());
    for door in doors {
        // Holds all that can ever be sent to it, so that a slow server never holds up the schedule.
        let room = usize::try_from(schedule.slots()).unwrap_or(usize::MAX).clamp(1, LARGEST_INBOX);
        let (sender, inbox) = mpsc::channel(room);
        inboxes.push(sender);
        let lane = Lane { door: Arc::clone(door), watch, timeout, completed: Arc::clone(&completed) };
        lanes.spawn(lane.run(inbox));
    }
    let mut timeline = watch;
    let pacer = tokio::task::spawn_blocking(move || {
        let count = inboxes.len().max(1) as u64;
        schedule.play(&mut timeline, |slot| {
            let inbox = usize::try_from(slot.number % count).ok().and_then(|n| inboxes.get(n));
            inbox.is_some_and(|inbox| inbox.try_send(slot).is_ok())
        })
    });

    let first = Reading::at(watch, schedule.warmup(), pids, &completed).await?;
    let last = Reading::at(watch, schedule.end(), pids, &completed).await?;
    let latest_start = pacer.await?;
    let mut tally = Tally::new();
    while let Some(lane) = lanes.join_next().await {
        tally.add(&lane?);
    }
    Ok(Run {
        tally,
        window: last.at.saturating_sub(first.at),
        completed: last.completed.saturating_sub(first.completed),
        cpu: last.cpu.saturating_sub(first.cpu),
        latest_start,
    })
}

/// The processor time that `pids` use in `window` when nobody asks anything, as a share of one core.
pub(crate) async fn idle(window: Duration, pids: &[u32]) -> Result<f64, RunError> {
    let watch = Stopwatch::starting_in(Duration::ZERO);
    let nothing = AtomicU64::new(0);
    let first = Reading::at(watch, Duration::ZERO, pids, &nothing).await?;
    let last = Reading::at(watch, window, pids, &nothing).await?;
    let elapsed = last.at.saturating_sub(first.at).as_secs_f64();
    Ok(if elapsed > 0.0 { last.cpu.saturating_sub(first.cpu).as_secs_f64() / elapsed } else { 0.0 })
}

/// What was so far, at one moment of a run.
struct Reading {
    at: Duration,
    completed: u64,
    cpu: Duration,
}

impl Reading {
    async fn at(watch: Stopwatch, elapsed: Duration, pids: &[u32], completed: &AtomicU64) -> Result<Self, CpuError> {
        watch.until(elapsed).await;
        let cpu = cpu::time_of(pids)?;
        Ok(Self { at: watch.elapsed(), completed: completed.load(Ordering::Relaxed), cpu })
    }
}

/// One connection's requests.
struct Lane<D> {
    door: Arc<D>,
    watch: Stopwatch,
    timeout: Duration,
    completed: Arc<AtomicU64>,
}

impl<D: Door> Lane<D> {
    /// Takes requests as they come due, as many at once as the connection carries.
    async fn run(self, mut inbox: mpsc::Receiver<Slot>) -> Tally {
        let mut tally = Tally::new();
        let mut pending = FuturesUnordered::new();
        let mut more = true;
        while more || !pending.is_empty() {
            tokio::select! {
                slot = inbox.recv(), if more && pending.len() < self.door.in_flight() => match slot {
                    Some(slot) => pending.push(self.one(slot)),
                    None => more = false,
                },
                Some((slot, ended, result)) = pending.next(), if !pending.is_empty() => match result {
                    _ if !slot.measured => {}
                    Ok(()) => tally.success(ended.saturating_sub(slot.intended)),
                    Err(code) => tally.failure(code),
                },
            }
        }
        tally
    }

    async fn one(&self, slot: Slot) -> (Slot, Duration, Result<(), String>) {
        let left = (slot.intended + self.timeout).saturating_sub(self.watch.elapsed());
        // What could not even begin in time is not sent: a server that comes back is not met with old requests.
        let asked = async { if left.is_zero() { None } else { Some(self.door.ask(slot.number).await) } };
        let result = match tokio::time::timeout(left, asked).await {
            Ok(Some(result)) => result,
            Ok(None) | Err(_) => Err("timeout".to_owned()),
        };
        if result.is_ok() {
            self.completed.fetch_add(1, Ordering::Relaxed);
        }
        (slot, self.watch.elapsed(), result)
    }
}

/// Time to get all tasks waiting before the first request is due.
const LEAD: Duration = Duration::from_millis(100);

/// More than the requests that [`Options`](crate::Options) lets a run have.
const LARGEST_INBOX: usize = 16_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers at once, but for some requests.
    struct Played {
        in_flight: usize,
        pause: Duration,
        now: AtomicU64,
        most: AtomicU64,
    }

    impl Door for Played {
        fn in_flight(&self) -> usize {
            self.in_flight
        }
        async fn ask(&self, number: u64) -> Result<(), String> {
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            let result = match number % 10 {
                3 => Err("refused".to_owned()),
                7 => {
                    tokio::time::sleep(self.pause).await;
                    Ok(())
                }
                _ => Ok(()),
            };
            self.now.fetch_sub(1, Ordering::SeqCst);
            result
        }
    }

    fn doors(count: usize, in_flight: usize, pause: Duration) -> Vec<Arc<Played>> {
        let door = || Arc::new(Played { in_flight, pause, now: AtomicU64::new(0), most: AtomicU64::new(0) });
        (0..count).map(|_| door()).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_request_of_the_window_ends_as_success_error_or_timeout() {
        let schedule = Schedule::new(1000, Duration::from_millis(100), Duration::from_millis(200));
        let doors = doors(3, 64, Duration::from_secs(3600));
        let run = run(&doors, schedule, Duration::from_millis(50), &[std::process::id()]).await.unwrap();
        assert_eq!(run.tally.successes(), 160);
        assert_eq!(run.tally.errors().get("refused"), Some(&20));
        assert_eq!(run.tally.errors().get("timeout"), Some(&20));
        assert!(run.window >= Duration::from_millis(150), "{:?}", run.window);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_never_carries_more_than_it_says_and_waiting_counts_as_latency() {
        // Request 7 blocks the only connection for a while, so those behind it wait.
        let schedule = Schedule::new(1000, Duration::ZERO, Duration::from_millis(10));
        let doors = doors(1, 1, Duration::from_millis(300));
        let run = run(&doors, schedule, Duration::from_secs(60), &[std::process::id()]).await.unwrap();
        assert_eq!(doors[0].most.load(Ordering::SeqCst), 1);
        assert_eq!(run.tally.errors().get("refused"), Some(&1));
        assert_eq!(run.tally.successes(), 9);
        assert!(run.tally.quantiles().p90 >= 250_000, "{:?}", run.tally.quantiles());
    }
}
