//! `signet key`

use std::path::PathBuf;

use clap::Subcommand;
use signet_model::refusal::Reason;

use super::failure::Failure;
use super::output::print_text;

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

pub(super) fn run(args: &Key) -> Result<(), Failure> {
    let Key::Generate { file } = args;
    signet_kms::software::generate_key_file(file)
        .map_err(|error| Failure::new(Reason::FailedPrecondition.code(), error.to_string()))?;
    print_text(&format!(
        "wrote {}: give the same file to every node of the cluster, and keep a copy where the nodes are not",
        file.display()
    ))
}
