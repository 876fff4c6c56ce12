//! Looking into a backup while no node runs.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::container::Reader;
use super::error::SnapshotError;
use super::manifest::{BackupManifest, SnapshotInfo};
use crate::durable;
use crate::state::{Generation, StateRows, ViewInner};
use crate::view::View;

/// What the head of the snapshot file says. Reads only that.
///
/// # Errors
/// See [`SnapshotError`]; each says what to do.
pub fn inspect_snapshot(path: &Path) -> Result<SnapshotInfo, SnapshotError> {
    let reader = Reader::open(path)?;
    Ok(reader.manifest().info(reader.size()))
}

/// Reads the snapshot file from front to end and checks every hash.
///
/// # Errors
/// See [`SnapshotError`]; each says what to do.
pub fn check_snapshot(path: &Path) -> Result<SnapshotInfo, SnapshotError> {
    let reader = Reader::open(path)?;
    let size = reader.size();
    Ok(reader.read(|_, _| Ok(()))?.info(size))
}

/// A snapshot file, unpacked and opened. Its scratch directory goes with it.
#[derive(Debug)]
pub struct OpenedSnapshot {
    /// What its head says.
    pub info: SnapshotInfo,
    /// Join tokens that could still be used, and those that were.
    pub join_tokens: (u64, u64),
    // Dropped in this order: the database is closed before its directory goes.
    view: View,
    _scratch: ScratchDir,
}

impl OpenedSnapshot {
    /// The state that is in it.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }
}

/// Checks every hash of the snapshot file, unpacks it below `scratch`, opens it, and reads the rows of this room.
///
/// # Errors
/// See [`SnapshotError`]; each says what to do.
pub fn open_snapshot(path: &Path, scratch: &Path) -> Result<OpenedSnapshot, SnapshotError> {
    let scratch = ScratchDir::new(scratch)?;
    let reader = Reader::open(path)?;
    let size = reader.size();
    let manifest = unpack(reader, &scratch.0)?;
    let (rows, view) = open_unpacked(path, &manifest, &scratch.0)?;
    Ok(OpenedSnapshot { info: manifest.info(size), join_tokens: rows.tokens, view, _scratch: scratch })
}

/// Unpacks a backup into `root` as its first generation.
pub(super) fn unpack(reader: Reader, root: &Path) -> Result<BackupManifest, SnapshotError> {
    let dir = root.join(GENERATION.to_string());
    let failed = |path: &Path, cause| SnapshotError::File { action: "write", path: path.to_owned(), cause };
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|cause| failed(&dir, cause))?;
    let names: Vec<PathBuf> = reader.manifest().files.iter().map(|file| dir.join(&file.name)).collect();
    let mut open: Option<File> = None;
    let manifest = reader.read(|nth, piece| {
        let Some(path) = names.get(nth) else { return Ok(()) };
        let written = match &mut open {
            Some(file) => write(file, piece),
            None => create(path).and_then(|mut file| {
                write(&mut file, piece)?;
                open = Some(file);
                Ok(())
            }),
        };
        if piece.is_empty() {
            open = None;
        }
        written.map_err(|cause| failed(path, cause))
    })?;
    durable::sync_dir(&dir).map_err(|cause| failed(&dir, cause))?;
    Ok(manifest)
}

/// Opens what [`unpack`] made and holds it against its manifest.
pub(super) fn open_unpacked(
    path: &Path,
    manifest: &BackupManifest,
    root: &Path,
) -> Result<(StateRows, View), SnapshotError> {
    let contents = |detail: String| SnapshotError::Contents {
        path: path.to_owned(),
        detail: format!("{detail}; use another copy of it, or another snapshot"),
    };
    let generation = Generation::open(root, GENERATION).map_err(|cause| contents(cause.to_string()))?;
    let generation = Arc::new(generation);
    let rows = StateRows::read(&generation.db).map_err(|cause| contents(cause.to_string()))?;
    if let Some(contradiction) = manifest.contradiction(&rows) {
        return Err(contents(contradiction));
    }
    let end = manifest.last_log_id.index + 1;
    let view = View::new(Arc::new(ViewInner::new(generation, end, manifest.cluster_time)));
    Ok((rows, view))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Writes a piece; the empty one is the end.
fn write(file: &mut File, piece: &[u8]) -> io::Result<()> {
    if piece.is_empty() { file.sync_all() } else { file.write_all(piece) }
}

/// A directory of this process's own that goes with its user.
#[derive(Debug)]
struct ScratchDir(PathBuf);

impl ScratchDir {
    fn new(below: &Path) -> Result<Self, SnapshotError> {
        let failed = |cause| SnapshotError::File { action: "make a directory in", path: below.to_owned(), cause };
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(|cause| failed(io::Error::other(cause)))?;
        let path = below.join(format!("signet-snapshot-{:016x}", u64::from_be_bytes(random)));
        DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        Ok(Self(path))
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The number that the state of an unpacked backup has.
pub(super) const GENERATION: u64 = 1;
