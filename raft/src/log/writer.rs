//! The thread that owns the log's disk: it drains a queue, writes what it found in one batch, fsyncs once, and then
//! completes everything in order.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use openraft::storage::IOFlushed;
use rocksdb::WriteBatch;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::chain::Chain;
use super::disk::Disk;
use super::flushes::Flushes;
use super::lookup::entry_and_chain;
use super::rows::{PURGED_KEY, PurgedRow, VOTE_FILE, entry_key, write_entry};
use super::tail::Tail;
use super::watermark::Watermark;
use crate::encoding::{StoredVote, entry_to_body, versioned};
use crate::fatal;
use crate::types::{LogEntry, LogId, TypeConfig, Vote};

/// Something to be put on disk.
pub(crate) enum Job {
    /// New entries at the end.
    Append { entries: Vec<LogEntry>, flushed: IOFlushed<TypeConfig> },
    /// The vote, durable when `done`.
    Vote { vote: Vote, done: oneshot::Sender<()> },
    /// Entries from `start` to before `end` go, from the end backwards as far as a crash can tell.
    Truncate { start: u64, end: u64, done: oneshot::Sender<()> },
    /// Entries from `start` up to and including `upto` go; the state knows the chain's value there, or not.
    Purge { start: u64, upto: LogId, anchor: Option<Chain> },
    /// The watermark is written if it is due; nobody else may come for long.
    Mark,
}

/// What the log's disk was asked to do since the node started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Entries that were made durable.
    pub(crate) entries: AtomicU64,
    /// In so many fsyncs.
    pub(crate) fsyncs: AtomicU64,
    /// Whether the watermark is newer than what is on disk of it.
    pub(crate) unmarked: AtomicBool,
}

/// What the thread owns. Asynchronous only so that a simulated disk can take its time: on the thread nothing but `recv`
/// waits.
pub(crate) struct Writer {
    pub(crate) disk: Arc<Disk>,
    pub(crate) tail: Arc<Mutex<Tail>>,
    pub(crate) jobs: UnboundedReceiver<Job>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) flushes: Arc<Flushes>,
    /// The chain's value at the last entry taken; `None` if it is not known where the log began.
    pub(crate) chain: Option<Chain>,
    /// One more than the last entry's index.
    pub(crate) end: u64,
    pub(crate) watermark: Watermark,
}

impl Writer {
    /// Works until every sender is gone.
    pub(crate) async fn run(mut self) {
        while let Some(first) = self.jobs.recv().await {
            let mut group = Group::default();
            let mut next = Some(first);
            while let Some(job) = next {
                self.take(job, &mut group).await;
                next = match self.jobs.try_recv() {
                    Ok(job) if group.batch.size_in_bytes() < GROUP_BYTES => Some(job),
                    Ok(job) => {
                        self.flush(&mut group).await;
                        Some(job)
                    }
                    Err(_) => None,
                };
            }
            self.flush(&mut group).await;
        }
        self.write_watermark().await;
    }

