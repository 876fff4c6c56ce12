//! `signet bundle`

use clap::{Subcommand, ValueEnum};

use super::failure::Failure;
use super::node::NodeArgs;

/// What verifies this trust domain's SVIDs.
#[derive(Debug, Subcommand)]
pub(crate) enum Bundle {
    /// Print the bundle.
    Show {
        /// In which form. With `-o json` always the SPIFFE document.
        #[arg(long, value_enum, default_value_t)]
        format: BundleFormat,
        #[command(flatten)]
        node: NodeArgs,
    },
}

/// The forms of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum BundleFormat {
    /// The X.509 trust anchors.
    #[default]
    Pem,
    /// The SPIFFE bundle document: a JWK Set with X.509 anchors and JWT keys.
    Spiffe,
}

pub(super) async fn run(args: Bundle) -> Result<(), Failure> {
    let _ = args;
    todo!()
}
