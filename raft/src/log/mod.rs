//! The log: entries in a RocksDB instance of their own, the vote in a file of its own, both durable before they are
//! answered.

mod disk;
mod flushes;
mod store;
mod tail;
mod writer;

#[cfg(test)]
pub(crate) use disk::DiskRow;
pub(crate) use disk::open_error;
pub(crate) use flushes::Flushes;
pub(crate) use store::LogStore;
pub(crate) use writer::Counters;
