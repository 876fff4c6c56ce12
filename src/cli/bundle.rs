//! `signet bundle`

use clap::{Subcommand, ValueEnum};
use signet_model::svid::TrustBundle;
use signet_model::x509::bundle_document;

use super::failure::Failure;
use super::node::NodeArgs;
use super::output::{Output, print_text};

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
    let Bundle::Show { format, node } = args;
    let bundle = node.call(|client| async move { client.bundle().await }).await?;
    match (node.output, format) {
        (Output::Table, BundleFormat::Pem) => print_text(&pem(&bundle)),
        (Output::Json, _) | (Output::Table, BundleFormat::Spiffe) => print_text(&document(&bundle)?),
    }
}

/// The trust anchors, PEM.
pub(crate) fn pem(bundle: &TrustBundle) -> String {
    let anchors: Vec<&[u8]> =
        bundle.x509_authorities.iter().map(|authority| authority.certificate.as_slice()).collect();
    bundle_document::to_pem(&anchors)
}

fn document(bundle: &TrustBundle) -> Result<String, Failure> {
    let failed =
        |cause: &dyn std::fmt::Display| Failure::new("protocol", format!("the node's bundle has no document: {cause}"));
    let json = bundle_document::to_json(bundle).map_err(|cause| failed(&cause))?;
    String::from_utf8(json).map_err(|cause| failed(&cause))
}
