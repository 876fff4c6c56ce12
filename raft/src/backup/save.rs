//! Making a backup from a running node.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use rocksdb::{DB, Options};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::container::{CHUNK, head, trailer, whole_len};
use super::manifest::{BackupManifest, SnapshotInfo};
use crate::encoding::EncodingError;
use crate::state::{STATE_VERSION, SnapshotFile, StateRows, StateStore, hash_file};

/// A snapshot that is being saved.
#[derive(Debug)]
pub struct SavedSnapshot {
    /// What it holds, and how long it will be.
    pub info: SnapshotInfo,
    /// Its bytes, in order. It is whole when the stream has ended without an error and `info.size` bytes have come. A
    /// reader that pauses for a minute loses the rest.
    pub chunks: mpsc::Receiver<io::Result<Bytes>>,
}

/// What a backup says of the node that makes it.
pub(crate) struct Maker {
    pub(crate) node: u64,
    pub(crate) program: String,
    pub(crate) label: String,
    pub(crate) made_at: signet_model::time::UnixTime,
}

/// Takes a checkpoint of the state as it is now, and begins to read it out. To be called where blocking is allowed, and
/// within a runtime.
pub(crate) fn save(store: &Arc<StateStore>, maker: Maker) -> io::Result<SavedSnapshot> {
    let checkpoint = Scratch(store.take_checkpoint()?);
    let files = files(&checkpoint.0)?;
    // What it covers is what its own rows say: entries may have been applied since this was asked for.
    let rows = {
        let db = DB::open_for_read_only(&Options::default(), &checkpoint.0, false).map_err(io::Error::other)?;
        StateRows::read(&db)?
    };
    let damaged = |detail| io::Error::new(io::ErrorKind::InvalidData, detail);
    let last = rows.position.last.ok_or_else(|| damaged("nothing was applied yet"))?;
    let cluster = rows.cluster.as_deref().and_then(|cluster| cluster.try_into().ok());
    let manifest = BackupManifest {
        min_reader: STATE_VERSION,
        cluster: cluster.ok_or_else(|| damaged("the state is not marked as a cluster's"))?,
        node: maker.node,
        last_log_id: (&last).into(),
        membership: (&rows.position.membership).into(),
        cluster_time: rows.position.time,
        made_at: maker.made_at,
        program: maker.program,
        label: maker.label,
        chain: rows.position.chain.map(|chain| chain.0.to_vec()),
        files,
        lineage: rows.lineage,
    };
    let head = head(&manifest)?;
    let info = manifest.info(whole_len(head.len() as u64, &manifest));
    let (sender, chunks) = mpsc::channel(QUEUE);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let send = |chunk| runtime.block_on(timeout(STALL, sender.send(chunk))).is_ok_and(|sent| sent.is_ok());
        if let Err(cause) = read_out(&checkpoint.0, head, &manifest.files, &send) {
            tracing::warn!(%cause, "a snapshot was not saved to the end");
            send(Err(cause));
        }
    });
    Ok(SavedSnapshot { info, chunks })
}

/// Sends everything; stops early when nobody takes it any more.
fn read_out(
    dir: &Path,
    head: Vec<u8>,
    files: &[SnapshotFile],
    send: &impl Fn(io::Result<Bytes>) -> bool,
) -> io::Result<()> {
    let mut whole = Context::new(&SHA256);
    whole.update(&head);
    if !send(Ok(Bytes::from(head))) {
        return Ok(());
    }
    for file in files {
        let mut input = File::open(dir.join(&file.name))?.take(file.len);
        let mut left = file.len;
        while left > 0 {
            let mut piece = Vec::with_capacity(CHUNK);
            input.by_ref().take(CHUNK as u64).read_to_end(&mut piece)?;
            if piece.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} became shorter", file.name)));
            }
            left = left.saturating_sub(piece.len() as u64);
            whole.update(&piece);
            if !send(Ok(Bytes::from(piece))) {
                return Ok(());
            }
        }
    }
    send(Ok(Bytes::from(trailer(whole)?)));
    Ok(())
}

/// The files of a checkpoint, in the order of their names, with their hashes.
fn files(dir: &Path) -> io::Result<Vec<SnapshotFile>> {
    let mut files = Vec::new();
    for item in fs::read_dir(dir)? {
        let item = item?;
        let name = item.file_name().into_string().map_err(|_| io::Error::other("a file name that is no text"))?;
        files.push(SnapshotFile { name, len: item.metadata()?.len(), hash: hash_file(&item.path())? });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

impl From<EncodingError> for super::SaveError {
    fn from(cause: EncodingError) -> Self {
        Self::Checkpoint(cause.into())
    }
}

/// A directory that goes with its user.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(cause) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %cause, "cannot remove a checkpoint; the next start will");
        }
    }
}

/// Chunks that wait for their reader.
const QUEUE: usize = 8;
/// A checkpoint holds disk space: who does not read for so long is left.
const STALL: Duration = Duration::from_secs(60);
