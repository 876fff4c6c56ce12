//! Snapshots on their way between nodes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::proto::{SnapshotPart, snapshot_part::Part};
use crate::blocking::blocking;
use crate::encoding::versioned;
use crate::state::{Partial, SnapshotDir, SnapshotFile, finish};

/// A snapshot's files, in the manifest's order and in pieces, without the first bytes of each that the receiver has.
pub(crate) fn pieces(snapshot: Arc<SnapshotDir>, have: Vec<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let state = (snapshot, have, 0_usize, None::<File>);
    futures::stream::unfold(Some(state), |state| async move {
        let (snapshot, have, mut next, mut open) = state?;
        loop {
            if open.is_none() {
                let file = snapshot.manifest.files.get(next)?;
                let from = have.get(next).copied().unwrap_or(0);
                let path = snapshot.file(&file.name);
                next += 1;
                if from >= file.len {
                    continue;
                }
                match blocking(move || open_at(path, from)).await {
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
                Ok((file, piece)) => return Some((Ok(piece.into()), Some((snapshot, have, next, Some(file))))),
                Err(cause) => return Some((Err(cause), None)),
            }
        }
    })
}

fn open_at(path: PathBuf, from: u64) -> io::Result<File> {
    let mut file = File::open(path)?;
    file.seek(io::SeekFrom::Start(from))?;
    Ok(file)
}

/// Writes what comes in behind what is there, holding each file against its hash. Whatever happens, what has arrived
/// stays. Ends when `over` is cancelled.
pub(crate) async fn receive(
    partial: &Partial,
    have: &[u64],
    parts: &mut (impl Stream<Item = Result<SnapshotPart, Status>> + Unpin),
    over: &CancellationToken,
) -> Result<(), Status> {
    let mut left = Bytes::new();
    for (file, have) in partial.manifest.files.iter().zip(have) {
        if partial.is_whole(file) {
            continue;
        }
        let (path, have) = (partial.arriving(file), *have);
        let (mut out, mut context) = blocking(move || go_on(path, have)).await.map_err(|cause| failed(&cause))?;
        let mut missing = file.len - have;
        while missing > 0 {
            if left.is_empty() {
                left = next_data(parts, over).await?;
                continue;
            }
            let len = left.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
            let piece = left.split_to(len);
            context.update(&piece);
            let write = move || out.write_all(&piece).map(|()| out);
            out = blocking(write).await.map_err(|cause| failed(&cause))?;
            missing -= len as u64;
        }
        blocking(move || out.sync_all()).await.map_err(|cause| failed(&cause))?;
        accept(partial, file, context)?;
    }
    Ok(())
}

/// The file to write on, and the hash of what is there. Not buffered, so that what was written stays when this ends.
fn go_on(path: PathBuf, have: u64) -> io::Result<(File, Context)> {
    let mut context = Context::new(&SHA256);
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    let mut buffer = vec![0; PIECE];
    let mut known = 0;
    loop {
        match file.read(&mut buffer)? {
            0 if known == have => return Ok((file, context)),
            0 => return Err(io::Error::other("a file that is arriving was changed meanwhile")),
            len => {
                context.update(buffer.get(..len).unwrap_or_default());
                known += len as u64;
            }
        }
    }
}

fn accept(partial: &Partial, file: &SnapshotFile, context: Context) -> Result<(), Status> {
    if finish(context).map_err(|cause| failed(&cause))? != file.hash {
        // From the beginning the next time: nobody knows which part is wrong.
        fs::remove_file(partial.arriving(file)).map_err(|cause| failed(&cause))?;
        return Err(Status::data_loss(format!("{} arrived damaged", file.name)));
    }
    partial.accept(file).map_err(|cause| failed(&cause))
}

/// The first message of a transfer, or what it must have been.
pub(crate) fn manifest_bytes(snapshot: &SnapshotDir) -> Bytes {
    versioned(&snapshot.manifest).into()
}

async fn next_data(
    parts: &mut (impl Stream<Item = Result<SnapshotPart, Status>> + Unpin),
    over: &CancellationToken,
) -> Result<Bytes, Status> {
    let next = tokio::select! {
        next = parts.next() => next,
        () = over.cancelled() => return Err(Status::aborted("another transfer has begun")),
    };
    match next {
        Some(Ok(SnapshotPart { part: Some(Part::Data(data)) })) => Ok(data),
        Some(Ok(_)) => Err(Status::invalid_argument("expected data")),
        Some(Err(status)) => Err(status),
        None => Err(Status::data_loss("the snapshot ended early")),
    }
}

fn failed(cause: &io::Error) -> Status {
    Status::internal(format!("cannot store the snapshot: {cause}"))
}

const PIECE: usize = 256 << 10;
