//! Load for Signet, open loop and bounded, seen from where a client stands.

mod args;

pub use args::{Args, Command, Options, Output};

/// Runs a load test and prints its report on standard output.
///
/// # Errors
/// The cluster cannot be used as asked, the build is a debug build, or the run failed. The text says what to do.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let _ = args;
    todo!()
}
