//! The replicated state: RocksDB in generation directories, changed by one batch for each run of applied entries.

mod generation;
mod incoming;
mod machine;
mod orders;
mod overlay;
mod own;
mod progress;
mod rows;
mod snapshot;
mod store;
mod view;

pub(crate) use generation::Generation;
pub(crate) use incoming::Partial;
pub(crate) use machine::Machine;
pub(crate) use overlay::Overlay;
pub(crate) use own::{Rewrite, StateRows, rewrite};
pub(crate) use rows::{FEATURE_KEY, Roster};
pub(crate) use snapshot::{Manifest, STATE_VERSION, SnapshotDir, SnapshotFile, finish, hash_file};
pub(crate) use store::{StateStore, ViewInner};

#[cfg(test)]
pub(crate) use rows::{AppliedRow, TokenRow};
