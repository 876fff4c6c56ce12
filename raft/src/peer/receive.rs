//! Snapshots on their way between nodes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tonic::{Status, Streaming};

use super::proto::{SnapshotPart, snapshot_part::Part};
use crate::blocking::blocking;
use crate::encoding::versioned;
use crate::state::{Manifest, SnapshotDir, finish};

/// A snapshot's files, in the manifest's order, in pieces.
pub(crate) fn pieces(snapshot: Arc<SnapshotDir>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let state = (snapshot, 0_usize, None::<File>);
    futures::stream::unfold(Some(state), |state| async move {
        let (snapshot, mut next, mut open) = state?;
        loop {
            if open.is_none() {
                let path = snapshot.file(&snapshot.manifest.files.get(next)?.name);
                next += 1;
                match blocking(|| File::open(path)).await {
                    Ok(file) => open = Some(file),
                    Err(cause) => return Some((Err(cause), None)),
                }
            }
            let mut file = open.take()?;
            let read = move || {
                let mut piece = Vec::with_capacity(PIECE);
                (&mut file).take(PIECE as u64).read_to_end(&mut piece)?;
                Ok((file, piece))
            };
            match blocking(read).await {
                Ok((_, piece)) if piece.is_empty() => {}
                Ok((file, piece)) => return Some((Ok(piece.into()), Some((snapshot, next, Some(file))))),
                Err(cause) => return Some((Err(cause), None)),
            }
        }
    })
}

/// Writes what comes in to `path`, holding each file against its hash.
pub(crate) async fn receive(
    path: &Path,
    manifest: Manifest,
    parts: &mut Streaming<SnapshotPart>,
) -> Result<SnapshotDir, Status> {
    let failed = |cause: io::Error| Status::internal(format!("cannot store the snapshot: {cause}"));
    // From here on the directory goes away with the value, whatever happens.
    let dir = SnapshotDir::passing(path.to_owned(), manifest);
    let made = path.to_owned();
    blocking(|| fs::create_dir_all(made)).await.map_err(failed)?;
    let mut left = Bytes::new();
    for file in &dir.manifest.files {
        let path = dir.file(&file.name);
        let mut out = blocking(|| Ok(BufWriter::new(File::create(path)?))).await.map_err(failed)?;
        let mut context = Context::new(&SHA256);
        let mut missing = file.len;
        while missing > 0 {
            if left.is_empty() {
                left = next_data(parts).await?;
                continue;
            }
            let len = left.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
            let piece = left.split_to(len);
            context.update(&piece);
            let write = move || out.write_all(&piece).map(|()| out);
            out = blocking(write).await.map_err(failed)?;
            missing -= len as u64;
        }
        blocking(|| out.into_inner()?.sync_all()).await.map_err(failed)?;
        if finish(context).map_err(failed)? != file.hash {
            return Err(Status::data_loss(format!("{} arrived damaged", file.name)));
        }
    }
    Ok(dir)
}

/// The first message of a transfer, or what it must have been.
pub(crate) fn manifest_bytes(snapshot: &SnapshotDir) -> Bytes {
    versioned(&snapshot.manifest).into()
}

async fn next_data(parts: &mut Streaming<SnapshotPart>) -> Result<Bytes, Status> {
    match parts.next().await {
        Some(Ok(SnapshotPart { part: Some(Part::Data(data)) })) => Ok(data),
        Some(Ok(_)) => Err(Status::invalid_argument("expected data")),
        Some(Err(status)) => Err(status),
        None => Err(Status::data_loss("the snapshot ended early")),
    }
}

const PIECE: usize = 256 << 10;
