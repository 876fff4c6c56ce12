//! Threads for calls that block.
//!
//! A PKCS#11 call cannot be given a time-out and cannot be cancelled: a token that hangs keeps the thread that asked it.
//! So calls run on threads of their own, whoever asked stops waiting after a bound, and a thread that hangs is let
//! adrift: it counts no more, another one takes its place, and should the call end after all, it joins the others again.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

/// A few threads, each with a `W` of its own, and a queue before them.
pub(super) struct Calls<W> {
    shared: Arc<Shared<W>>,
}

/// Nobody will hear of the result. What was begun may have been done nevertheless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("{MAX_QUEUE} calls wait for it already")]
    Full,
    #[error("{MAX_ADRIFT} calls of it hang and never ended; restart this node once the token answers again")]
    Adrift,
    #[error("the call did not end within {} s", .0.as_secs())]
    Overdue(Duration),
    #[error("the system gave no thread")]
    NoThread,
}

struct Shared<W> {
    state: Mutex<State<W>>,
    work: Condvar,
    /// Threads at a call that nobody waits for any more: ours, and those of whoever else asks the same module.
    adrift: Arc<AtomicUsize>,
}

struct State<W> {
    queue: VecDeque<Call<W>>,
    /// Threads that wait for a call, or will in a moment.
    idle: usize,
    /// Calls that threads are at and somebody waits for.
    running: HashSet<u64>,
    next: u64,
    /// Threads that have not let go of what is theirs.
    alive: usize,
    closed: bool,
}

struct Call<W> {
    number: u64,
    run: Work<W>,
}

/// What is done, and what hands the result over then.
type Work<W> = Box<dyn FnOnce(&mut W) -> HandOver + Send>;
type HandOver = Box<dyn FnOnce()>;

impl<W: Default + 'static> Calls<W> {
    /// `adrift` counts the threads that hang, for all who share it.
    pub(super) fn new(adrift: Arc<AtomicUsize>) -> Self {
        let state =
            State { queue: VecDeque::new(), idle: 0, running: HashSet::new(), next: 0, alive: 0, closed: false };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), work: Condvar::new(), adrift }) }
    }

    /// Runs `call` on one of the threads and waits for its result, `bound` at most, its time in the queue included.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        bound: Duration,
        call: impl FnOnce(&mut W) -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let (sender, receiver) = oneshot::channel();
        let number = self.submit(Box::new(move |own| {
            let result = call(own);
            Box::new(move || drop(sender.send(result)))
        }))?;
        let _waiting = Waiting { shared: &self.shared, number };
        match tokio::time::timeout(bound, receiver).await {
            Ok(Ok(result)) => Ok(result),
            // The thread is gone without an answer: it panicked.
            Ok(Err(_)) => Err(NoAnswer::NoThread),
            Err(_) => Err(NoAnswer::Overdue(bound)),
        }
    }

    fn submit(&self, run: Work<W>) -> Result<u64, NoAnswer> {
        let mut state = self.shared.lock();
        if state.queue.len() >= MAX_QUEUE {
            return Err(NoAnswer::Full);
        }
        if state.idle <= state.queue.len() && state.idle + state.running.len() < THREADS {
            if self.shared.adrift.load(Ordering::Relaxed) >= MAX_ADRIFT {
                return Err(NoAnswer::Adrift);
            }
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("pkcs11".to_owned());
            thread.spawn(move || shared.work()).map_err(|_| NoAnswer::NoThread)?;
            state.idle += 1;
            state.alive += 1;
        }
        let number = state.next;
        state.next += 1;
        state.queue.push_back(Call { number, run });
        drop(state);
        self.shared.work.notify_one();
        Ok(number)
    }
}

impl<W: Default> Shared<W> {
    fn work(&self) {
        let mut own = W::default();
        self.serve(&mut own);
        drop(own);
        self.lock().alive -= 1;
        self.work.notify_all();
    }

