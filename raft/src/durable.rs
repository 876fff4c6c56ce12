//! Small files that are replaced whole: written aside, fsynced, renamed, and their directory fsynced. A checksum tells a
//! torn or rotten file from a good one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};

/// Replaces `path` by `payload`. When this returns, it survives a power cut.
pub(crate) fn replace(path: &Path, payload: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(MAGIC)?;
    file.write_all(checksum(payload).as_slice())?;
    file.write_all(payload)?;
    sync(&file, "file")?;
    drop(file);
    note("rename");
    fs::rename(&aside, path)?;
    sync_parent(path)
}

/// Reads what [`replace`] wrote; `None` if there is no such file.
///
/// # Errors
/// `InvalidData` when the file is damaged.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause),
    };
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the checksum does not match: the file is damaged");
    let body = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let (sum, payload) = body.split_at_checked(CHECKSUM_LEN).ok_or_else(damaged)?;
    if sum != checksum(payload).as_slice() {
        return Err(damaged());
    }
    Ok(Some(payload.to_vec()))
}

/// Makes the names in `path`'s directory survive a power cut.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes the names in `dir` survive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    sync(&File::open(dir)?, "directory")
}

fn sync(file: &File, what: &'static str) -> io::Result<()> {
    note(what);
    file.sync_all()
}

/// No test can cut the power, so one looks at the steps.
#[cfg(test)]
fn note(step: &'static str) {
    STEPS.with_borrow_mut(|steps| steps.push(step));
}

#[cfg(not(test))]
const fn note(_step: &'static str) {}

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::RefCell<Vec<&'static str>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn checksum(payload: &[u8]) -> Vec<u8> {
    digest(&SHA256, payload).as_ref().iter().copied().take(CHECKSUM_LEN).collect()
}

const MAGIC: &[u8] = b"signet1\n";
const CHECKSUM_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vote");
        assert_eq!(read(&path).unwrap(), None);
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"two");
    }

    #[test]
    fn a_file_is_on_disk_before_it_takes_the_place_of_the_old_one_and_the_place_is_on_disk_after() {
        let dir = tempfile::tempdir().unwrap();
        STEPS.take();
        replace(&dir.path().join("vote"), b"one").unwrap();
        assert_eq!(STEPS.take(), ["file", "rename", "directory"]);
    }

    #[test]
    fn refuses_a_file_with_any_byte_changed_or_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vote");
        replace(&path, b"payload").unwrap();
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(read(&path).is_err(), "byte {at} changed");
            fs::write(&path, &good[..at]).unwrap();
            assert!(read(&path).is_err(), "cut at {at}");
        }
    }
}
