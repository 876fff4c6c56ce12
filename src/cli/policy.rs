//! `signet policy`

use std::path::PathBuf;

use clap::Subcommand;

use super::failure::Failure;
use super::node::NodeArgs;

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
        node: NodeArgs,
    },
    /// Check a document without a cluster, and name every mistake.
    Check {
        /// The document; `-` reads standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

pub(super) async fn run(args: Policy) -> Result<(), Failure> {
    let _ = args;
    todo!()
}