    fn serve(&self, own: &mut W) {
        let mut state = self.lock();
        loop {
            if state.closed {
                return;
            }
            let Some(call) = state.queue.pop_front() else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.idle -= 1;
            state.running.insert(call.number);
            drop(state);
            let hand_over = (call.run)(own);
            state = self.lock();
            if !state.running.remove(&call.number) {
                self.adrift.fetch_sub(1, Ordering::Relaxed);
                if state.idle + state.running.len() >= THREADS {
                    return;
                }
            }
            state.idle += 1;
            // Not before the call counts as done: whoever has its answer may ask again at once, and would take this thread
            // for one that hangs.
            hand_over();
        }
    }
}

impl<W> Shared<W> {
    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits, until this is dropped.
struct Waiting<'a, W> {
    shared: &'a Shared<W>,
    number: u64,
}

impl<W> Drop for Waiting<'_, W> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if state.running.remove(&self.number) {
            self.shared.adrift.fetch_add(1, Ordering::Relaxed);
        } else {
            // Nobody else asks for it, so it need not be done. Not there where it was done.
            state.queue.retain(|call| call.number != self.number);
        }
    }
}

impl<W> Drop for Calls<W> {
    /// Waits until the threads have let go of what is theirs, but not for one that hangs: a library whose sessions are
    /// closed while the process ends, and its own memory with it, crashes.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.work.notify_all();
        drop(self.shared.work.wait_timeout_while(state, CLOSING, |state| state.alive > 0));
    }
}

impl<W> fmt::Debug for Calls<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        let (idle, running, adrift) = (state.idle, state.running.len(), self.shared.adrift.load(Ordering::Relaxed));
        write!(f, "Calls({idle} idle, {running} running, {adrift} adrift)")
    }
}

