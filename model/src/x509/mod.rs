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

pub use ca::IssuerView;
pub use tbs::{SerialNumber, TbsCertificate, Validity};

mod tbs;
