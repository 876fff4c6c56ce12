//! The profile, line by line of the SPIFFE checklist, and certificates held against independent readers.

mod algorithms;
mod chain;
mod csr;
mod documents;
mod profile;
mod support;
mod verification;
