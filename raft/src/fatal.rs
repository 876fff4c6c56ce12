//! The end of the process when a disk lies: better dead than lying.

/// Ends the process because `what` failed, which must not go unnoticed or be tried again.
///
/// After a failed write or fsync nobody knows what lies on the disk; only recovery from a fresh start does.
pub(crate) fn abort(what: &str, cause: &dyn std::fmt::Display) -> ! {
    let message = format!(
        "{what}: {cause}. Stopping at once, so that nothing is acknowledged that is not on disk. Check the disk (space, \
         health, mount options), then start the node again: it recovers by itself, or says what is damaged."
    );
    #[cfg(test)]
    crate::sim::ends_the_process(&message);
    tracing::error!("{message}");
    eprintln!("error[internal]: {message}");
    std::process::abort()
}
