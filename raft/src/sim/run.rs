//! Seeds, each in a process of its own, and what they come to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::clients::Told;
use super::cluster::Cluster;
use super::faults::Fault;
use super::oracle;
use super::world::{World, world};

/// Runs the seed in `SIGNET_SIM_SEED`; `SIGNET_SIM_TRACE` names a file for its trace. Nothing to do without a seed.
#[test]
fn one_seed() {
    let Some(seed) = number("SIGNET_SIM_SEED") else { return };
    let trace = std::env::var_os("SIGNET_SIM_TRACE").map(PathBuf::from);
    let world = World::begin(seed, trace.as_deref());
    std::panic::set_hook(Box::new(|panic| {
        let trace = std::backtrace::Backtrace::force_capture();
        eprintln!("{panic}\n{trace}");
        if let Some(world) = super::world::find() {
            world.violated(format_args!("{panic}"));
        }
    }));
    watch_over(Arc::clone(&world));
    let memory = PathBuf::from("/dev/shm");
    let memory = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let root = tempfile::Builder::new().prefix("signet-sim-").tempdir_in(memory).unwrap();
    let mut cluster = Cluster::new(&world, root.path(), seed);
    if cluster.form() {
        cluster.storm(number("SIGNET_SIM_MILLIS").unwrap_or(STORM));
        if world.violation().is_none() {
            cluster.heal();
        }
    }
    let history = cluster.clients.history.lock().unwrap().clone();
    if world.violation().is_none()
        && let Err(what) = oracle::judge(&history, &world.checks.lock().unwrap())
    {
        world.violated(format_args!("{what}"));
    }
    let done = |told: &Told| matches!(told, Told::Done { .. } | Told::Value { .. });
    let answered = history.iter().filter(|operation| operation.ended.as_ref().is_some_and(|(_, told)| done(told)));
    report(seed, history.len(), answered.count());
    drop(cluster);
    let violation = world.violation();
    assert!(violation.is_none(), "seed {seed}: {}", violation.unwrap_or_default());
}

/// A node that never ends its turn would hang the simulation: that is a fault, too.
fn watch_over(world: Arc<World>) {
    std::thread::spawn(move || {
        loop {
            let (now, turn) = (world.now(), world.turn());
            std::thread::sleep(PATIENCE);
            if now == world.now() && turn == world.turn() {
                eprintln!("at {now} ms: n{turn} does not end its turn");
                std::process::abort();
            }
        }
    });
}

/// One line that the parent reads.
fn report(seed: u64, operations: usize, answered: usize) {
    let world = world();
    let (hash, events) = world.traced();
    let checks = world.checks.lock().unwrap();
    let report = serde_json::json!({
        "seed": seed, "hash": format!("{hash:016x}"), "events": events, "millis": world.now(), "operations": operations,
        "answered": answered, "committed": checks.committed.len(), "leaders": checks.leaders,
        "snapshots": checks.snapshots, "packets": world.net.lock().unwrap().sent,
        "faults": *world.fired.lock().unwrap(),
    });
    println!("\n{MARK}{report}");
}

/// As many seeds as `SIGNET_SIM_SEEDS` says, from `SIGNET_SIM_FIRST` on, two at a time, and the first one twice.
#[test]
fn no_storm_makes_a_cluster_forget_or_disagree() {
    if number("SIGNET_SIM_SEED").is_some() {
        return;
    }
    let began = Instant::now();
    let (first, seeds) = (number("SIGNET_SIM_FIRST").unwrap_or(FIRST), number("SIGNET_SIM_SEEDS").unwrap_or(SEEDS));
    let next = AtomicU64::new(0);
    let reports = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth > seeds {
                        return;
                    }
                    // The last one is the first one again.
                    let report = child(first + nth % seeds);
                    reports.lock().unwrap().push((nth, report));
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap();
    reports.sort_by_key(|(nth, _)| *nth);
    let failed: Vec<_> = reports.iter().filter_map(|(_, report)| report.as_ref().err()).collect();
    let good: Vec<_> = reports.iter().filter_map(|(_, report)| report.as_ref().ok()).collect();
    let count = |field: &str| good.iter().filter_map(|report| report[field].as_u64()).sum::<u64>();
    let mut faults: BTreeMap<&str, u64> = Fault::ALL.iter().map(|fault| (fault.name(), 0)).collect();
    for report in &good {
        for (kind, fired) in report["faults"].as_object().unwrap() {
            *faults.get_mut(kind.as_str()).unwrap() += fired.as_u64().unwrap();
        }
    }
    let same = failed.is_empty() && good.first().map(|it| &it["hash"]) == good.last().map(|it| &it["hash"]);
    let listed: Vec<_> = faults.iter().map(|(kind, fired)| format!("{kind} {fired}")).collect();
    println!(
        "simulation: seeds {seeds}, virtual time {} s, operations {} ({} answered), log entries {}, elections {}, \
         snapshots {}, packets {}, faults by kind: {}, violations {}, replayed twice: {}, {} s",
        count("millis") / 1000,
        count("operations"),
        count("answered"),
        count("committed"),
        count("leaders"),
        count("snapshots"),
        count("packets"),
        listed.join(", "),
        failed.len(),
        if same { "same" } else { "DIFFERENT" },
        began.elapsed().as_secs(),
    );
    assert!(failed.is_empty(), "{}", failed.iter().map(|it| it.as_str()).collect::<Vec<_>>().join("\n"));
    assert!(same, "seed {first} does not replay: {:?} and {:?}", good.first(), good.last());
    let never: Vec<_> = faults.iter().filter(|(_, fired)| **fired == 0).map(|(kind, _)| *kind).collect();
    assert!(seeds < SEEDS || never.is_empty(), "void: never fired: {never:?}");
    assert!(count("answered") * 4 > count("operations"), "void: hardly anything was answered");
}

/// One seed in a process of its own.
fn child(seed: u64) -> Result<serde_json::Value, String> {
    let program = std::env::current_exe().unwrap();
    let run = Command::new(program)
        .args(["sim::run::one_seed", "--exact", "--nocapture", "--test-threads=1"])
        .env("SIGNET_SIM_SEED", seed.to_string())
        .output()
        .unwrap();
    let (said, cried) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    let report = said.lines().find_map(|line| line.strip_prefix(MARK));
    match report {
        Some(report) if run.status.success() => Ok(serde_json::from_str(report).unwrap()),
        _ => Err(format!(
            "seed {seed} failed; again, with its trace: SIGNET_SIM_SEED={seed} SIGNET_SIM_TRACE=/tmp/sim-{seed} cargo test \
             -p signet-raft sim::run::one_seed -- --nocapture\n{}\n{cried}",
            report.unwrap_or_default()
        )),
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

const MARK: &str = "simulated: ";
/// In real time.
const PATIENCE: Duration = Duration::from_secs(60);
const FIRST: u64 = 1;
const SEEDS: u64 = 8;
/// How long the storm lasts, in virtual milliseconds; `SIGNET_SIM_MILLIS` says otherwise.
const STORM: u64 = 8_000;
