//! The thread that owns the log's disk: it drains a queue, writes what it found in one batch, fsyncs once, and then
//! completes everything in order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use openraft::storage::IOFlushed;
use rocksdb::WriteBatch;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::disk::Disk;
use super::flushes::Flushes;
use super::tail::Tail;
use crate::encoding::{StoredLogId, StoredVote, entry_to_bytes, versioned};
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
    /// Entries from `start` up to and including `upto` go.
    Purge { start: u64, upto: LogId },
}

/// What the log's disk was asked to do since the node started.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Entries that were made durable.
    pub(crate) entries: AtomicU64,
    /// In so many fsyncs.
    pub(crate) fsyncs: AtomicU64,
}

/// What the thread owns. Asynchronous only so that a simulated disk can take its time: on the thread nothing but `recv`
/// waits.
pub(crate) struct Writer {
    pub(crate) disk: Arc<Disk>,
    pub(crate) tail: Arc<Mutex<Tail>>,
    pub(crate) jobs: UnboundedReceiver<Job>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) flushes: Arc<Flushes>,
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
    }

    async fn take(&self, job: Job, group: &mut Group) {
        match job {
            Job::Append { entries, flushed } => {
                for entry in &entries {
                    group.batch.put(entry_key(entry.log_id.index), entry_to_bytes(entry));
                    group.end = entry.log_id.index + 1;
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
                let _ = done.send(());
            }
            Job::Truncate { start, end, done } => {
                self.flush(group).await;
                for index in (start..end).rev() {
                    group.batch.delete(entry_key(index));
                }
                self.write(std::mem::take(&mut group.batch), true).await;
                let _ = done.send(());
            }
            Job::Purge { start, upto } => {
                self.flush(group).await;
                group.batch.delete_range(entry_key(start), entry_key(upto.index + 1));
                group.batch.put(PURGED_KEY, versioned(&StoredLogId::from(&upto)));
                // Not synced: losing it brings back entries that are covered by a durable snapshot.
                self.write(std::mem::take(&mut group.batch), false).await;
            }
        }
    }

    async fn flush(&self, group: &mut Group) {
        if group.flushed.is_empty() {
            return;
        }
        self.write(std::mem::take(&mut group.batch), true).await;
        self.counters.entries.fetch_add(std::mem::take(&mut group.entries), Ordering::Relaxed);
        self.counters.fsyncs.fetch_add(1, Ordering::Relaxed);
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).durable(group.end);
        for flushed in group.flushed.drain(..) {
            flushed.io_completed(Ok(()));
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
    end: u64,
}

/// The row key of the entry at `index`. Stored form.
pub(crate) fn entry_key(index: u64) -> [u8; 9] {
    let [a, b, c, d, e, f, g, h] = index.to_be_bytes();
    [ENTRY_PREFIX, a, b, c, d, e, f, g, h]
}

/// The index in an entry's row key.
pub(crate) fn entry_index(key: &[u8]) -> Option<u64> {
    let (&ENTRY_PREFIX, index) = key.split_first()? else { return None };
    Some(u64::from_be_bytes(index.try_into().ok()?))
}

/// The first byte of entries' row keys. Stored form.
pub(crate) const ENTRY_PREFIX: u8 = b'e';
/// Where the last purged place is kept. Stored form.
pub(crate) const PURGED_KEY: &[u8] = b"m/purged";
/// Where the cluster's id is kept. Stored form.
pub(crate) const CLUSTER_KEY: &[u8] = b"m/cluster";
/// The file that holds the vote.
pub(crate) const VOTE_FILE: &str = "vote";
/// A group is written when it is this large, so that the first in it does not wait for a long queue.
const GROUP_BYTES: usize = 4 << 20;
