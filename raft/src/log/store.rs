//! The log as openraft wants it.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;

use futures::Stream;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::chain::{Anchor, Chain};
use super::check::{forgive_watermark, open_watermark};
use super::disk::Disk;
use super::flushes::Flushes;
use super::lookup::{chain_at, damaged_entry};
use super::open::Opened;
use super::recover::Recovered;
use super::rows::{CLUSTER_KEY, entry_key, read_entry};
use super::tail::{Tail, size};
use super::watermark::Watermark;
use super::writer::{Counters, Job, Writer};
use crate::config::Storage;
use crate::encoding::entry_from_body;
use crate::error::OpenError;
use crate::fatal;
use crate::types::{LogEntry, LogId, TypeConfig, Vote};

/// The log and the vote of this node. Clones are the same log.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<Disk>,
    tail: Arc<Mutex<Tail>>,
    vote: Mutex<Option<Vote>>,
    /// Where the state knows the chain's value, once there is a state.
    anchor: OnceLock<Arc<Anchor>>,
    // `None` only while dropping: the thread ends when the sender is gone.
    jobs: Option<UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
    flushes: Arc<Flushes>,
}

impl LogStore {
    /// The log's disk, for as long as somebody else holds it: to ask what it says of itself.
    pub(crate) fn watched(&self) -> Weak<Disk> {
        Arc::downgrade(&self.shared.disk)
    }

