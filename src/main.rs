//! `signet`: the server, its command line, and a whole cluster on a laptop.

mod cli;
mod clock;
mod dev;
mod duration;
mod server;
mod size;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
