//! Signet against programs of others: an OpenID provider, two JOSE libraries, OpenSSL, a shell.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

#[path = "../support/mod.rs"]
mod support;

mod authorities;
mod backups;
mod exchange;
mod pasted;
mod provider;
mod svids;
mod verifiers;
