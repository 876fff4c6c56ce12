//! `signet doctor`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use signet_api::ops::{Check, Verdict};
use signet_raft::Timings;

use super::failure::{EXIT_FAILED, Failure};
use super::node::NodeArgs;
use super::output::{Output, print_json, print_table, print_text};
use crate::doctor::{self, Place};
use crate::server::{Ballast, Config, show_check};
use crate::size;

/// See whether a node, its machine and its cluster are as they should be.
///
/// Asks a running node, which measures itself and the others. With --config and no node running, looks at the
/// configuration, the machine and the data directory. Takes some seconds. Ends with 1 when a check fails.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The node's configuration: its node is asked if it runs, and otherwise its machine is looked at.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Delete the ballast file of the data directory first, to make room on a full disk. A running node puts it back when
    /// there is room again.
    #[arg(long, requires = "config")]
    release_ballast: bool,
    #[command(flatten)]
    node: NodeArgs,
}

pub(super) async fn run(args: Doctor) -> Result<ExitCode, Failure> {
    let Doctor { config, release_ballast, mut node } = args;
    let mut checks = Vec::new();
    if let Some(file) = config {
        match Config::load(&file) {
            Ok(config) => {
                if release_ballast {
                    release(&config.data_dir)?;
                }
                checks.push(config_check(&file, None));
                let socket = node.socket.get_or_insert_with(|| config.admin.socket.clone()).clone();
                match node.call(|client| async move { client.diagnose().await }).await {
                    Ok(online) => checks.extend(online),
                    Err(failure) if failure.is_unreachable() => checks.extend(offline(config, &socket).await?),
                    Err(failure) => return Err(failure),
                }
            }
            Err(mistakes) => {
                checks.push(config_check(&file, Some(mistakes.to_string())));
                let why = "the configuration cannot be used";
                checks.extend(LOCAL.into_iter().chain(doctor::ONLINE).map(|name| doctor::skipped(name, why)));
            }
        }
    } else {
        checks = node.call(|client| async move { client.diagnose().await }).await?;
    }
    show(&checks, node.output)
}

fn release(data_dir: &Path) -> Result<(), Failure> {
    let ballast = Ballast::of(data_dir);
    let freed = ballast.release().map_err(|cause| Failure::file("delete", ballast.path(), cause))?;
    eprintln!("deleted {}: {} free", ballast.path().display(), size::show(freed));
    Ok(())
}

async fn offline(config: Config, socket: &Path) -> Result<Vec<Check>, Failure> {
    let looked = tokio::task::spawn_blocking(move || {
        doctor::local(&Place { data_dir: &config.data_dir, disk: config.disk, timings: &Timings::lan() })
    });
    let mut checks = looked.await.map_err(|cause| Failure::new("internal", cause.to_string()))?;
    let why = format!("no node answers at {}", socket.display());
    checks.extend(doctor::ONLINE.map(|name| doctor::skipped(name, &why)));
    Ok(checks)
}

fn config_check(file: &Path, mistakes: Option<String>) -> Check {
    let measured = file.display().to_string();
    match mistakes {
        None => Check {
            name: "config".to_owned(),
            verdict: Verdict::Ok,
            measured,
            problem: String::new(),
            fix: String::new(),
        },
        Some(problem) => Check {
            name: "config".to_owned(),
            verdict: Verdict::Fail,
            measured,
            problem,
            fix: "correct what is named; docs/configuration.md has every key".to_owned(),
        },
    }
}

fn show(checks: &[Check], output: Output) -> Result<ExitCode, Failure> {
    match output {
        Output::Json => {
            let failed = worst(checks) == Verdict::Fail;
            let checks: Vec<_> = checks.iter().map(show_check).collect();
            print_json(&json!({ "ok": !failed, "checks": checks }))?;
        }
        Output::Table => {
            print_table(
                ["VERDICT", "CHECK", "MEASURED"],
                checks.iter().map(|it| [it.verdict.as_str().to_owned(), it.name.clone(), it.measured.clone()]),
            )?;
            for check in checks.iter().filter(|check| !check.problem.is_empty()) {
                print_text(&format!(
                    "\n{}: {}: {}\n  fix: {}",
                    check.verdict.as_str(),
                    check.name,
                    check.problem,
                    check.fix
                ))?;
            }
        }
    }
    Ok(if worst(checks) == Verdict::Fail { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS })
}

fn worst(checks: &[Check]) -> Verdict {
    [Verdict::Fail, Verdict::Warn]
        .into_iter()
        .find(|verdict| checks.iter().any(|check| check.verdict == *verdict))
        .unwrap_or(Verdict::Ok)
}

/// Names of the checks of machine and data directory.
const LOCAL: [&str; 8] = ["permissions", "fsync", "disk", "ballast", "files", "swap", "core-dumps", "ntp"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_check_fails_the_command() {
        let check = |verdict| Check { verdict, ..doctor::skipped("x", "y") };
        for (verdicts, expected) in [
            (vec![Verdict::Ok, Verdict::Skipped], Verdict::Ok),
            (vec![Verdict::Ok, Verdict::Warn], Verdict::Warn),
            (vec![Verdict::Fail, Verdict::Warn], Verdict::Fail),
        ] {
            assert_eq!(worst(&verdicts.into_iter().map(check).collect::<Vec<_>>()), expected);
        }
    }

    #[test]
    fn the_names_of_local_checks_are_those_that_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let timings = Timings::lan();
        let place = Place { data_dir: dir.path(), disk: Default::default(), timings: &timings };
        let names: Vec<_> = doctor::local(&place).into_iter().map(|check| check.name).collect();
        assert_eq!(names, LOCAL);
    }
}
