//! A deterministic simulation of whole clusters: real nodes, with their real wire forms, handlers, state stores and log
//! logic, on simulated disks, clocks and links, on one thread in virtual time. A seed replays bit for bit:
//!
//! `SIGNET_SIM_SEED=7 SIGNET_SIM_TRACE=/tmp/trace cargo test -p signet-raft sim::one_seed -- --nocapture`
//!
//! Each node has a tokio runtime of its own with paused time, and all take turns of one virtual millisecond: a process is
//! killed by dropping its runtime and stalled by leaving out its turns. Every seed runs in a process of its own, because
//! tokio seeds `select!` from a counter that all runtimes of a process share.

mod checks;
mod clients;
mod cluster;
mod disk;
mod door;
mod faults;
mod machine;
mod net;
mod nodes;
mod oracle;
mod random;
mod run;
mod taps;
mod wire;
mod world;

use std::path::Path;
use std::sync::Arc;

pub(crate) use disk::Disk;
pub(crate) use wire::{Wire, connect};

/// Whether this thread simulates.
pub(crate) fn active() -> bool {
    world::find().is_some()
}

/// The disk of the node whose data directory this is, if a simulation owns it.
pub(crate) fn disk(data_dir: &Path) -> Option<Arc<Disk>> {
    world::find()?.disks.lock().unwrap().get(data_dir).cloned()
}

/// Ends the node whose turn it is, if this thread simulates: it says nothing more, and is killed after its turn.
pub(crate) fn ends_the_process(message: &str) {
    let Some(world) = world::find() else { return };
    let node = world.turn();
    world.trace(format_args!("n{node} ends itself: {message}"));
    world.aborted.lock().unwrap().insert(node, message.to_owned());
    if let Some(host) = world.net.lock().unwrap().hosts.get_mut(&node) {
        host.running = false;
    }
    std::panic::resume_unwind(Box::new("the process ended itself"));
}
