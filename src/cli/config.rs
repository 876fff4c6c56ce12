//! `signet config`

use std::path::PathBuf;

use clap::Subcommand;
use signet_model::refusal::Reason;

use super::failure::Failure;
use super::output::print_text;

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
    let Config::Check { file } = args;
    match crate::server::Config::load(file) {
        Ok(_) => print_text("in order"),
        Err(mistakes) => Err(Failure::new(Reason::InvalidArgument.code(), mistakes.to_string())),
    }
}
