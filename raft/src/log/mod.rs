//! The log: entries in a RocksDB instance of their own, the vote in a file of its own, both durable before they are
//! answered.

mod chain;
mod check;
mod disk;
mod flushes;
mod lookup;
mod open;
mod recover;
mod rows;
mod store;
mod tail;
mod watermark;
mod writer;

pub(crate) use chain::{Anchor, Chain};
#[cfg(test)]
pub(crate) use disk::DiskRow;
pub(crate) use disk::{Disk as LogDisk, background_errors, open_error};
pub(crate) use flushes::Flushes;
#[cfg(test)]
pub(crate) use rows::{PurgedRow, entry_key, read_entry, write_entry};
pub(crate) use store::{LogPeek, LogStore};
pub(crate) use tail::size;
#[cfg(test)]
pub(crate) use watermark::{Mark, decode as mark_from_slot, encode as mark_to_slot};
pub(crate) use writer::Counters;
