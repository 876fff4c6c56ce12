//! Work that waits for a disk.

use std::io;

/// Does `work` where it holds up no other task. Everything in this room that waits for a disk goes through here or through
/// the log's own thread, so that a simulation can do it in its place: no `spawn_blocking`, no `tokio::fs`.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    #[cfg(test)]
    if crate::sim::active() {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
