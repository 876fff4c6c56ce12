//! The log: entries in a RocksDB instance of their own, the vote in a file of its own, both durable before they are
//! answered.

mod flushes;
mod store;
mod tail;
mod writer;

pub(crate) use flushes::Flushes;
pub(crate) use store::{LogStore, open_error};
pub(crate) use writer::Counters;
