//! A file that is there to be deleted: on a disk without any room it makes some, enough to start and to take the
//! cluster's entries, until the operator has found what filled it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};

/// The ballast file of a data directory.
#[derive(Debug)]
pub(crate) struct Ballast {
    path: PathBuf,
}

impl Ballast {
    /// `DATA_DIR/ballast`
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self { path: data_dir.join("ballast") }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What it really takes on the disk; 0 if it is not there.
    pub(crate) fn size(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |it| it.blocks() * BLOCK)
    }

    /// Brings it to `wanted` bytes, but makes it larger only if `ample` bytes stay free, of the `free` there are.
    ///
    /// # Errors
    /// The file system refused, for example because it cannot set space aside.
    pub(crate) fn keep(&self, wanted: u64, free: u64, ample: u64) -> io::Result<()> {
        let there = fs::metadata(&self.path).map_or(0, |it| it.len());
        if there > wanted {
            return if wanted == 0 { self.release().map(drop) } else { self.open()?.set_len(wanted) };
        }
        if there == wanted || free.saturating_sub(wanted - there) < ample || !self.has_folder() {
            return Ok(());
        }
        Ok(fallocate(&self.open()?, FallocateFlags::empty(), 0, wanted)?)
    }

    /// Deletes it and answers how much room that made.
    ///
    /// # Errors
    /// It is there and cannot be deleted.
    pub(crate) fn release(&self) -> io::Result<u64> {
        let size = self.size();
        match fs::remove_file(&self.path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
            Ok(()) | Err(_) => Ok(size),
        }
    }

    fn has_folder(&self) -> bool {
        self.path.parent().is_some_and(Path::is_dir)
    }

    fn open(&self) -> io::Result<fs::File> {
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.path)
    }
}

/// `st_blocks` counts these, whatever the file system's own blocks are.
const BLOCK: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_really_allocated_follows_its_setting_and_waits_for_room() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::of(dir.path());
        let (mib, ample) = (1 << 20, 10 << 20);
        ballast.keep(4 * mib, 13 * mib, ample).unwrap();
        assert_eq!(ballast.size(), 0, "it took room that was needed");
        ballast.keep(4 * mib, 14 * mib, ample).unwrap();
        assert_eq!(ballast.size(), 4 * mib);
        // The rest is there already: only what is added must leave enough.
        ballast.keep(6 * mib, 12 * mib, ample).unwrap();
        assert_eq!(ballast.size(), 6 * mib);
        ballast.keep(2 * mib, 0, ample).unwrap();
        assert_eq!(ballast.size(), 2 * mib);
        assert_eq!(ballast.release().unwrap(), 2 * mib);
        assert_eq!(ballast.release().unwrap(), 0);
        ballast.keep(2 * mib, 100 * mib, ample).unwrap();
        ballast.keep(0, 100 * mib, ample).unwrap();
        assert!(!ballast.path().exists());
    }
}
