//! The journal's files: one after the other, each named by the position of its first record.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use signet_model::record::IssuanceRecord;
use signet_model::stored::from_bytes;

use super::{JournalError, Waiting, frame};

/// The files, oldest first; the last is written to.
#[derive(Debug)]
pub(super) struct Segments {
    dir: PathBuf,
    /// First positions of all files.
    firsts: VecDeque<u64>,
    file: File,
    size: u64,
    next: u64,
    buffer: Vec<u8>,
}

impl Segments {
    /// Opens the files in `dir` and reads what is not covered by `committed`.
    pub(super) fn open(dir: &Path, committed: u64) -> Result<(Self, VecDeque<Waiting>), JournalError> {
        let fail = |problem: String| JournalError { path: dir.display().to_string(), problem };
        let io = |cause: io::Error| fail(cause.to_string());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        let mut firsts = positions(dir).map_err(io)?;
        let mut waiting = VecDeque::new();
        let mut next = firsts.front().copied().unwrap_or(committed);
        for (nth, first) in firsts.iter().enumerate() {
            if *first != next {
                return Err(fail(format!("records {next} to {first} are missing; restore the file they were in")));
            }
            let is_last = nth + 1 == firsts.len();
            next = read(&path(dir, *first), *first, is_last, committed, &mut waiting).map_err(fail)?;
        }
        if next < committed {
            // The replicated state knows more than this disk: the journal was lost or put back from an old copy. What it
            // held is replicated; go on behind it.
            for first in firsts.drain(..) {
                fs::remove_file(path(dir, first)).map_err(io)?;
            }
            (next, waiting) = (committed, VecDeque::new());
        }
        let first = firsts.back().copied().unwrap_or(next);
        if firsts.is_empty() {
            firsts.push_back(first);
        }
        let file = open_for_append(&path(dir, first)).map_err(io)?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        Ok((Self { dir: dir.to_owned(), firsts, file, size, next, buffer: Vec::new() }, waiting))
    }

    /// The records in `dir` that are not covered by `committed`, without touching the files. None where there is no journal.
    pub(super) fn peek(dir: &Path, committed: u64) -> Result<Vec<Vec<u8>>, JournalError> {
        let fail = |problem: String| JournalError { path: dir.display().to_string(), problem };
        if !dir.exists() {
            return Ok(Vec::new());
        }
        let firsts = positions(dir).map_err(|cause| fail(cause.to_string()))?;
        let mut records = Vec::new();
        for (nth, first) in firsts.iter().enumerate() {
            let path = path(dir, *first);
            let bytes = fs::read(&path).map_err(|cause| fail(format!("{}: {cause}", path.display())))?;
            let (mut rest, mut position) = (bytes.as_slice(), *first);
            loop {
                match frame::next(rest) {
                    frame::Next::Record(record, after) => {
                        if position >= committed {
                            records.push(record.to_vec());
                        }
                        (rest, position) = (after, position + 1);
                    }
                    // A crash left the last one half-written: nobody was answered for it.
                    frame::Next::Damaged if nth + 1 < firsts.len() => {
                        return Err(fail(format!(
                            "{}: record {position} is damaged; restore the file",
                            path.display()
                        )));
                    }
                    frame::Next::End | frame::Next::Damaged => break,
                }
            }
        }
        Ok(records)
    }

    /// The position of the next record.
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Writes records and returns when they are durable.
    pub(super) fn write<'a>(&mut self, records: impl Iterator<Item = &'a [u8]>) -> io::Result<()> {
        if self.size >= SEGMENT_BYTES {
            self.file = open_for_append(&path(&self.dir, self.next))?;
            File::open(&self.dir)?.sync_all()?;
            self.firsts.push_back(self.next);
            self.size = 0;
        }
        self.buffer.clear();
        for record in records {
            frame::put(&mut self.buffer, record);
            self.next += 1;
        }
        self.file.write_all(&self.buffer)?;
        self.file.sync_data()?;
        self.size += self.buffer.len() as u64;
        Ok(())
    }

    /// Removes files whose records are all before `committed`. A file that cannot be removed is tried again later.
    pub(super) fn forget_before(&mut self, committed: u64) {
        while let Some((first, second)) = self.firsts.front().zip(self.firsts.get(1)) {
            if *second > committed || fs::remove_file(path(&self.dir, *first)).is_err() {
                return;
            }
            self.firsts.pop_front();
        }
    }
}

/// Reads one file and returns the position after its last record. The last file may end in a record that was never
/// answered for: that is cut off.
fn read(
    path: &Path,
    first: u64,
    is_last: bool,
    committed: u64,
    waiting: &mut VecDeque<Waiting>,
) -> Result<u64, String> {
    let named = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
    let bytes = fs::read(path).map_err(|cause| named(&cause))?;
    let (mut rest, mut position) = (bytes.as_slice(), first);
    loop {
        match frame::next(rest) {
            frame::Next::Record(record, after) => {
                if position >= committed {
                    let parsed: IssuanceRecord = from_bytes(record).map_err(|cause| named(&cause))?;
                    waiting.push_back(Waiting { record: record.to_vec(), not_after_secs: parsed.not_after.secs() });
                }
                (rest, position) = (after, position + 1);
            }
            frame::Next::End => return Ok(position),
            frame::Next::Damaged if is_last => {
                let whole = (bytes.len() - rest.len()) as u64;
                tracing::warn!(path = %path.display(), at = whole, "cut off an issuance record that a crash left half-written");
                let file = OpenOptions::new().write(true).open(path).map_err(|cause| named(&cause))?;
                file.set_len(whole).and_then(|()| file.sync_all()).map_err(|cause| named(&cause))?;
                return Ok(position);
            }
            frame::Next::Damaged => return Err(named(&format_args!("record {position} is damaged; restore the file"))),
        }
    }
}

fn positions(dir: &Path) -> io::Result<VecDeque<u64>> {
    let mut firsts = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if let Some(first) = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|n| n.parse().ok()) {
            firsts.push(first);
        }
    }
    firsts.sort_unstable();
    Ok(firsts.into())
}

fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}{SUFFIX}"))
}

fn open_for_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

const SUFFIX: &str = ".journal";
const SEGMENT_BYTES: u64 = 16 << 20;