    async fn take(&mut self, job: Job, group: &mut Group) {
        match job {
            Job::Append { entries, flushed } => {
                for entry in &entries {
                    let (index, body) = (entry.log_id.index, entry_to_body(entry));
                    self.chain = self.chain.map(|before| before.next(&body));
                    group.batch.put(entry_key(index), write_entry(index, self.chain, &body));
                    self.end = index + 1;
                    group.last = Some(entry.log_id);
                }
                group.entries += entries.len() as u64;
                group.flushed.push(flushed);
            }
            Job::Vote { vote, done } => {
                // Nothing may overtake: what was appended before the vote is on disk before it.
                self.flush(group).await;
                let stored = versioned(&StoredVote::from(&vote));
                if let Err(cause) = self.disk.replace_file(VOTE_FILE, &stored).await {
                    fatal::abort("cannot store the vote", &cause);
                }
                self.watermark.voted(&vote, Instant::now());
                self.counters.unmarked.store(true, Ordering::Release);
                let _ = done.send(());
            }
            Job::Truncate { start, end, done } => {
                self.flush(group).await;
                let (last, chain) = self.before(start);
                if let Err(cause) = self.watermark.lower(&self.disk, start, last.as_ref(), chain).await {
                    fatal::abort("cannot write the log's watermark", &cause);
                }
                for index in (start..end).rev() {
                    group.batch.delete(entry_key(index));
                }
                self.write(std::mem::take(&mut group.batch), true).await;
                (self.end, self.chain) = (start, chain);
                let _ = done.send(());
            }
            Job::Purge { start, upto, anchor } => {
                self.flush(group).await;
                let here = if upto.index < self.end { self.before(upto.index + 1).1 } else { None };
                if let (Some(here), Some(anchor)) = (here, anchor)
                    && here != anchor
                {
                    fatal::abort("the raft log is not the one the state was made of", &differ(&upto, here, anchor));
                }
                let chain = here.or(anchor);
                if upto.index >= self.end {
                    (self.end, self.chain) = (upto.index + 1, chain);
                }
                group.batch.delete_range(entry_key(start), entry_key(upto.index + 1));
                group.batch.put(PURGED_KEY, versioned(&PurgedRow::new(&upto, chain)));
                // Not synced: losing it brings back entries that are covered by a durable snapshot.
                self.write(std::mem::take(&mut group.batch), false).await;
            }
            Job::Mark => {
                if self.watermark.is_due(Instant::now()) {
                    self.write_watermark().await;
                } else if !self.watermark.waits() {
                    self.counters.unmarked.store(false, Ordering::Release);
                }
            }
        }
    }

    /// The entry before `index`, which may be the purged one, and the chain's value there; all of it is on disk.
    fn before(&self, index: u64) -> (Option<LogId>, Option<Chain>) {
        let Some(last) = index.checked_sub(1) else { return (None, Some(Chain::START)) };
        match entry_and_chain(&self.disk, last) {
            Ok(Some((id, chain))) => (Some(id), chain),
            // openraft's own tests begin a log anywhere.
            Ok(None) => (None, Some(Chain::START)),
            Err(cause) => fatal::abort("cannot read the raft log", &cause),
        }
    }

    async fn write_watermark(&mut self) {
        if let Err(cause) = self.watermark.write(&self.disk).await {
            fatal::abort("cannot write the log's watermark", &cause);
        }
        self.counters.unmarked.store(false, Ordering::Release);
    }

    async fn flush(&mut self, group: &mut Group) {
        if group.flushed.is_empty() {
            return;
        }
        self.write(std::mem::take(&mut group.batch), true).await;
        self.counters.entries.fetch_add(std::mem::take(&mut group.entries), Ordering::Relaxed);
        self.counters.fsyncs.fetch_add(1, Ordering::Relaxed);
        let last = group.last.take();
        if let Some(last) = &last {
            self.tail.lock().unwrap_or_else(PoisonError::into_inner).durable(last.index + 1);
        }
        for flushed in group.flushed.drain(..) {
            flushed.io_completed(Ok(()));
        }
        // Behind the answers, so that nobody waits for it who need not.
        let now = Instant::now();
        if let Some(last) = &last {
            self.watermark.flushed(last, self.chain, now);
            self.counters.unmarked.store(true, Ordering::Release);
        }
        if self.watermark.is_due(now) {
            self.write_watermark().await;
        }
    }

    async fn write(&self, batch: WriteBatch, sync: bool) {
        self.flushes.begin();
        if let Err(cause) = self.disk.write(batch, sync).await {
            fatal::abort("cannot write the raft log", &cause);
        }
        self.flushes.end();
    }
}

/// Appends that share one write and one fsync.
#[derive(Default)]
struct Group {
    batch: WriteBatch,
    flushed: Vec<IOFlushed<TypeConfig>>,
    entries: u64,
    /// The last entry in `batch`.
    last: Option<LogId>,
}

fn differ(at: &LogId, here: Chain, there: Chain) -> String {
    format!(
        "at entry {} the log's hash is {here}, the state's {there}; remove this node from the cluster and let it join \
         again with an empty data directory",
        at.index
    )
}

/// A group is written when it is this large, so that the first in it does not wait for a long queue.
const GROUP_BYTES: usize = 4 << 20;
