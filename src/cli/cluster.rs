//! `signet cluster`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::duration::parse_ttl;
use super::failure::Failure;
use super::node::NodeArgs;

/// Start, join and look at a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// Make the node a cluster of one, with a new trust domain from the node's configuration.
    Init {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Show the members.
    ///
    /// Ends with 0 when a quorum confirmed what is shown. Without a quorum it ends with 3 and shows what this node knows,
    /// marked stale.
    Status {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Write a single-use token with which one new node joins.
    JoinToken {
        /// Where to write it (mode 0600). Give the file to the new node only: `signet server --join-token-file FILE`.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// How long it can be used.
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_ttl)]
        ttl: u32,
        #[command(flatten)]
        node: NodeArgs,
    },
}

pub(super) async fn run(args: Cluster) -> Result<ExitCode, Failure> {
    let _ = args;
    todo!()
}
