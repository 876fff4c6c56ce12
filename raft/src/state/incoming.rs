//! Snapshots on their way in. What has arrived outlives a broken connection and a restart: the next transfer of the same
//! snapshot goes on where this one stopped, and one of a newer snapshot takes over the files that are the same.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use super::snapshot::{MANIFEST, Manifest, SnapshotDir, SnapshotFile};
use crate::durable;
use crate::encoding::{unversioned, versioned};

/// Lets one transfer at a time write: the newest, since the one before it may hang on a dead connection.
#[derive(Default)]
pub(crate) struct Incoming {
    gate: Arc<tokio::sync::Mutex<()>>,
    current: Mutex<CancellationToken>,
}

/// The right to write what arrives.
pub(crate) struct Turn {
    _gate: OwnedMutexGuard<()>,
    /// Cancelled when another transfer wants the turn.
    pub(crate) over: CancellationToken,
}

impl Incoming {
    /// Ends the transfer before and takes its place.
    pub(crate) async fn turn(&self) -> Turn {
        let over = CancellationToken::new();
        let before = std::mem::replace(&mut *self.current.lock().unwrap_or_else(PoisonError::into_inner), over.clone());
        before.cancel();
        Turn { _gate: Arc::clone(&self.gate).lock_owned().await, over }
    }

    /// Removes what arrived and will not be asked for again, unless a transfer goes on.
    pub(crate) fn clear(&self, root: &Path) {
        if let Ok(_turn) = self.gate.try_lock() {
            for path in partial_dirs(root).unwrap_or_default() {
                let _ = fs::remove_dir_all(path);
            }
        }
    }
}

/// The directory of a snapshot that is not whole yet. A file bears its name only when its hash was found right.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    pub(crate) manifest: Manifest,
}

impl Partial {
    /// The directory under `root` for the snapshot with this manifest, with what is there of it.
    pub(crate) fn open(root: &Path, manifest: Manifest) -> io::Result<Self> {
        let bytes = versioned(&manifest);
        let hash = digest(&SHA256, &bytes);
        let name: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let partial = Self { path: root.join(format!("{name}.{PARTIAL}")), manifest };
        if !partial.path.is_dir() {
            fs::create_dir_all(&partial.path)?;
            durable::replace(&partial.path.join(MANIFEST), &bytes)?;
        }
        for other in partial_dirs(root)?.into_iter().filter(|path| *path != partial.path) {
            partial.take_over(&other)?;
            fs::remove_dir_all(other)?;
        }
        Ok(partial)
    }

    /// How many of the first bytes of each file are there.
    pub(crate) fn have(&self) -> io::Result<Vec<u64>> {
        self.manifest.files.iter().map(|file| self.have_of(file)).collect()
    }

    /// Where a file is written until it is whole.
    pub(crate) fn arriving(&self, file: &SnapshotFile) -> PathBuf {
        self.path.join(format!("{}.{PARTIAL}", file.name))
    }

    /// Whether a file is whole and was found right.
    pub(crate) fn is_whole(&self, file: &SnapshotFile) -> bool {
        self.path.join(&file.name).exists()
    }

    /// A file is whole, on disk, and its hash is right.
    pub(crate) fn accept(&self, file: &SnapshotFile) -> io::Result<()> {
        fs::rename(self.arriving(file), self.path.join(&file.name))?;
        durable::sync_dir(&self.path)
    }

    /// Throws away what is there.
    pub(crate) fn restart(&self) -> io::Result<()> {
        for file in &self.manifest.files {
            for path in [self.path.join(&file.name), self.arriving(file)] {
                match fs::remove_file(path) {
                    Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
                    Ok(()) | Err(_) => {}
                }
            }
        }
        Ok(())
    }

    /// The whole snapshot, in a directory that no later transfer touches.
    pub(crate) fn finish(self, scratch: PathBuf) -> io::Result<SnapshotDir> {
        fs::rename(&self.path, &scratch)?;
        Ok(SnapshotDir::passing(scratch, self.manifest))
    }

    fn have_of(&self, file: &SnapshotFile) -> io::Result<u64> {
        if self.is_whole(file) {
            return Ok(file.len);
        }
        match fs::metadata(self.arriving(file)) {
            Ok(found) if found.len() <= file.len => Ok(found.len()),
            Ok(_) => fs::remove_file(self.arriving(file)).map(|()| 0),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(cause) => Err(cause),
        }
    }

    /// Takes the files from `other` that were found right there and are the same here.
    fn take_over(&self, other: &Path) -> io::Result<()> {
        let Ok(Some(bytes)) = durable::read(&other.join(MANIFEST)) else { return Ok(()) };
        let Ok(theirs) = unversioned::<Manifest>(&bytes) else { return Ok(()) };
        let theirs = Self { path: other.to_owned(), manifest: theirs };
        for file in self.manifest.files.iter().filter(|file| !self.is_whole(file)) {
            let same = |it: &&SnapshotFile| (it.len, it.hash) == (file.len, file.hash) && theirs.is_whole(it);
            if let Some(found) = theirs.manifest.files.iter().find(same) {
                fs::rename(other.join(&found.name), self.path.join(&file.name))?;
            }
        }
        durable::sync_dir(&self.path)
    }
}

fn partial_dirs(root: &Path) -> io::Result<Vec<PathBuf>> {
    let paths: io::Result<Vec<_>> = fs::read_dir(root)?.map(|item| Ok(item?.path())).collect();
    Ok(paths?.into_iter().filter(|path| is_partial(path)).collect())
}

/// Whether `path` is a snapshot that is not whole yet.
pub(crate) fn is_partial(path: &Path) -> bool {
    path.extension().map(OsString::from).is_some_and(|extension| extension == PARTIAL)
}

/// What the names of incomplete directories and files end with.
pub(crate) const PARTIAL: &str = "part";
