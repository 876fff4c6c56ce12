//! Whole clusters of real server processes on loopback: what they do when nodes are killed, cut off, or asked for what
//! they must refuse.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

#[path = "../support/mod.rs"]
mod support;

mod algorithms;
mod all_killed;
mod backup;
mod dev;
mod disk;
mod doctor;
mod give_way;
mod kms;
mod leader_killed;
mod lease;
mod members;
mod operator;
mod outside;
mod pages;
mod recipients;
mod recover;
mod refusals;
mod retries;
mod rolling;
mod rotation;
mod secrets;
#[cfg(debug_assertions)]
mod upgrade;
