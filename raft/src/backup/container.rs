//! The form of a backup: head, files, trailer.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256, digest};

use super::error::SnapshotError;
use super::manifest::BackupManifest;
use crate::encoding::{EncodingError, unversioned, versioned};
use crate::state::{STATE_VERSION, finish};

/// The head of a backup with this manifest.
pub(super) fn head(manifest: &BackupManifest) -> io::Result<Vec<u8>> {
    let form = versioned(manifest);
    let len = u32::try_from(form.len()).map_err(io::Error::other)?;
    let mut head = Vec::with_capacity(form.len() + HEAD_LEN + HASH_LEN);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&len.to_be_bytes());
    head.extend_from_slice(&form);
    let hash = digest(&SHA256, &head);
    head.extend_from_slice(hash.as_ref());
    Ok(head)
}

/// The end of a backup, whose bytes so far went into `context`.
pub(super) fn trailer(context: Context) -> io::Result<Vec<u8>> {
    let mut trailer = END_MAGIC.to_vec();
    trailer.extend_from_slice(&finish(context)?);
    Ok(trailer)
}

/// How long the whole file is.
pub(super) fn whole_len(head: u64, manifest: &BackupManifest) -> u64 {
    head + manifest.files_len() + (END_MAGIC.len() + HASH_LEN) as u64
}

/// Reads a backup from front to end.
pub(super) struct Reader {
    path: PathBuf,
    input: BufReader<File>,
    whole: Context,
    offset: u64,
    manifest: BackupManifest,
    size: u64,
}

impl Reader {
    /// Opens the file and reads its head.
    pub(super) fn open(path: &Path) -> Result<Self, SnapshotError> {
        let failed = |cause| SnapshotError::File { action: "read", path: path.to_owned(), cause };
        let damaged = |offset, detail: &str| SnapshotError::Damaged {
            path: path.to_owned(),
            offset,
            detail: format!("{detail}; use another copy of it"),
        };
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut input = BufReader::with_capacity(CHUNK, file);
        let mut head = vec![0; HEAD_LEN];
        input.read_exact(&mut head).map_err(|_| damaged(0, "it is shorter than any snapshot"))?;
        let (magic, len) = head.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(damaged(0, "it is no snapshot of Signet: its first bytes are not `signetb1`"));
        }
        let len = len.try_into().map(u32::from_be_bytes).unwrap_or(u32::MAX);
        if len > MAX_MANIFEST || u64::from(len) > size {
            return Err(damaged(MAGIC.len() as u64, "the length of its manifest cannot be"));
        }
        let mut form = vec![0; len as usize];
        let mut hash = [0; HASH_LEN];
        input.read_exact(&mut form).map_err(|_| damaged(HEAD_LEN as u64, "it ends within its manifest"))?;
        head.extend_from_slice(&form);
        let at = head.len() as u64;
        input.read_exact(&mut hash).map_err(|_| damaged(at, "it ends within its manifest"))?;
        if digest(&SHA256, &head).as_ref() != hash {
            return Err(damaged(HEAD_LEN as u64, "its manifest is damaged: the hash does not match"));
        }
        let manifest = decode(path, &form)?;
        head.extend_from_slice(&hash);
        let expected = whole_len(head.len() as u64, &manifest);
        if size != expected {
            let detail = format!("it has {size} bytes and should have {expected}: it was cut off or added to");
            return Err(damaged(size.min(expected), &detail));
        }
        let mut whole = Context::new(&SHA256);
        whole.update(&head);
        Ok(Self { path: path.to_owned(), input, whole, offset: head.len() as u64, manifest, size })
    }

    /// What its head says.
    pub(super) fn manifest(&self) -> &BackupManifest {
        &self.manifest
    }

    /// The length of the file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Reads everything and checks every hash. Each piece of a file is given to `take`, with the file's place in the
    /// manifest; an empty piece is its end.
    pub(super) fn read(
        mut self,
        mut take: impl FnMut(usize, &[u8]) -> Result<(), SnapshotError>,
    ) -> Result<BackupManifest, SnapshotError> {
        let mut buffer = vec![0; CHUNK];
        let files = self.manifest.files.clone();
        for (nth, file) in files.iter().enumerate() {
            let (start, mut left) = (self.offset, file.len);
            let mut context = Context::new(&SHA256);
            while left > 0 {
                let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
                let piece = buffer.get_mut(..want).unwrap_or_default();
                self.input.read_exact(piece).map_err(|cause| self.unreadable(cause))?;
                context.update(piece);
                self.whole.update(piece);
                take(nth, piece)?;
                left -= want as u64;
                self.offset += want as u64;
            }
            if !finish(context).is_ok_and(|hash| hash == file.hash) {
                return Err(self.damaged(start, &format!("its file {} is damaged: the hash does not match", file.name)));
            }
            take(nth, &[])?;
        }
        let mut end = vec![0; END_MAGIC.len() + HASH_LEN];
        self.input.read_exact(&mut end).map_err(|cause| self.unreadable(cause))?;
        let (magic, hash) = end.split_at(END_MAGIC.len());
        let whole = std::mem::replace(&mut self.whole, Context::new(&SHA256));
        if magic != END_MAGIC || !finish(whole).is_ok_and(|whole| whole == hash) {
            return Err(self.damaged(self.offset, "its end is damaged: the hash of the whole does not match"));
        }
        Ok(self.manifest)
    }

    fn unreadable(&self, cause: io::Error) -> SnapshotError {
        SnapshotError::File { action: "read", path: self.path.clone(), cause }
    }

    fn damaged(&self, offset: u64, detail: &str) -> SnapshotError {
        let detail = format!("{detail}; use another copy of it");
        SnapshotError::Damaged { path: self.path.clone(), offset, detail }
    }
}

fn decode(path: &Path, form: &[u8]) -> Result<BackupManifest, SnapshotError> {
    let too_new = |detail: String| SnapshotError::TooNew { path: path.to_owned(), detail };
    let manifest: BackupManifest = unversioned(form).map_err(|cause| match cause {
        EncodingError::Version(_) => too_new(cause.to_string()),
        EncodingError::Form(_) | EncodingError::Empty | EncodingError::Membership(_) => SnapshotError::Damaged {
            path: path.to_owned(),
            offset: HEAD_LEN as u64,
            detail: format!("its manifest cannot be read ({cause}); use another copy of it"),
        },
    })?;
    if manifest.min_reader > STATE_VERSION {
        let detail = format!(
            "it needs state version {}, this program reads {STATE_VERSION}; use Signet {} or newer",
            manifest.min_reader, manifest.program
        );
        return Err(too_new(detail));
    }
    for file in &manifest.files {
        if file.name.is_empty() || file.name.starts_with('.') || file.name.contains('/') {
            let detail = format!("{:?} is no name of a file in a snapshot; do not use it", file.name);
            return Err(SnapshotError::Damaged { path: path.to_owned(), offset: HEAD_LEN as u64, detail });
        }
    }
    Ok(manifest)
}

const MAGIC: &[u8] = b"signetb1";
const END_MAGIC: &[u8] = b"signetbe";
/// Magic and length.
const HEAD_LEN: usize = 12;
const HASH_LEN: usize = 32;
/// A manifest names some hundreds of files.
const MAX_MANIFEST: u32 = 16 << 20;
/// Read and sent at a time.
pub(super) const CHUNK: usize = 256 << 10;
