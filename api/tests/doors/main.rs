//! The doors over real sockets, before a service that answers by the book.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests may do what tests may"
)]

mod authorities;
mod authorization;
mod batches;
mod documents;
mod fake;
mod lifecycle;
mod node;
mod ops;
mod overload;
mod pki;
mod recipients;
mod retries;
mod statuses;
mod tls;
mod token;
