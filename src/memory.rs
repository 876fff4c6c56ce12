//! Keys stay in this process's memory: no core dump of it is ever written.

use rustix::io;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior, setrlimit,
};

/// Has the kernel write no core dump of this process, to a file or to a program that collects them, and let no other
/// process of the same user read its memory. It holds for the process's whole life, and for no program that it starts.
///
/// # Errors
/// The kernel refused. `signet doctor` says so too.
pub(crate) fn keep_private() -> io::Result<()> {
    // The limit alone is not heeded when dumps are piped to a program (`core(5)`).
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
}

/// How large a core dump of this process may be: `Some(0)`, none; `None`, of any size.
pub(crate) fn core_size() -> Option<u64> {
    match dumpable_behavior() {
        Ok(DumpableBehavior::NotDumpable) => Some(0),
        Ok(_) | Err(_) => getrlimit(Resource::Core).current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_core_dump_is_written_of_a_process_that_keeps_its_memory_private() {
        keep_private().unwrap();
        assert_eq!(core_size(), Some(0));
        assert_eq!(getrlimit(Resource::Core), Rlimit { current: Some(0), maximum: Some(0) });
    }
}
