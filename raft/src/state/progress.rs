//! Who waits for which index to be applied.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How far the state has come, and who waits for more. Only those whose index has come are woken.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// One more than the last applied index.
    end: u64,
    waiting: BTreeMap<u64, Vec<oneshot::Sender<()>>>,
}

impl Progress {
    /// Everything below `end` is applied and visible.
    pub(crate) fn advance(&self, end: u64) {
        let woken = {
            let mut inner = self.lock();
            let end = inner.end.max(end);
            inner.end = end;
            let later = inner.waiting.split_off(&end);
            std::mem::replace(&mut inner.waiting, later)
        };
        for waiter in woken.into_values().flatten() {
            let _ = waiter.send(());
        }
    }

    /// Returns when `index` is applied. `false` if that will never be, because the state is gone.
    pub(crate) async fn reached(&self, index: u64) -> bool {
        let coming = {
            let mut inner = self.lock();
            if inner.end > index {
                return true;
            }
            let (waiter, coming) = oneshot::channel();
            let waiters = inner.waiting.entry(index).or_default();
            waiters.retain(|waiter| !waiter.is_closed());
            waiters.push(waiter);
            coming
        };
        coming.await.is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
