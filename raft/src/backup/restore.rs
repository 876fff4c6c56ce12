//! A new cluster from a backup.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use signet_model::time::UnixTime;

use super::container::Reader;
use super::error::SnapshotError;
use super::manifest::{LineageKind, SnapshotInfo};
use super::open::{open_unpacked, unpack};
use crate::recover::{NewCluster, found_anew};
use crate::view::View;

/// A cluster of one that was made from a snapshot file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the file held.
    pub from: SnapshotInfo,
    /// The new cluster, 32 hexadecimal digits.
    pub cluster_id: String,
    /// Its only member; never the id of a node of the old cluster.
    pub node_id: u64,
    /// Where its log begins.
    pub index: u64,
    /// How many join tokens could still have been used, and cannot any more.
    pub voided_join_tokens: u64,
    /// Cluster time, which goes on from where it stood.
    pub cluster_time: UnixTime,
}

/// Makes a new cluster of one node in the new or empty directory `data_dir` from the snapshot file. Every hash is checked,
/// and `judge` sees the whole state, before the directory becomes a node.
///
/// # Errors
/// See [`SnapshotError`]; each says what to do. What was begun is removed again.
pub async fn restore_snapshot(
    path: &Path,
    data_dir: &Path,
    judge: impl FnOnce(&View) -> Result<(), String>,
) -> Result<Restored, SnapshotError> {
    let reader = Reader::open(path)?;
    claim(data_dir)?;
    let restored = restore(path, reader, data_dir, judge).await;
    if restored.is_err() {
        // Nothing but what was just put there.
        let _ = clear(data_dir);
    }
    restored
}

async fn restore(
    path: &Path,
    reader: Reader,
    data_dir: &Path,
    judge: impl FnOnce(&View) -> Result<(), String>,
) -> Result<Restored, SnapshotError> {
    let size = reader.size();
    let state = data_dir.join("state");
    let manifest = unpack(reader, &state)?;
    {
        let (_, view) = open_unpacked(path, &manifest, &state)?;
        judge(&view).map_err(|detail| SnapshotError::Contents { path: path.to_owned(), detail })?;
    }
    let made = found_anew(data_dir, LineageKind::Restored).await;
    let NewCluster { cluster_id, node_id, index, voided_join_tokens, cluster_time } =
        made.map_err(|detail| SnapshotError::NotWritten { path: data_dir.to_owned(), detail })?;
    Ok(Restored { from: manifest.info(size), cluster_id, node_id, index, voided_join_tokens, cluster_time })
}

/// Makes the directory, or sees to it that it is empty and ours.
fn claim(data_dir: &Path) -> Result<(), SnapshotError> {
    let failed = |action, cause| SnapshotError::File { action, path: data_dir.to_owned(), cause };
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(|cause| failed("make", cause))?;
    check_owner(data_dir)?;
    match fs::read_dir(data_dir).map_err(|cause| failed("read", cause))?.next() {
        None => Ok(()),
        Some(_) => Err(SnapshotError::NotEmpty { path: data_dir.to_owned() }),
    }
}

/// Files that the server cannot read would be found out at its next start only.
pub(crate) fn check_owner(data_dir: &Path) -> Result<(), SnapshotError> {
    let meta = fs::metadata(data_dir).map_err(|cause| SnapshotError::File {
        action: "look at",
        path: data_dir.to_owned(),
        cause,
    })?;
    let here = rustix::process::geteuid().as_raw();
    if meta.uid() == here {
        return Ok(());
    }
    Err(SnapshotError::OtherUser { path: data_dir.to_owned(), owner: meta.uid(), here })
}

fn clear(dir: &Path) -> io::Result<()> {
    for item in fs::read_dir(dir)? {
        let item = item?;
        if item.file_type()?.is_dir() {
            fs::remove_dir_all(item.path())?
        } else {
            fs::remove_file(item.path())?
        };
    }
    Ok(())
}
