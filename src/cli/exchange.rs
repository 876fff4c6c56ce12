//! `signet exchange`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::failure::Failure;

/// Exchange a user's token for a transaction token (RFC 8693).
///
/// The caller proves who it is by an X.509-SVID (--svid and --key) or by a JWT-SVID (--client-assertion-file) whose
/// audience is the token issuer.
#[derive(Debug, Args)]
pub(crate) struct Exchange {
    /// A node's HTTPS address, such as https://tts.example.org:8443. [default: the running `signet dev`]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The trust anchors that the server's certificate must lead to (PEM). [default: asked of --socket if that is given,
    /// else those of the running `signet dev`]
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// The admin socket of a node, to ask for the trust anchors.
    #[arg(long, value_name = "PATH", env = "SIGNET_SOCKET")]
    socket: Option<PathBuf>,
    /// The user's token; standard input if there is none, or for `-`.
    #[arg(long, value_name = "FILE")]
    subject_token_file: Option<PathBuf>,
    /// What the subject token is.
    #[arg(long, value_enum, default_value_t)]
    subject_token_type: SubjectTokenType,
    /// The trust domain that the transaction token is for. [default: that of the running `signet dev`]
    #[arg(long, value_name = "TRUST-DOMAIN")]
    audience: Option<String>,
    /// The scopes asked for, separated by spaces.
    #[arg(long, value_name = "SCOPES")]
    scope: String,
    /// The caller's X.509-SVID with its chain (PEM).
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "client_assertion_file")]
    svid: Option<PathBuf>,
    /// The key of --svid (PEM).
    #[arg(long, value_name = "FILE", requires = "svid")]
    key: Option<PathBuf>,
    /// The caller's JWT-SVID.
    #[arg(long, value_name = "FILE")]
    client_assertion_file: Option<PathBuf>,
    /// What the transaction is about, a JSON object; it may end up in `tctx`.
    #[arg(long, value_name = "JSON")]
    request_details: Option<String>,
    /// The request's surroundings, a JSON object; it may end up in `rctx`.
    #[arg(long, value_name = "JSON")]
    request_context: Option<String>,
    /// What to print.
    #[arg(long, short, value_enum, default_value_t)]
    output: ExchangeOutput,
}

/// Token types of RFC 8693 §3 that are taken as subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum SubjectTokenType {
    /// An access token of a configured issuer (RFC 9068).
    #[default]
    AccessToken,
    /// A JWT, such as a JWT-SVID.
    Jwt,
}

/// What to print of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ExchangeOutput {
    /// The answer in a few lines, with the token last.
    #[default]
    Table,
    /// The answer as it came.
    Json,
    /// Only the token.
    Token,
}

pub(super) async fn run(args: Exchange) -> Result<(), Failure> {
    let _ = args;
    todo!()
}
