//! The threads raft runs on: its own, so that no load of the other rooms can starve it.

use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime of its own; may be dropped inside another one.
pub(crate) struct Threads {
    // `None` only while dropping, and where a simulation owns the runtime.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Threads {
    /// Starts the threads.
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(threads()).thread_name("raft").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// The caller's runtime, which somebody else owns.
    #[cfg(test)]
    pub(crate) fn borrowed() -> Self {
        Self { runtime: None, handle: Handle::current() }
    }

    /// Where to spawn.
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends every task and waits for the threads, but no longer than `deadline`.
    pub(crate) async fn stop(mut self, deadline: Duration) {
        if let Some(runtime) = self.runtime.take() {
            let _ = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(deadline)).await;
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime must not wait for its tasks inside another one.
            runtime.shutdown_background();
        }
    }
}

/// On a small machine a second thread would mostly wake the first: an idle node costs less with one.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| if cores.get() < MANY_CORES { 1 } else { 2 })
}

const MANY_CORES: usize = 4;
