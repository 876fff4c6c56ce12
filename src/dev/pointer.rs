//! Where the demo cluster without a `--data` of its own is: one small file for each user.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::process::getuid;

use crate::cli::{Failure, write_secret};

/// Remembers `folder` until it is dropped.
#[derive(Debug)]
pub(super) struct Pointer {
    folder: PathBuf,
}

impl Pointer {
    /// Writes the pointer.
    ///
    /// # Errors
    /// It could not be written.
    pub(super) fn set(folder: &Path) -> Result<Self, Failure> {
        let file = file();
        if let Some(parent) = file.parent() {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(parent);
            made.map_err(|cause| Failure::file("make", parent, cause))?;
        }
        write_secret(&file, folder.display().to_string().as_bytes())?;
        Ok(Self { folder: folder.to_path_buf() })
    }
}

impl Drop for Pointer {
    fn drop(&mut self) {
        // Another cluster may have taken it over.
        if current().is_ok_and(|folder| folder == self.folder) {
            let _ = fs::remove_file(file());
        }
    }
}

/// The folder of the demo cluster to use: what the caller names, else where the pointer shows.
///
/// # Errors
/// The caller names none and no demo cluster runs.
pub(crate) fn find(named: Option<&Path>) -> Result<PathBuf, Failure> {
    match named {
        Some(folder) => Ok(folder.to_path_buf()),
        None => current(),
    }
}

fn current() -> Result<PathBuf, Failure> {
    let file = file();
    let missing = || {
        Failure::new(
            "not_running",
            "no demo cluster of yours runs without a folder of its own: start signet dev, or name the folder of one \
             with --data DIR or SIGNET_DEV_DIR",
        )
    };
    let metadata = fs::symlink_metadata(&file).map_err(|_| missing())?;
    if !metadata.is_file() || metadata.uid() != getuid().as_raw() {
        return Err(Failure::file("trust", &file, "it is not a file of yours; remove it"));
    }
    let text = fs::read_to_string(&file).map_err(|cause| Failure::file("read", &file, cause))?;
    Ok(PathBuf::from(text.trim()))
}

fn file() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| Path::new(dir).is_dir()) {
        Some(dir) => Path::new(&dir).join("signet/dev"),
        None => std::env::temp_dir().join(format!("signet-dev-of-{}", getuid().as_raw())),
    }
}
