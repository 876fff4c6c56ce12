//! The issuance journal: a record of every credential, on disk before the credential leaves, and in the replicated log
//! soon after.
//!
//! One thread owns the file. It gathers what is waiting, writes it, makes it durable with one `fdatasync`, and only then
//! answers. A record keeps its position (0, 1, 2, …) for ever; the replicated state knows up to which position it has
//! the records of each node, so a batch that is sent again counts once.
//!
//! A crash or a power cut loses no record. The loss of this node's disk loses the records that were not yet replicated:
//! those of the last fraction of a second while there is a quorum.

mod carry;
mod committer;
mod frame;
mod segment;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signet_model::record::IssuanceRecord;
use signet_model::refusal::{Reason, Refusal};
use signet_model::stored::to_bytes;
use tokio::sync::{Notify, mpsc, oneshot};

pub(crate) use carry::{DIR, carry_over, unreplicated};
pub(crate) use committer::commit;
use segment::Segments;

/// A handle to the journal of this node.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    to_writer: mpsc::Sender<Append>,
    backlog: Arc<Backlog>,
}

/// A record that is on its way to disk.
#[derive(Debug)]
pub(crate) struct Pending(oneshot::Receiver<()>);

/// The journal cannot be used; the process must not issue.
#[derive(Debug, thiserror::Error)]
#[error("the issuance journal in {path}: {problem}")]
pub(crate) struct JournalError {
    path: String,
    problem: String,
}

#[derive(Debug)]
struct Append {
    record: Vec<u8>,
    not_after_secs: u64,
    durable: oneshot::Sender<()>,
}

/// Durable records that are not yet replicated, oldest first.
#[derive(Debug, Default)]
struct Backlog {
    records: Mutex<Records>,
    grown: Notify,
}

#[derive(Debug, Default)]
struct Records {
    /// The position of the first of `waiting`.
    first: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug, Clone)]
struct Waiting {
    record: Vec<u8>,
    not_after_secs: u64,
}

impl Journal {
    /// Opens the journal in `dir`, whose records up to `committed` are replicated. What a crash left half-written at
    /// the very end was never answered for, and is cut off.
    ///
    /// # Errors
    /// The directory cannot be used, or a record that was answered for is damaged.
    pub(crate) fn open(dir: &Path, committed: u64) -> Result<Self, JournalError> {
        let (segments, waiting) = Segments::open(dir, committed)?;
        let first = segments.next() - waiting.len() as u64;
        let backlog = Arc::new(Backlog { records: Mutex::new(Records { first, waiting }), grown: Notify::new() });
        let (to_writer, from_callers) = mpsc::channel(QUEUE);
        let writer = Writer { segments, from_callers, backlog: backlog.clone() };
        std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run())
            .map_err(|cause| JournalError { path: dir.display().to_string(), problem: cause.to_string() })?;
        Ok(Self { to_writer, backlog })
    }

    /// Hands a record to the writer. The credential may leave when the answer's [`durable`](Pending::durable) says so.
    ///
    /// # Errors
    /// [`Reason::ResourceExhausted`] while too much waits for disk or quorum.
    pub(crate) fn append(&self, record: &IssuanceRecord) -> Result<Pending, Refusal> {
        if self.backlog.lock().waiting.len() >= BACKLOG {
            return Err(Refusal::new(
                Reason::ResourceExhausted,
                "too many issuance records wait for a quorum to replicate them; ask another node or retry",
            ));
        }
        let (durable, pending) = oneshot::channel();
        let append = Append { record: to_bytes(record), not_after_secs: record.not_after.secs(), durable };
        match self.to_writer.try_send(append) {
            Ok(()) => Ok(Pending(pending)),
            Err(_) => Err(Refusal::new(
                Reason::ResourceExhausted,
                "too many issuance records wait for this node's disk; ask another node or retry",
            )),
        }
    }

    /// How many records are not yet replicated.
    pub(crate) fn backlog(&self) -> usize {
        self.backlog.lock().waiting.len()
    }
}

impl Pending {
    /// Waits until the record is on disk.
    ///
    /// # Errors
    /// The writer ended before that: the process is stopping.
    pub(crate) async fn durable(self) -> Result<(), Refusal> {
        self.0.await.map_err(|_| Refusal::new(Reason::ShuttingDown, "the node is stopping; ask another node"))
    }
}

impl Backlog {
    fn lock(&self) -> MutexGuard<'_, Records> {
        // No code panics while it holds this lock, and what it guards is whole between any two statements.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Writer {
    segments: Segments,
    from_callers: mpsc::Receiver<Append>,
    backlog: Arc<Backlog>,
}

impl Writer {
    fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP);
        while self.from_callers.blocking_recv_many(&mut group, GROUP) > 0 {
            if let Err(cause) = self.segments.write(group.iter().map(|append| append.record.as_slice())) {
                // After a failed write or fsync nobody knows what is on disk; what was not answered for may be repeated
                // after a restart, what was answered for must be there.
                tracing::error!(
                    "cannot write the issuance journal: {cause}. The node stops; check the disk of the data directory and start it again"
                );
                std::process::abort();
            }
            let (mut waiting, answers): (Vec<_>, Vec<_>) = group
                .drain(..)
                .map(|append| {
                    (Waiting { record: append.record, not_after_secs: append.not_after_secs }, append.durable)
                })
                .unzip();
            let committed = {
                let mut records = self.backlog.lock();
                records.waiting.extend(waiting.drain(..));
                records.first
            };
            for answer in answers {
                // Whoever asked may have gone away; the record stands all the same.
                let _ = answer.send(());
            }
            self.backlog.grown.notify_one();
            self.segments.forget_before(committed);
        }
    }
}

/// Appends that wait for the writer. One second's worth at the rate two cores can sign.
const QUEUE: usize = 65_536;
/// Written with one fsync at most.
const GROUP: usize = 4_096;
/// Records that wait for a quorum, about 150 bytes each.
const BACKLOG: usize = 1_000_000;

#[cfg(test)]
mod tests;
