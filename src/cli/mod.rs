//! The command line: `signet NOUN VERB`.

mod authority;
mod bundle;
mod cluster;
mod config;
mod debug;
mod doctor;
mod duration;
mod entry;
mod exchange;
mod failure;
mod files;
mod jwt;
mod key;
mod members;
mod node;
mod output;
mod policy;
mod recipient;
mod recover;
mod server;
mod snapshot;
mod timestamp;
mod token;
mod upgrade;
mod x509;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{dev, memory};

pub(crate) use bundle::pem as bundle_pem;
pub(crate) use failure::Failure;
pub(crate) use files::{write_public, write_secret};
pub(crate) use node::connect;
pub(crate) use output::print_text;

/// The trust-domain authority that does not go down: SPIFFE identities and transaction tokens, replicated by Raft.
#[derive(Debug, Parser)]
#[command(name = "signet", version, after_help = EXIT_CODES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one node.
    Server(server::Server),
    /// Start, join and look at a cluster.
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    /// Registration entries: who may get which identity.
    #[command(subcommand)]
    Entry(entry::Entry),
    /// X.509-SVIDs.
    #[command(subcommand)]
    X509(x509::X509),
    /// JWT-SVIDs.
    #[command(subcommand)]
    Jwt(jwt::Jwt),
    /// What verifies this trust domain's SVIDs.
    #[command(subcommand)]
    Bundle(bundle::Bundle),
    /// Backups of a cluster: save, look into, restore.
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
    /// When a majority of the nodes is gone for good: make a survivor a new cluster.
    #[command(subcommand)]
    Recover(recover::Recover),
    /// The keys by which the trust domain speaks: what signs, what will, what did.
    #[command(subcommand)]
    Authority(authority::Authority),
    /// Who can open the keys: the key-encryption keys that they are wrapped for.
    #[command(subcommand)]
    Recipient(recipient::Recipient),
    /// Which tokens may be exchanged by whom.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Exchange a user's token for a transaction token (RFC 8693).
    Exchange(exchange::Exchange),
    /// Look into tokens.
    #[command(subcommand)]
    Token(token::Token),
    /// The keys of key backends.
    #[command(subcommand)]
    Key(key::Key),
    /// A server's configuration.
    #[command(subcommand)]
    Config(config::Config),
    /// See whether a node, its machine and its cluster are as they should be.
    Doctor(doctor::Doctor),
    /// For bug reports.
    #[command(subcommand)]
    Debug(debug::Debug),
    /// A cluster of three on this machine, to try things out.
    Dev(dev::Dev),
    /// Put a fixed load on a cluster and say what it costs.
    Loadtest(signet_loadtest::Args),
}

/// Reads the arguments and does what they say.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match run(cli.command) {
        Ok(exit) => exit,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    if let Err(cause) = memory::keep_private() {
        eprintln!(
            "warning: core dumps of this process cannot be switched off ({cause}): a crash could write keys to disk"
        );
    }
    // Fails only when a provider is installed already, and then it is this one: the program holds no other.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|cause| Failure::new("io", format!("the runtime did not start: {cause}")))?;
    runtime.block_on(dispatch(command))
}

async fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Server(args) => server::run(&args).await,
        Command::Cluster(args) => return cluster::run(args).await,
        Command::Entry(args) => entry::run(args).await,
        Command::X509(args) => x509::run(args).await,
        Command::Jwt(args) => jwt::run(args).await,
        Command::Bundle(args) => bundle::run(args).await,
        Command::Snapshot(args) => snapshot::run(args).await,
        Command::Recover(args) => recover::run(args).await,
        Command::Authority(args) => authority::run(args).await,
        Command::Recipient(args) => recipient::run(args).await,
        Command::Policy(args) => policy::run(args).await,
        Command::Exchange(args) => exchange::run(args).await,
        Command::Token(args) => return token::run(args).await,
        Command::Key(args) => key::run(&args).await,
        Command::Config(args) => config::run(&args),
        Command::Doctor(args) => return doctor::run(args).await,
        Command::Debug(args) => debug::run(args).await,
        Command::Dev(args) => dev::run(args).await,
        Command::Loadtest(args) => signet_loadtest::run(args).await.map_err(|cause| Failure::chain("loadtest", &cause)),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// Prints help and version as they are, and mistakes with a code like every other error.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return if error.print().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let text = error.render().to_string();
    eprint!("{}", text.strip_prefix("error:").map_or_else(|| text.clone(), |rest| format!("error[usage]:{rest}")));
    ExitCode::from(failure::EXIT_USAGE)
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused or failed
  2  the command line is wrong
  3  the cluster has no quorum now: retry

Errors go to standard error as `error[CODE]: sentence`. The codes are stable, the sentences are not.
Lifetimes are written 90s, 5m, 12h or 7d; a bare number is seconds.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_that_talks_to_a_node_takes_socket_and_output() {
        let commands: &[&[&str]] = &[
            &["cluster", "init"],
            &["cluster", "status"],
            &["cluster", "join-token"],
            &["cluster", "upgrade", "status"],
            &["cluster", "upgrade", "finalize"],
            &["doctor"],
            &["debug", "bundle"],
            &["cluster", "members"],
            &["cluster", "promote"],
            &["cluster", "demote"],
            &["cluster", "remove"],
            &["cluster", "transfer-leader"],
            &["cluster", "drain"],
            &["cluster", "hash"],
            &["cluster", "reset-time"],
            &["entry", "create"],
            &["entry", "list"],
            &["entry", "show"],
            &["entry", "update"],
            &["entry", "delete"],
            &["x509", "mint"],
            &["jwt", "mint"],
            &["bundle", "show"],
            &["snapshot", "save"],
            &["snapshot", "status"],
            &["authority", "show"],
            &["authority", "prepare"],
            &["authority", "activate"],
            &["authority", "taint"],
            &["authority", "revoke"],
            &["authority", "rotate"],
            &["recipient", "list"],
            &["recipient", "add"],
            &["recipient", "remove"],
            &["recipient", "place-roots"],
            &["policy", "apply"],
            &["policy", "show"],
            &["exchange"],
            &["token", "inspect"],
        ];
        for path in commands {
            let mut command = Cli::command();
            for name in *path {
                command = command.find_subcommand(name).unwrap_or_else(|| panic!("no {name} in {path:?}")).clone();
            }
            for wanted in ["socket", "output"] {
                assert!(command.get_arguments().any(|arg| arg.get_long() == Some(wanted)), "{path:?} lacks --{wanted}");
            }
        }
    }

    #[test]
    fn refuses_a_spiffe_id_that_is_none() {
        let error =
            Cli::try_parse_from(["signet", "jwt", "mint", "--spiffe-id", "http://x/y", "--audience", "a"]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("--spiffe-id") && text.contains("begins with \"spiffe://\""), "{text}");
    }
}
