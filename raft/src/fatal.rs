//! The end of the process when a disk lies: better dead than lying.

use std::fmt::Display;

/// Ends the process because `what` failed, which must not go unnoticed or be tried again.
///
/// After a failed write or fsync nobody knows what lies on the disk; only recovery from a fresh start does.
pub(crate) fn abort(what: &str, cause: &dyn Display) -> ! {
    let message = message(what, cause);
    #[cfg(test)]
    crate::sim::ends_the_process(&message);
    tracing::error!("{message}");
    eprintln!("error[internal]: {message}");
    std::process::abort()
}

/// What the operator is told.
fn message(what: &str, cause: &dyn Display) -> String {
    format!(
        "{what}: {cause}. Stopping at once, so that nothing is acknowledged that is not on disk. What to do: free space if \
         the disk is full (`df`), check its health and mount options (`dmesg`), then start the node again: it recovers by \
         itself, or says what is damaged"
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_message_names_the_thing_the_cause_and_the_fix() {
        let told = super::message("cannot write the raft log", &"No space left on device");
        for part in
            ["cannot write the raft log: No space left", "free space", "check its health", "start the node again"]
        {
            assert!(told.contains(part), "{told}");
        }
    }
}
