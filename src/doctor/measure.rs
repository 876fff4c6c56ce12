//! Measuring this machine, within bounds: nothing here takes longer than a second or two.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use crate::clock;

/// How long small writes take until they are on disk, in a scratch file that is removed again.
///
/// # Errors
/// The directory cannot be written to.
pub(super) fn flushes(dir: &Path) -> io::Result<Vec<Duration>> {
    let path = dir.join(format!(".doctor-{}", std::process::id()));
    let result = write_and_flush(&path);
    // It was not made, or it goes with the next look.
    let _ = fs::remove_file(&path);
    result
}

fn write_and_flush(path: &Path) -> io::Result<Vec<Duration>> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let began = clock::boottime();
    let mut took = Vec::with_capacity(WRITES);
    while took.len() < WRITES && clock::boottime().saturating_sub(began) < LONGEST {
        let before = clock::boottime();
        file.write_all(&[0x5a; WRITE_BYTES])?;
        file.sync_data()?;
        took.push(clock::boottime().saturating_sub(before));
    }
    Ok(took)
}

/// How many files this process may have open; `None`: any number.
pub(super) fn open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Where memory may be written to; `None` where the kernel does not say.
pub(super) fn swap_areas() -> Option<Vec<String>> {
    let text = fs::read_to_string("/proc/swaps").ok()?;
    Some(text.lines().skip(1).filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect())
}

/// Whether the kernel believes that its clock is kept in step; `None` where it does not say.
#[expect(unsafe_code, reason = "libc has no safe way to ask, and asking (modes 0) changes nothing")]
pub(super) fn clock_in_step() -> Option<bool> {
    // SAFETY: all fields are numbers, for which zero is a value; the kernel only writes into it.
    let mut asked: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: it lives for the whole call and is nobody else's.
    let state = unsafe { libc::adjtimex(&raw mut asked) };
    (state >= 0).then_some(state != libc::TIME_ERROR && asked.status & libc::STA_UNSYNC == 0)
}

const WRITES: usize = 200;
/// About a vote with its checksum, or a small group of entries.
const WRITE_BYTES: usize = 4096;
const LONGEST: Duration = Duration::from_millis(1500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_flushes_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let took = flushes(dir.path()).unwrap();
        assert!(!took.is_empty() && took.iter().all(|it| *it > Duration::ZERO), "{took:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(flushes(&dir.path().join("missing")).is_err());
    }
}
