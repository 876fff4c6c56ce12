//! X.509: requests in, certificates out, and who a presented certificate belongs to.
//!
//! Nothing here signs or rolls dice. A template becomes the bytes to be signed, a key elsewhere signs them, and the
//! two are assembled to a certificate.

pub mod bundle_document;
pub mod ca;
pub mod ca_request;
pub mod chain;
pub mod csr;
pub mod dns;
pub mod leaf;
pub mod peer;

mod public_key;
mod signed;
mod tbs;
mod view;
mod write;

pub use ca::IssuerView;
pub use public_key::{PublicKeyError, PublicKeyKind, SubjectPublicKey};
pub use tbs::{SerialNumber, TbsCertificate, Validity};

/// The subject of a certificate (DER) for people, as RFC 4514 writes names.
#[must_use]
pub fn subject_text(certificate: &[u8]) -> Option<String> {
    view::CertificateView::parse(certificate).ok().map(|view| view.subject_text)
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
