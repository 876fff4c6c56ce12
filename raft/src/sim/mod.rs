//! A deterministic simulation of whole clusters.

mod disk;
mod net;

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

pub(crate) use disk::Disk;
pub(crate) use net::{Wire, connect};

/// Whether this thread simulates.
pub(crate) fn active() -> bool {
    ACTIVE.get()
}

/// The disk of the node whose data directory this is, if a simulation owns it.
pub(crate) fn disk(_data_dir: &Path) -> Option<Arc<Disk>> {
    None
}

/// Ends the node that runs now, if this thread simulates.
pub(crate) fn ends_the_process(_message: &str) {}

thread_local! {
    static ACTIVE: Cell<bool> = const { Cell::new(false) };
}
