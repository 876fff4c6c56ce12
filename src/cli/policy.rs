//! `signet policy`

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use signet_model::refusal::Reason;

use super::failure::Failure;
use super::node::{NodeArgs, ReadArgs};
use super::output::{Output, print_json, print_text};

/// Which tokens may be exchanged by whom.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Replace the cluster's policy by this document (YAML: `issuers` and `rules`).
    Apply {
        /// The document; `-` reads standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Refuse if the policy is not at this version now; 0 means that there is none yet.
        #[arg(long, value_name = "N")]
        expected_version: Option<u64>,
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Print the cluster's policy.
    Show {
        #[command(flatten)]
        read: ReadArgs,
    },
    /// Check a document without a cluster, and name every mistake.
    Check {
        /// The document; `-` reads standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

pub(super) async fn run(args: Policy) -> Result<(), Failure> {
    match args {
        Policy::Apply { file, expected_version, node } => apply(&file, expected_version, &node).await,
        Policy::Show { read } => show(&read).await,
        Policy::Check { file } => check(&file),
    }
}

async fn apply(file: &Path, expected_version: Option<u64>, node: &NodeArgs) -> Result<(), Failure> {
    let document = read_document(file)?;
    let version = node.call(|client| async move { client.apply_policy(document, expected_version).await }).await?;
    match node.output {
        Output::Table => print_text(&format!("the policy now has version {version}")),
        Output::Json => print_json(&json!({ "version": version })),
    }
}

async fn show(read: &ReadArgs) -> Result<(), Failure> {
    let (version, document) = read.call(|client| async move { client.policy().await }).await?;
    match read.node.output {
        Output::Table if version == 0 => {
            eprintln!("there is no policy yet: every exchange is denied");
            Ok(())
        }
        Output::Table => {
            eprintln!("version {version}");
            print_text(&document)
        }
        Output::Json => print_json(&json!({ "version": version, "document": document })),
    }
}

fn check(file: &Path) -> Result<(), Failure> {
    let document = read_document(file)?;
    match signet_model::policy::Policy::parse(&document) {
        Ok(policy) => {
            print_text(&format!("in order: {} issuers, {} rules", policy.issuers().len(), policy.rules().len()))
        }
        Err(mistakes) => Err(Failure::new(Reason::InvalidArgument.code(), format!("{}\n{mistakes}", file.display()))),
    }
}

fn read_document(file: &Path) -> Result<String, Failure> {
    let mut document = String::new();
    let read = if file == Path::new("-") {
        io::stdin().lock().take(MAX_DOCUMENT_BYTES).read_to_string(&mut document)
    } else {
        File::open(file).and_then(|open| open.take(MAX_DOCUMENT_BYTES).read_to_string(&mut document))
    };
    read.map_err(|cause| Failure::file("read", file, cause))?;
    Ok(document)
}

/// Far beyond what a server takes, so that it says so and not we.
const MAX_DOCUMENT_BYTES: u64 = 16 * 1024 * 1024;
