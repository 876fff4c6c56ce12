//! X.509: requests in, certificates out, and who a presented certificate belongs to.
//!
//! Nothing here signs or rolls dice. A template becomes the bytes to be signed, a key elsewhere signs them, and the
//! two are assembled to a certificate.

pub mod bundle_document;
pub mod ca;
pub mod csr;
pub mod dns;
pub mod leaf;
pub mod peer;

mod public_key;
mod tbs;
mod view;
mod write;

pub use ca::IssuerView;
pub use public_key::{PublicKeyError, PublicKeyKind, SubjectPublicKey};
pub use tbs::{SerialNumber, TbsCertificate, Validity};

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
