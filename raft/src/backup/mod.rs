//! Backups: the whole replicated state in one file, made from a running node, and what can be done with such a file
//! while no node runs.
//!
//! The file (all numbers big-endian):
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | `signetb1` |
//! | 4 | length of the manifest |
//! | n | the manifest: a version byte and CBOR, see [`manifest`] |
//! | 32 | SHA-256 of everything up to here |
//! | … | the files of the manifest, one after the other, without anything between them |
//! | 8 | `signetbe` |
//! | 32 | SHA-256 of everything before the `signetbe` |
//!
//! The files are a RocksDB checkpoint. What is sensitive in it was sealed before it was replicated: private keys are
//! wrapped for the key-encryption key, join tokens are there as hashes. Peer keys are not in it at all.

mod container;
mod error;
mod manifest;
mod open;
mod restore;
mod save;

pub use error::{SaveError, SnapshotError};
pub use manifest::{Ancestor, AncestorKind, LogPlace, SnapshotInfo};
pub use open::{OpenedSnapshot, check_snapshot, inspect_snapshot, open_snapshot};
pub use restore::{Restored, restore_snapshot};
pub use save::SavedSnapshot;

pub(crate) use manifest::{Lineage, LineageKind};
pub(crate) use restore::check_owner;
pub(crate) use save::{Maker, save};
