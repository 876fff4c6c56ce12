//! `signet key`

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use signet_kms::{KmsError, software, uri};
use signet_model::refusal::Reason;

use super::failure::Failure;
use super::output::{Output, print_json, print_text};

mod ledger;

/// The keys of key backends.
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
    /// Make the key-encryption key of a backend in hardware, once for the whole cluster. A key that is there stays.
    Create {
        /// The backend as `keys.backend` of the nodes has it: pkcs11:token=LABEL;object=KEY?module-path=PATH&pin-source=file:PATH
        #[arg(value_name = "URI")]
        uri: String,
        /// What to print.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// List every key that a deployment has in AWS KMS, and discard what is left over.
    Ledger(ledger::Ledger),
}

pub(super) async fn run(args: &Key) -> Result<(), Failure> {
    match args {
        Key::Generate { file, passphrase_file } => generate(file, passphrase_file.as_deref()),
        Key::Create { uri, output } => create(uri, *output).await,
        Key::Ledger(args) => ledger::run(args).await,
    }
}

async fn create(uri: &str, output: Output) -> Result<(), Failure> {
    let made = uri::create_wrapping_key(uri).await.map_err(failed)?;
    let (created, recipient) = (made.created, made.recipient);
    match output {
        Output::Json => print_json(&json!({ "created": created, "recipient": recipient })),
        Output::Table => {
            let done = if created { "made" } else { "was there already:" };
            print_text(&format!("{done} {recipient}: every node of the cluster gets the same keys.backend"))
        }
    }
}

fn generate(file: &Path, passphrase_file: Option<&Path>) -> Result<(), Failure> {
    let made = match passphrase_file {
        None => software::generate_key_file(file),
        Some(passphrase) => software::generate_protected_key_file(file, passphrase),
    };
    made.map_err(failed)?;
    print_text(&format!(
        "wrote {}: give the same file to every node of the cluster, and keep a copy where the nodes are not",
        file.display()
    ))
}

fn failed(error: KmsError) -> Failure {
    Failure::new(Reason::FailedPrecondition.code(), error.to_string())
}
