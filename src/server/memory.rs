//! Memory that was needed for a while goes back to the system.
//!
//! RocksDB allocates with the C library, which keeps what was freed between things that still live: after a burst of writes
//! a node would hold half as much again for good.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Gives back what is free, now and then, until `stop`.
pub(super) async fn keep(stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        // Takes some milliseconds, so not on a thread that serves.
        if tokio::task::spawn_blocking(give_back).await.is_err() {
            return;
        }
    }
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the C library's allocator has no safe interface")]
fn give_back() {
    // SAFETY: it may be called at any time from any thread.
    unsafe { libc::malloc_trim(KEPT) };
}

#[cfg(not(target_env = "gnu"))]
fn give_back() {}

const PERIOD: Duration = Duration::from_secs(20);
/// Free memory at the top of the heap that stays for what comes next, in bytes.
#[cfg(target_env = "gnu")]
const KEPT: usize = 1 << 20;
