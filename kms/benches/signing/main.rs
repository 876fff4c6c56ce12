//! What a signature costs, for each key backend and each algorithm, and how much of an issued credential's processor time
//! is the bare signature: `cargo bench -p signet-kms`, some two minutes. `docs/benchmarks.md` explains the figures.
//!
//! Without `--bench`, which `cargo bench` gives, everything runs once and briefly: a test that it still works.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement stops at the first surprise"
)]

mod backends;
mod bare;
#[allow(dead_code, reason = "the tests need more of it")]
#[path = "../../../tests/support/localstack.rs"]
mod localstack;
mod meter;
mod share;
mod softhsm;

use std::process::ExitCode;
use std::time::Duration;

use self::meter::Plan;

fn main() -> ExitCode {
    // A token's library reads its folder from the environment once, so the work is done by a second process.
    if let Some(code) = softhsm::start_again() {
        return code;
    }
    let earnest = std::env::args().any(|argument| argument == "--bench");
    let plan = if earnest {
        Plan { repeats: 5, window: Duration::from_millis(300) }
    } else {
        Plan { repeats: 1, window: Duration::from_millis(5) }
    };
    if !earnest || cfg!(debug_assertions) {
        println!("A short run, or a debug build: the figures say nothing. `cargo bench -p signet-kms` measures.");
    }
    share::print(plan);
    let cores = std::thread::available_parallelism().unwrap().get();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(cores).enable_all().build().unwrap();
    runtime.block_on(backends::print(plan));
    ExitCode::SUCCESS
}
