//! What the whole-cluster tests share: real server processes, the command line, clients, an issuer of users' tokens.
#![allow(dead_code, reason = "each test program uses a part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

pub(crate) mod agent;
pub(crate) mod cli;
pub(crate) mod clock;
pub(crate) mod cluster;
pub(crate) mod dev;
pub(crate) mod gaps;
pub(crate) mod kms;
pub(crate) mod load;
pub(crate) mod localstack;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod peers;
pub(crate) mod ports;
pub(crate) mod secrets;
pub(crate) mod softhsm;
pub(crate) mod users;
pub(crate) mod versitygw;
pub(crate) mod wait;

/// Prints figures, which the test program keeps to itself when all is well if they come by `println!`.
pub(crate) fn say(text: &str) {
    use std::io::Write as _;
    writeln!(std::io::stdout().lock(), "{text}").unwrap();
}
