//! `signet dev`: a cluster of three real servers on loopback under one supervisor, to try things out.

mod access_token;
mod backoff;
mod demo;
mod demo_key;
mod establish;
mod folder;
mod issuer;
mod node_config;
mod plan;
mod pointer;
mod process;
mod report;
mod supervisor;
mod up;
mod wait;
mod welcome;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use signet_model::spiffe_id::TrustDomain;

use crate::cli::Failure;
use crate::duration;

pub(crate) use report::Report;

/// A cluster of three on this machine, to try things out.
///
/// Starts three real servers on loopback, joins them, creates demo entries and a demo exchange rule with an issuer of its
/// own, and restarts a server that dies. Ctrl-C stops it all.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Dev {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: Up,
}

#[derive(Debug, Args)]
struct Up {
    /// Keep data, ports and keys in this folder, and go on from them the next time. [default: a temporary folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The trust domain. [default: dev.local, or that of the folder]
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<TrustDomain>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a user's access token (RFC 9068) of the demo issuer.
    Token(Token),
}

#[derive(Debug, Args)]
struct Token {
    /// The user: `sub` of the token.
    #[arg(long, value_name = "NAME")]
    user: String,
    /// The user's scopes, separated by spaces. [default: all that the demo rule allows]
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// Lifetime.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration::parse)]
    ttl: Duration,
    /// The folder of the running `signet dev`. [default: the one that runs]
    #[arg(long, value_name = "DIR", env = "SIGNET_DEV_DIR")]
    data: Option<PathBuf>,
}

pub(crate) async fn run(args: Dev) -> Result<(), Failure> {
    match args.command {
        Some(Command::Token(token)) => access_token::print(&token),
        None => up::up(&args.up).await,
    }
}

/// The demo cluster that runs in `folder`, or the caller's own one if no folder is named.
///
/// # Errors
/// None is ready there.
pub(crate) fn running(folder: Option<&Path>) -> Result<Report, Failure> {
    Report::read(&pointer::find(folder)?)
}