    /// Opens the log in `data_dir`, makes it if there is none, and starts its thread.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, OpenError> {
        Self::open_tuned(data_dir, &Storage::default())
    }

    /// The same with as much memory as `storage` says.
    pub(crate) fn open_tuned(data_dir: &Path, storage: &Storage) -> Result<Self, OpenError> {
        let (found, path) = (Opened::read(data_dir, storage)?, data_dir.join("log"));
        let watermark = open_watermark(&found.disk, data_dir, &found.recovered, found.vote)?;
        Self::start(found, watermark, &path)
    }

    /// Opens a log to recover from it, even if it tells that the disk has lost something, and what that is. A node must
    /// not vote with it.
    pub(crate) fn open_survivor(data_dir: &Path) -> Result<(Self, Option<String>), OpenError> {
        let (found, path) = (Opened::read(data_dir, &Storage::default())?, data_dir.join("log"));
        let (watermark, lost) = forgive_watermark(&found.disk, data_dir, &found.recovered, found.vote)?;
        Ok((Self::start(found, watermark, &path)?, lost))
    }

    fn start(found: Opened, watermark: Watermark, path: &Path) -> Result<Self, OpenError> {
        let Opened { disk, recovered, vote } = found;
        let Recovered { tail, chain } = recovered;
        let end = tail.end();
        let tail = Arc::new(Mutex::new(tail));
        // Unbounded here; what is in flight is bounded where proposals enter and by the leader's pipeline.
        let (sender, jobs) = unbounded_channel();
        let counters = Arc::new(Counters::default());
        let flushes = Arc::new(Flushes::default());
        let writer = Writer {
            disk: Arc::clone(&disk),
            tail: Arc::clone(&tail),
            jobs,
            counters: Arc::clone(&counters),
            flushes: Arc::clone(&flushes),
            chain,
            end,
            watermark,
        };
        let thread = start_thread(writer).map_err(|cause| OpenError::File {
            action: "start the log's thread for",
            path: path.to_owned(),
            cause,
        })?;
        let shared = Shared {
            disk,
            tail,
            vote: Mutex::new(vote),
            anchor: OnceLock::new(),
            jobs: Some(sender),
            thread,
            counters,
            flushes,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Whether a flush hangs.
    pub(crate) fn flushes(&self) -> Arc<Flushes> {
        Arc::clone(&self.shared.flushes)
    }

    /// The cluster whose log this is; `None` for a new one.
    pub(crate) fn cluster(&self) -> Option<Vec<u8>> {
        match self.shared.disk.get(CLUSTER_KEY) {
            Ok(cluster) => cluster,
            Err(cause) => fatal::abort("cannot read the raft log", &cause),
        }
    }

    /// Marks the log as the cluster's.
    pub(crate) fn set_cluster(&self, cluster: &[u8]) {
        if let Err(cause) = self.shared.disk.put_first(CLUSTER_KEY, cluster) {
            fatal::abort("cannot write the raft log", &cause);
        }
    }

    /// What its disk was asked to do.
    pub(crate) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// The last entry, or else the last that was purged.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.tail().last
    }

    /// Whether nothing was ever appended.
    pub(crate) fn is_empty(&self) -> bool {
        self.tail().last.is_none()
    }

    /// The index of the first entry that is not purged.
    pub(crate) fn begin(&self) -> u64 {
        self.tail().begin()
    }

    /// Whether this node ever voted.
    pub(crate) fn has_voted(&self) -> bool {
        self.shared.vote.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// From now on `anchor` tells the chain's value behind an installed snapshot.
    pub(crate) fn follow(&self, anchor: Arc<Anchor>) {
        let _ = self.shared.anchor.set(anchor);
    }

    /// A way to look at the log that does not keep it open.
    pub(crate) fn peek(&self) -> LogPeek {
        LogPeek(Arc::downgrade(&self.shared))
    }

    /// The chain's value at `index`, if the log holds it and it is on disk.
    pub(crate) fn chain_at(&self, index: u64) -> io::Result<Option<Chain>> {
        chain_at(&self.shared.disk, index)
    }

    /// Changes a byte of a stored entry behind everybody's back.
    #[cfg(test)]
    pub(crate) fn damage(&self, index: u64) {
        let mut row = self.shared.disk.get(&entry_key(index)).ok().flatten().unwrap_or_default();
        if let Some(last) = row.last_mut() {
            *last ^= 1;
        }
        let _ = self.shared.disk.put_first(&entry_key(index), &row);
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.shared.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, job: Job) -> io::Result<()> {
        let gone = || io::Error::other("the log's thread has ended");
        self.shared.jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())
    }

    /// Entries from `start` to before `end` that the log holds, as many as `max_bytes` allow but at least one.
    fn read(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<Vec<LogEntry>> {
        loop {
            let (start, from_disk, recent) = {
                let tail = self.tail();
                let start = start.max(tail.begin());
                let end = end.min(tail.end()).max(start);
                let split = tail.first().clamp(start, end);
                let recent: Vec<_> = tail.range(split, end).cloned().collect();
                (start, split, recent)
            };
            let old = self.read_disk(start, from_disk, max_bytes);
            if self.tail().begin() > start {
                // The front was purged meanwhile: what is missing there is no hole.
                continue;
            }
            let old = old?;
            let complete = old.len() as u64 == from_disk - start;
            let mut left = max_bytes.saturating_sub(old.iter().map(size).sum());
            let mut entries = old;
            for entry in recent.into_iter().take_while(|_| complete) {
                if left == 0 && !entries.is_empty() {
                    break;
                }
                left = left.saturating_sub(size(&entry));
                entries.push(entry);
            }
            return Ok(entries);
        }
    }

    fn read_disk(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<Vec<LogEntry>> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut next = start;
        let hole = |at| Err(io::Error::new(io::ErrorKind::InvalidData, format!("the log has a hole at entry {at}")));
        if start < end {
            for row in self.shared.disk.range(&entry_key(start), &entry_key(end)) {
                let (_, row) = row?;
                let read = read_entry(next, &row).and_then(|row| Ok(entry_from_body(row.body)?));
                let entry = read.map_err(|cause| damaged_entry(&cause, next))?;
                if entry.log_id.index != next {
                    return hole(next);
                }
                next += 1;
                bytes += size(&entry);
                entries.push(entry);
                if bytes >= max_bytes {
                    return Ok(entries);
                }
            }
        }
        if next == end.max(start) { Ok(entries) } else { hole(next) }
    }
}

/// A look at a log that may be closed meanwhile.
#[derive(Clone)]
pub(crate) struct LogPeek(Weak<Shared>);

impl LogPeek {
    /// What RocksDB failed to do in the background, if anything.
    pub(crate) fn background_errors(&self) -> Option<String> {
        self.0.upgrade()?.disk.background_errors()
    }

    /// To be called now and then, so that the watermark is written though nobody appends.
    pub(crate) fn write_mark(&self) {
        if let Some(shared) = self.0.upgrade()
            && shared.counters.unmarked.load(Ordering::Acquire)
        {
            let _ = LogStore { shared }.send(Job::Mark);
        }
    }

    /// Gives memory back while nobody appends.
    pub(crate) fn rest(&self) {
        if let Some(shared) = self.0.upgrade() {
            LogStore { shared }.tail().rest();
        }
    }

    /// The lowest index at which the chain's value is held.
    pub(crate) fn chain_begin(&self) -> Option<u64> {
        let log = LogStore { shared: self.0.upgrade()? };
        let tail = log.tail();
        Some(tail.purged.map_or_else(|| tail.begin(), |id| id.index))
    }

    /// The chain's value at `index`, if the log holds it and it is on disk.
    pub(crate) fn chain_at(&self, index: u64) -> Option<Chain> {
        let log = LogStore { shared: self.0.upgrade()? };
        match log.chain_at(index) {
            Ok(chain) => chain,
            Err(cause) => fatal::abort("cannot read the raft log", &cause),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = Result<LogEntry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        // In pieces: after a restart the range to apply may be the whole log.
        let (start, end) = bounds(&range);
        let pieces = futures::stream::unfold((self.clone(), Some(start)), move |(log, next)| async move {
            let start = next.filter(|start| *start < end)?;
            let piece = log.read(start, end.min(start.saturating_add(APPLY_ENTRIES)), usize::MAX);
            let next = piece.as_ref().ok().and_then(|entries| entries.last()).map(|entry| entry.log_id.index + 1);
            let items: Vec<_> = match piece {
                Ok(entries) => entries.into_iter().map(Ok).collect(),
                Err(cause) => vec![Err(cause)],
            };
            Some((futures::stream::iter(items), (log, next)))
        });
        Box::pin(futures::StreamExt::fuse(futures::StreamExt::flatten(pieces)))
    }

    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<LogEntry>, io::Error> {
        let (start, end) = bounds(&range);
        self.read(start, end, usize::MAX)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(*self.shared.vote.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<LogEntry>, io::Error> {
        // One message to a follower: bounded in bytes here, so that the transport never has to split one.
        self.read(start, end, REPLICATE_BYTES)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let tail = self.tail();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, finished) = oneshot::channel();
        self.send(Job::Vote { vote: *vote, done })?;
        finished.await.map_err(io::Error::other)?;
        *self.shared.vote.lock().unwrap_or_else(PoisonError::into_inner) = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        {
            let mut tail = self.tail();
            entries.iter().for_each(|entry| tail.push(entry.clone()));
        }
        self.send(Job::Append { entries, flushed: callback })
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let (start, end) = {
            let mut tail = self.tail();
            let end = tail.end();
            tail.truncate_after(last_log_id);
            (tail.end(), end)
        };
        let (done, finished) = oneshot::channel();
        self.send(Job::Truncate { start, end, done })?;
        finished.await.map_err(io::Error::other)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let start = {
            let mut tail = self.tail();
            let start = tail.begin();
            tail.purge(upto);
            start
        };
        if start > upto.index {
            return Ok(());
        }
        let anchor = self.shared.anchor.get().and_then(|anchor| anchor.at(&upto));
        self.send(Job::Purge { start, upto, anchor })
    }
}

/// The writer on a thread of its own.
fn start_thread(writer: Writer) -> io::Result<Option<JoinHandle<()>>> {
    #[cfg(test)]
    if writer.disk.is_simulated() {
        tokio::spawn(writer.run());
        return Ok(None);
    }
    let work = move || futures::executor::block_on(writer.run());
    std::thread::Builder::new().name("raft-log".into()).spawn(work).map(Some)
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

const REPLICATE_BYTES: usize = 1 << 20;
const APPLY_ENTRIES: u64 = 1024;
