//! Backups in a folder.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// A folder, perhaps on another machine's disk.
#[derive(Debug, Clone)]
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    /// Makes it if it is not there.
    pub(super) fn prepare(&self) -> Result<(), String> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.map_err(|cause| self.failed("make", &cause))
    }

    /// Gives the file at `spool`, which is in this folder, its name for good.
    pub(super) fn put(&self, spool: &Path, name: &str) -> Result<(), String> {
        fs::rename(spool, self.0.join(name))
            .and_then(|()| File::open(&self.0)?.sync_all())
            .map_err(|cause| self.failed("write to", &cause))
    }

    pub(super) fn list(&self) -> Result<Vec<String>, String> {
        let items = fs::read_dir(&self.0).map_err(|cause| self.failed("read", &cause))?;
        Ok(items.filter_map(|item| item.ok()?.file_name().into_string().ok()).collect())
    }

    pub(super) fn delete(&self, name: &str) -> Result<(), String> {
        fs::remove_file(self.0.join(name))
            .map_err(|cause| format!("cannot remove {}: {cause}", self.0.join(name).display()))
    }

    fn failed(&self, action: &str, cause: &io::Error) -> String {
        format!(
            "cannot {action} the folder {}: {cause}; check the path, its permissions and its space",
            self.0.display()
        )
    }
}
