//! `signet`: the server, its command line, and a whole cluster on a laptop.

mod cli;
mod clock;
mod dev;
mod doctor;
mod duration;
mod memory;
mod server;
mod size;

use std::process::ExitCode;

/// Signing and replicating make many small short-lived things on many threads; the system's allocator took a fifth of
/// the time there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
