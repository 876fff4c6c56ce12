//! `signet jwt`

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use signet_api::client::AdminClient;
use signet_model::spiffe_id::SpiffeId;

use super::duration::parse_ttl;
use super::failure::Failure;
use super::files::write_secret;
use super::node::NodeArgs;
use super::output::{Output, print_json, print_text};

/// JWT-SVIDs.
#[derive(Debug, Subcommand)]
pub(crate) enum Jwt {
    /// Have a JWT-SVID issued, without an entry. For administrators.
    ///
    /// The token is a bearer credential: whoever reads it can use it.
    Mint {
        /// The identity.
        #[arg(long, value_name = "ID")]
        spiffe_id: SpiffeId,
        /// Who is to accept it. Repeat or name several.
        #[arg(long, value_name = "AUDIENCE", required = true, num_args = 1..)]
        audience: Vec<String>,
        /// Lifetime; the cluster's default if it is not set.
        #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
        ttl: Option<u32>,
        /// Write the token to this file (mode 0600) instead of printing it.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        node: NodeArgs,
    },
}

pub(super) async fn run(args: Jwt) -> Result<(), Failure> {
    let Jwt::Mint { spiffe_id, audience, ttl, out, node } = args;
    let mint = |client: AdminClient| async move { client.mint_jwt_svid(&spiffe_id, &audience, ttl.unwrap_or(0)).await };
    let svid = node.call(mint).await?;
    if let Some(file) = &out {
        write_secret(file, svid.token.as_bytes())?;
    }
    let token = if out.is_none() { Some(svid.token.as_str()) } else { None };
    match (node.output, token) {
        (Output::Json, _) => print_json(&json!({
            "spiffe_id": svid.spiffe_id,
            "issued_at": svid.issued_at_secs,
            "expires_at": svid.expires_at_secs,
            "token": token,
            "file": out,
        })),
        (Output::Table, Some(token)) => print_text(token),
        // The token is where it was wanted, and standard output may be read by somebody else.
        (Output::Table, None) => Ok(()),
    }
}
