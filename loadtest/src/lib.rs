//! Load for Signet: open loop, bounded, seen from where a client stands.
//!
//! A run walks one way: [`Args`] says what, `drive` prepares and alternates between cluster and floor, `load` plays a
//! `schedule` on open `doors`, `tally` and `cpu` see what happens, `report` prints it.

mod args;
mod clock;
mod cpu;
mod dev;
mod doors;
mod drive;
mod failover;
mod floor;
mod identities;
mod idle;
mod load;
mod report;
mod schedule;
mod scrape;
mod seed;
mod tally;
mod tls;
mod tokens;
mod workload;
mod writes;

use std::io::Write;

use anyhow::{Context, ensure};

pub use args::{Args, Command, Drill, Options, Output, Resting, Writing};
use drive::Planned;
use report::Report;
use serde::Serialize;
use workload::Workload;

/// Runs a load test and prints its report on standard output.
///
/// # Errors
/// The cluster cannot be used as asked, the build is a debug build, or the run failed. The text says what to do.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let (plan, options) = match args.command {
        Command::X509 { batch, options } => (plan(&[Workload::X509 { batch }], &options), options),
        Command::Jwt { options } => (plan(&[Workload::Jwt], &options), options),
        Command::Exchange { fresh_tokens, options } => {
            (plan(&[Workload::Exchange { fresh_tokens }], &options), options)
        }
        Command::All { options } => (plan(&Workload::ALL, &options), options),
        Command::Writes { writing } => {
            release_only(writing.allow_debug)?;
            let report = writes::run(&writing, writing.seed.map_or_else(draw, Ok)?).await?;
            return print(writing.output, &report, report.table());
        }
        Command::Failover { drill } => {
            release_only(drill.allow_debug)?;
            let report = failover::run(&drill).await?;
            return print(drill.output, &report, report.table());
        }
        Command::Idle { resting } => {
            release_only(resting.allow_debug)?;
            let report = idle::run(&resting).await?;
            return print(resting.output, &report, report.table());
        }
        Command::FloorServer { allow_debug } => {
            release_only(allow_debug)?;
            return floor::be().await;
        }
    };
    release_only(options.allow_debug)?;
    let seed = options.seed.map_or_else(draw, Ok)?;
    let measured = drive::run(&plan, &options, seed).await?;
    let report = Report::new(&measured, &options, seed);
    print(options.output, &report, report.table())
}

fn print(output: Output, report: &impl Serialize, table: String) -> anyhow::Result<()> {
    let text = match output {
        Output::Table => table,
        Output::Json => serde_json::to_string_pretty(report)? + "\n",
    };
    std::io::stdout().write_all(text.as_bytes()).context("writing the report")
}

/// What to run, how fast. A rate that was given is for single requests; batches in `all` run at a twentieth of it.
fn plan(workloads: &[Workload], options: &Options) -> Vec<Planned> {
    let several = workloads.len() > 1;
    let rate = |workload: Workload| match options.rate {
        Some(rate) if several && workload.operations() > 1 => (rate / 20).max(1),
        Some(rate) => rate,
        None => workload.default_rate(),
    };
    workloads.iter().map(|&workload| Planned { workload, rate: rate(workload) }).collect()
}

/// Figures of a debug build mislead: its cryptography is optimized, all around it is not.
fn release_only(allow_debug: bool) -> anyhow::Result<()> {
    ensure!(
        allow_debug || !cfg!(debug_assertions),
        "this is a debug build, whose figures would mislead: build with `cargo build --release`, for servers and load test"
    );
    Ok(())
}

fn draw() -> anyhow::Result<u64> {
    let mut bytes = [0_u8; 4];
    aws_lc_rs::rand::fill(&mut bytes).ok().context("the system gave no random bytes for a seed; pass --seed")?;
    Ok(u32::from_be_bytes(bytes).into())
}
