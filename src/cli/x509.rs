//! `signet x509`

use std::path::PathBuf;

use clap::Subcommand;
use signet_model::spiffe_id::SpiffeId;

use super::duration::parse_ttl;
use super::failure::Failure;
use super::node::NodeArgs;

/// X.509-SVIDs.
#[derive(Debug, Subcommand)]
pub(crate) enum X509 {
    /// Make a key here and have an X.509-SVID issued for it, without an entry. For administrators.
    ///
    /// Only the public key leaves this process. Prints certificates and key as PEM, or writes svid.pem, key.pem (mode
    /// 0600) and bundle.pem into a folder.
    Mint {
        /// The identity.
        #[arg(long, value_name = "ID")]
        spiffe_id: SpiffeId,
        /// Lifetime; the cluster's default if it is not set.
        #[arg(long, value_name = "TIME", value_parser = parse_ttl)]
        ttl: Option<u32>,
        /// A DNS name for the certificate. Repeat for more; the first is also the common name.
        #[arg(long = "dns-name", value_name = "NAME")]
        dns_names: Vec<String>,
        /// Write files into this folder instead of printing; it is made if it is missing.
        #[arg(long, value_name = "DIR")]
        out_dir: Option<PathBuf>,
        #[command(flatten)]
        node: NodeArgs,
    },
}

pub(super) async fn run(args: X509) -> Result<(), Failure> {
    let _ = args;
    todo!()
}
