//! The log as openraft wants it.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use futures::Stream;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::disk::Disk;
use super::flushes::Flushes;
use super::tail::{KEPT_ENTRIES, Tail, size};
use super::writer::{CLUSTER_KEY, Counters, ENTRY_PREFIX, Job, PURGED_KEY, VOTE_FILE, Writer, entry_index, entry_key};
use crate::encoding::{StoredLogId, StoredVote, entry_from_bytes, unversioned};
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
    // `None` only while dropping: the thread ends when the sender is gone.
    jobs: Option<UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<Counters>,
    flushes: Arc<Flushes>,
}

impl LogStore {
    /// Opens the log in `data_dir`, makes it if there is none, and starts its thread.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, OpenError> {
        let path = data_dir.join("log");
        let vote_path = data_dir.join(VOTE_FILE);
        let damaged = |path: &Path, detail: String| OpenError::Damaged { path: path.to_owned(), detail };
        let disk = Arc::new(Disk::open(data_dir)?);
        let tail = recover(&disk).map_err(|detail| damaged(&path, detail))?;
        let vote = disk
            .read_file(VOTE_FILE)
            .map_err(|cause| damaged(&vote_path, cause.to_string()))?
            .map(|bytes| unversioned::<StoredVote>(&bytes).map(Vote::from))
            .transpose()
            .map_err(|cause| damaged(&vote_path, cause.to_string()))?;
        if vote.is_none() && tail.last.is_some() {
            let detail = "it is missing although the log is not empty; without it this node could vote twice. Remove the \
                          node from the cluster and let it join again with an empty data directory";
            return Err(damaged(&vote_path, detail.to_owned()));
        }
        Self::start(disk, tail, vote, &path)
    }

    fn start(disk: Arc<Disk>, tail: Tail, vote: Option<Vote>, path: &Path) -> Result<Self, OpenError> {
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
        };
        let thread = start_thread(writer).map_err(|cause| OpenError::File {
            action: "start the log's thread for",
            path: path.to_owned(),
            cause,
        })?;
        let shared = Shared { disk, tail, vote: Mutex::new(vote), jobs: Some(sender), thread, counters, flushes };
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
                let entry = entry_from_bytes(&row?.1)?;
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
        self.send(Job::Purge { start, upto })
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

/// Reads where the log begins and ends, holds it against holes, and loads its last entries.
fn recover(disk: &Disk) -> Result<Tail, String> {
    let purged = match disk.get(PURGED_KEY).map_err(|cause| cause.to_string())? {
        Some(bytes) => Some(LogId::from(unversioned::<StoredLogId>(&bytes).map_err(|cause| cause.to_string())?)),
        None => None,
    };
    let begin = purged.map_or(0, |id| id.index + 1);
    let mut recent = VecDeque::new();
    for (next, row) in (begin..).zip(disk.range(&entry_key(begin), &[ENTRY_PREFIX + 1])) {
        let (key, value) = row.map_err(|cause| cause.to_string())?;
        let index = entry_index(&key).ok_or("a row key is not an entry's")?;
        if index != next {
            return Err(format!("entry {next} is missing although entry {index} is there"));
        }
        recent.push_back(value);
        if recent.len() > KEPT_ENTRIES / 4 {
            recent.pop_front();
        }
    }
    let entries: Result<VecDeque<_>, _> = recent.iter().map(|bytes| entry_from_bytes(bytes)).collect();
    Ok(Tail::recovered(purged, entries.map_err(|cause| cause.to_string())?))
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
