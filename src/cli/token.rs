//! `signet token`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::failure::Failure;
use super::output::Output;

/// Look into tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Decode and verify a transaction token, JWT-SVID, X.509-SVID or access token, and say what is wrong with it.
    ///
    /// Ends with 1 when something is wrong. The token is read from a file or standard input, because other users of this
    /// machine can read the arguments of a process.
    Inspect {
        /// Where the token is; standard input if there is none, or for `-`.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// The admin socket of a node, to ask for bundle and keys.
        #[arg(long, value_name = "PATH", env = "SIGNET_SOCKET")]
        socket: Option<PathBuf>,
        /// The trust anchors (PEM) or the SPIFFE bundle document, instead of asking a node.
        #[arg(long, value_name = "FILE")]
        bundle: Option<PathBuf>,
        /// A JWK Set that the token may be signed with, such as a node's /keys. Repeat for more.
        #[arg(long, value_name = "FILE")]
        jwks: Vec<PathBuf>,
        /// Who the token should be for.
        #[arg(long, value_name = "AUDIENCE")]
        audience: Option<String>,
        /// What to print.
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
}

pub(super) async fn run(args: Token) -> Result<ExitCode, Failure> {
    let _ = args;
    todo!()
}
