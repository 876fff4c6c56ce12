//! `signet jwt`

use std::path::PathBuf;

use clap::Subcommand;
use signet_model::spiffe_id::SpiffeId;

use super::duration::parse_ttl;
use super::failure::Failure;
use super::node::NodeArgs;

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
    let _ = args;
    todo!()
}
