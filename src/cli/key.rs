//! `signet key`

use std::path::PathBuf;

use clap::Subcommand;

use super::failure::Failure;

/// Key-encryption keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key file for the backend `file:` (mode 0600). Every node of a cluster gets the same file.
    Generate {
        /// Where to write it; an existing file is left alone and refused.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

pub(super) async fn run(args: &Key) -> Result<(), Failure> {
    let _ = args;
    todo!()
}
