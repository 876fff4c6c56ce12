//! How a command reaches a node.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::output::Output;
use super::parse_duration;

/// Which node to talk to, and how to answer.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Node")]
pub(crate) struct NodeArgs {
    /// The admin socket of a node.
    #[arg(long, value_name = "PATH", env = "SIGNET_SOCKET", default_value = DEFAULT_SOCKET)]
    pub(crate) socket: PathBuf,
    /// What to print.
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// How long to wait for an answer.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
}

const DEFAULT_SOCKET: &str = "/run/signet/admin.sock";
