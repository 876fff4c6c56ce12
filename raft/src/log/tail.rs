//! The end of the log in memory, so that what was just appended can be read before it is on disk.

use std::collections::VecDeque;

use openraft::EntryPayload;

use crate::types::{LogEntry, LogId, Order, Proposal};

/// The end of the log, and where the log begins and ends.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// The last entry that was removed from the front.
    pub(crate) purged: Option<LogId>,
    /// The last entry there is, or else `purged`.
    pub(crate) last: Option<LogId>,
    /// The index of the first entry there is or will be.
    begin: u64,
    entries: VecDeque<LogEntry>,
    bytes: usize,
    /// Entries below this index are on disk and may leave memory.
    durable_end: u64,
}

impl Tail {
    /// A tail over a log that is on disk, with its last entries.
    pub(crate) fn recovered(purged: Option<LogId>, entries: VecDeque<LogEntry>) -> Self {
        let last = entries.back().map(|entry| entry.log_id).or(purged);
        let durable_end = last.map_or(0, |id| id.index + 1);
        let bytes = entries.iter().map(size).sum();
        Self { purged, last, begin: purged.map_or(0, |id| id.index + 1), entries, bytes, durable_end }
    }

    /// The index of the first entry that the log holds or will hold.
    pub(crate) fn begin(&self) -> u64 {
        self.begin
    }

    /// The index after the last entry.
    pub(crate) fn end(&self) -> u64 {
        self.last.map_or(0, |id| id.index + 1)
    }

    /// The index of the first entry in memory, or `end` if there is none.
    pub(crate) fn first(&self) -> u64 {
        self.entries.front().map_or_else(|| self.end(), |entry| entry.log_id.index)
    }

    /// Entries in memory from `start` (at least [`first`](Self::first)) to before `end`.
    pub(crate) fn range(&self, start: u64, end: u64) -> impl Iterator<Item = &LogEntry> {
        let skip = usize::try_from(start.saturating_sub(self.first())).unwrap_or(usize::MAX);
        let take = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        self.entries.iter().skip(skip).take(take)
    }

    /// Adds an entry that is not on disk yet.
    pub(crate) fn push(&mut self, entry: LogEntry) {
        if self.begin >= self.end() {
            self.begin = entry.log_id.index;
        }
        self.last = Some(entry.log_id);
        self.bytes += size(&entry);
        self.entries.push_back(entry);
    }

    /// Entries below `end` are on disk: forgets those that are many.
    pub(crate) fn durable(&mut self, end: u64) {
        self.durable_end = self.durable_end.max(end);
        while self.entries.len() > KEPT_ENTRIES || self.bytes > KEPT_BYTES {
            match self.entries.front() {
                Some(front) if front.log_id.index < self.durable_end => self.pop_front(),
                _ => break,
            }
        }
    }

    /// Nothing has been appended for a while: gives most of the memory back.
    pub(crate) fn rest(&mut self) {
        while self.bytes > KEPT_AT_REST {
            match self.entries.front() {
                Some(front) if front.log_id.index < self.durable_end => self.pop_front(),
                _ => break,
            }
        }
        self.entries.shrink_to_fit();
    }

    /// Removes every entry after `last`.
    pub(crate) fn truncate_after(&mut self, last: Option<LogId>) {
        if last >= self.last {
            return;
        }
        let end = last.map_or(0, |id| id.index + 1);
        while self.entries.back().is_some_and(|entry| entry.log_id.index >= end) {
            if let Some(entry) = self.entries.pop_back() {
                self.bytes -= size(&entry);
            }
        }
        self.durable_end = self.durable_end.min(end);
        self.last = last.max(self.purged);
    }

    /// Removes every entry up to `upto`.
    pub(crate) fn purge(&mut self, upto: LogId) {
        while self.entries.front().is_some_and(|entry| entry.log_id.index <= upto.index) {
            self.pop_front();
        }
        self.begin = self.begin.max(upto.index + 1);
        self.purged = self.purged.max(Some(upto));
        self.last = self.last.max(Some(upto));
        self.durable_end = self.durable_end.max(upto.index + 1);
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= size(&entry);
        }
    }
}

/// About how much memory an entry takes.
pub(crate) fn size(entry: &LogEntry) -> usize {
    ENTRY_OVERHEAD
        + match &entry.payload {
            EntryPayload::Normal(Proposal { order: Order::Application(command), .. }) => command.len(),
            EntryPayload::Normal(_) | EntryPayload::Blank | EntryPayload::Membership(_) => 256,
        }
}

const ENTRY_OVERHEAD: usize = 128;
/// Enough for followers that keep up; what lags reads from disk.
pub(crate) const KEPT_ENTRIES: usize = 16_384;
const KEPT_BYTES: usize = 32 << 20;
const KEPT_AT_REST: usize = 1 << 20;
