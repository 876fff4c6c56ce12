//! The proof on real processes: faults between hosts, recorded histories and a judge that is not ours. `./prove` runs it.
//!
//! What takes minutes is ignored by an ordinary `cargo test`; the judge's own test is not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

#[path = "../support/mod.rs"]
mod support;

mod around;
mod checker;
mod dice;
mod faults;
mod figures;
mod history;
mod issuing;
mod joins;
mod registers;
mod rolling;
mod rounds;
mod transfers;
