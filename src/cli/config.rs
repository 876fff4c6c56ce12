//! `signet config`

use std::path::PathBuf;

use clap::Subcommand;

use super::failure::Failure;

/// A server's configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Check a configuration without starting anything, and name every mistake.
    Check {
        /// The configuration (TOML).
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

pub(super) fn run(args: &Config) -> Result<(), Failure> {
    let _ = args;
    todo!()
}