/// Two sessions are half as fast again as one in a token of software, and more than cores gain nothing; hardware that
/// serves many at once is rare, and a cluster makes a few calls an hour.
const THREADS: usize = 4;
/// Closing a session takes a millisecond.
const CLOSING: Duration = Duration::from_secs(1);
/// Far more than a cluster ever asks for at once, unless every signature is made in the token: then it is what a token
/// of 100 signatures a second does within a second.
const MAX_QUEUE: usize = 100;
/// A thread that hangs costs its stack and its session. For each module: a backend that is opened again and again while its
/// token hangs gets no more.
const MAX_ADRIFT: usize = 16;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn settled(calls: &Calls<usize>, expected: &str) {
        for _ in 0..2000 {
            if format!("{calls:?}") == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{calls:?}, not {expected}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_call_that_hangs_costs_its_caller_the_bound_and_stops_nobody_else() {
        let calls = Calls::<usize>::new(Arc::default());
        let (release, hang) = mpsc::channel::<()>();
        let hung = calls.run(Duration::from_millis(50), move |_| hang.recv()).await;
        assert_eq!(hung.unwrap_err(), NoAnswer::Overdue(Duration::from_millis(50)));
        assert_eq!(calls.run(LONG, |_| 7).await, Ok(7));
        settled(&calls, "Calls(1 idle, 0 running, 1 adrift)").await;
        // When it ends after all, its thread is one of the others again.
        release.send(()).unwrap();
        settled(&calls, "Calls(2 idle, 0 running, 0 adrift)").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn threads_keep_what_is_theirs_and_are_used_again() {
        let calls = Calls::<usize>::new(Arc::default());
        for count in 1..=20 {
            let own = calls.run(LONG, |own| {
                *own += 1;
                *own
            });
            assert_eq!(own.await, Ok(count));
            settled(&calls, "Calls(1 idle, 0 running, 0 adrift)").await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn callers_who_ask_again_at_once_find_the_same_threads() {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        struct Session;
        impl Default for Session {
            fn default() -> Self {
                MADE.fetch_add(1, Ordering::SeqCst);
                Self
            }
        }
        let calls = Arc::new(Calls::<Session>::new(Arc::default()));
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..THREADS {
            let calls = Arc::clone(&calls);
            callers.spawn(async move {
                for number in 0..2_000 {
                    assert_eq!(calls.run(LONG, move |_| number).await, Ok(number));
                }
            });
        }
        callers.join_all().await;
        assert!(MADE.load(Ordering::SeqCst) <= THREADS, "{MADE:?} threads were made");
        assert_eq!(calls.shared.adrift.load(Ordering::SeqCst), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_nobody_waits_for_any_more_is_not_done() {
        let calls = Arc::new(Calls::<usize>::new(Arc::default()));
        let (releases, hung): (Vec<_>, Vec<_>) = (0..THREADS)
            .map(|_| {
                let (release, hang) = mpsc::channel::<()>();
                let calls = Arc::clone(&calls);
                (release, tokio::spawn(async move { calls.run(LONG, move |_| hang.recv()).await }))
            })
            .unzip();
        settled(&calls, "Calls(0 idle, 4 running, 0 adrift)").await;
        let (sender, done) = mpsc::channel::<()>();
        let given_up = calls.run(Duration::from_millis(20), move |_| sender.send(())).await;
        assert!(matches!(given_up, Err(NoAnswer::Overdue(_))));
        releases.into_iter().for_each(drop);
        for one in hung {
            one.await.unwrap().unwrap().unwrap_err();
        }
        settled(&calls, "Calls(4 idle, 0 running, 0 adrift)").await;
        assert!(done.recv().is_err(), "a call was made that nobody waits for");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_token_that_hangs_for_good_costs_a_bounded_number_of_threads() {
        let calls = Arc::new(Calls::<usize>::new(Arc::default()));
        let mut releases = Vec::new();
        for _ in 0..MAX_ADRIFT {
            let (release, hang) = mpsc::channel::<()>();
            let (begin, begun) = oneshot::channel();
            let calls = Arc::clone(&calls);
            let hung = tokio::spawn(async move {
                calls
                    .run(LONG, move |_| {
                        begin.send(()).unwrap();
                        hang.recv()
                    })
                    .await
            });
            begun.await.unwrap();
            hung.abort();
            hung.await.unwrap_err();
            releases.push(release);
        }
        assert_eq!(calls.run(LONG, |_| ()).await, Err(NoAnswer::Adrift));
        drop(releases);
        settled(&calls, "Calls(4 idle, 0 running, 0 adrift)").await;
        assert_eq!(calls.run(LONG, |_| 7).await, Ok(7));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn threads_that_hang_are_counted_for_all_who_ask_the_same_module() {
        let adrift = Arc::new(AtomicUsize::new(MAX_ADRIFT));
        let calls = Calls::<usize>::new(Arc::clone(&adrift));
        assert_eq!(calls.run(LONG, |_| ()).await, Err(NoAnswer::Adrift));
        adrift.fetch_sub(1, Ordering::Relaxed);
        assert_eq!(calls.run(LONG, |_| 7).await, Ok(7));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_threads_hold_is_let_go_before_whoever_drops_them_goes_on() {
        static HELD: AtomicUsize = AtomicUsize::new(0);
        struct Session;
        impl Default for Session {
            fn default() -> Self {
                HELD.fetch_add(1, Ordering::SeqCst);
                Self
            }
        }
        impl Drop for Session {
            fn drop(&mut self) {
                std::thread::sleep(Duration::from_millis(20));
                HELD.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let calls = Calls::<Session>::new(Arc::default());
        let ((), ()) = tokio::try_join!(calls.run(LONG, |_| ()), calls.run(LONG, |_| ())).unwrap();
        assert!(HELD.load(Ordering::SeqCst) > 0);
        drop(calls);
        assert_eq!(HELD.load(Ordering::SeqCst), 0);
    }
}
