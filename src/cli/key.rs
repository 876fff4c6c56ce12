//! `signet key`

use std::path::PathBuf;

use clap::Subcommand;
use signet_kms::software;
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
        /// Put the key under the passphrase in this file (mode 0600, at least 12 bytes). The nodes then need it too:
        /// backend = "file:FILE?passphrase_file=PATH".
        #[arg(long, value_name = "PATH")]
        passphrase_file: Option<PathBuf>,
    },
}

pub(super) fn run(args: &Key) -> Result<(), Failure> {
    let Key::Generate { file, passphrase_file } = args;
    let made = match passphrase_file {
        None => software::generate_key_file(file),
        Some(passphrase) => software::generate_protected_key_file(file, passphrase),
    };
    made.map_err(|error| Failure::new(Reason::FailedPrecondition.code(), error.to_string()))?;
    print_text(&format!(
        "wrote {}: give the same file to every node of the cluster, and keep a copy where the nodes are not",
        file.display()
    ))
}
