//! What is printed at the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::Options;
use crate::drive::Planned;
use crate::load::Run;
use crate::tally::{Quantiles, median};

/// All that was seen of one workload.
#[derive(Debug)]
pub(crate) struct Measured {
    planned: Planned,
    idle_cores: f64,
    pub(crate) floor: Vec<Run>,
    pub(crate) cluster: Vec<Run>,
}

impl Measured {
    /// Nothing but the idle rate yet.
    pub(crate) const fn new(planned: Planned, idle_cores: f64) -> Self {
        Self { planned, idle_cores, floor: Vec::new(), cluster: Vec::new() }
    }
}

/// The report, as `-o json` prints it. Fields are added, not renamed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    version: &'static str,
    build: &'static str,
    architecture: &'static str,
    cpus: usize,
    seed: u64,
    connections: u16,
    warmup_ms: u128,
    duration_ms: u128,
    timeout_ms: u128,
    repeats: u8,
    workloads: Vec<WorkloadReport>,
}

#[derive(Debug, Serialize)]
struct WorkloadReport {
    workload: String,
    /// Requests begun a second.
    rate: u32,
    /// Credentials in each request.
    operations_per_request: u16,
    /// Processor time of all nodes when nobody asks, as a share of one core.
    idle_cores: f64,
    /// Medians over the repeats; errors are summed.
    cluster: Figures,
    floor: Option<Figures>,
    /// Processor time per operation, cluster to floor.
    ratio: Option<f64>,
    /// The same after the idle rate was taken off the cluster's.
    ratio_less_idle: Option<f64>,
    cluster_runs: Vec<Figures>,
    floor_runs: Vec<Figures>,
}

/// One run, or the medians of several.
#[derive(Debug, Clone, Serialize)]
struct Figures {
    /// Credentials a second.
    throughput: f64,
    /// Servers' processor time per credential, microseconds.
    cpu_us: f64,
    /// The same without what the servers use at rest.
    cpu_less_idle_us: f64,
    /// Per request, from its intended start, microseconds.
    latency_us: Quantiles,
    /// How late this machine began a request at worst, microseconds.
    latest_start_us: u128,
    errors: BTreeMap<String, u64>,
}

impl Report {
    /// Sums up.
    pub(crate) fn new(measured: &[Measured], options: &Options, seed: u64) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
            architecture: std::env::consts::ARCH,
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            seed,
            connections: options.connections,
            warmup_ms: options.warmup.as_millis(),
            duration_ms: options.duration.as_millis(),
            timeout_ms: options.timeout.as_millis(),
            repeats: options.repeats,
            workloads: measured.iter().map(WorkloadReport::new).collect(),
        }
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
        rows.extend(self.workloads.iter().map(WorkloadReport::row));
        let mut text = format!(
            "signet {} ({}, {}), {} CPUs, seed {}, {} connections, warm-up {}, medians of {} × {}\n\n",
            self.version,
            self.build,
            self.architecture,
            self.cpus,
            self.seed,
            self.connections,
            seconds(self.warmup_ms),
            self.repeats,
            seconds(self.duration_ms),
        );
        text.push_str(&aligned(&rows));
        text.push_str(LEGEND);
        for workload in &self.workloads {
            workload.remarks(&mut text);
        }
        text
    }
}

impl WorkloadReport {
    fn new(measured: &Measured) -> Self {
        let operations = measured.planned.workload.operations();
        let figures =
            |runs: &[Run], idle| runs.iter().map(|run| Figures::of(run, operations, idle)).collect::<Vec<_>>();
        let cluster_runs = figures(&measured.cluster, measured.idle_cores);
        let floor_runs = figures(&measured.floor, 0.0);
        let cluster = Figures::median(&cluster_runs);
        let floor = (!floor_runs.is_empty()).then(|| Figures::median(&floor_runs));
        let ratio = |cpu: f64| floor.as_ref().filter(|floor| floor.cpu_us > 0.0).map(|floor| cpu / floor.cpu_us);
        Self {
            workload: measured.planned.workload.name(),
            rate: measured.planned.rate,
            operations_per_request: operations,
            idle_cores: measured.idle_cores,
            ratio: ratio(cluster.cpu_us),
            ratio_less_idle: ratio(cluster.cpu_less_idle_us),
            cluster,
            floor,
            cluster_runs,
            floor_runs,
        }
    }

    fn row(&self) -> Vec<String> {
        let latency = self.cluster.latency_us;
        let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        vec![
            self.workload.clone(),
            self.rate.to_string(),
            format!("{:.0}", self.cluster.throughput),
            self.cluster.errors.values().sum::<u64>().to_string(),
            millis(latency.p50),
            millis(latency.p90),
            millis(latency.p99),
            millis(latency.p999),
            millis(latency.max),
            format!("{:.0}", self.cluster.cpu_us),
            format!("{:.0}", self.cluster.cpu_less_idle_us),
            self.floor.as_ref().map_or_else(|| "-".to_owned(), |floor| format!("{:.0}", floor.cpu_us)),
            ratio(self.ratio),
            ratio(self.ratio_less_idle),
        ]
    }

    /// What a reader must know before believing the row.
    fn remarks(&self, text: &mut String) {
        let mut remark = |line: String| {
            text.push_str(&format!("{}: {line}\n", self.workload));
        };
        remark(format!("at rest the cluster uses {:.3} of a core", self.idle_cores));
        for (who, figures) in [("cluster", Some(&self.cluster)), ("floor", self.floor.as_ref())] {
            let Some(figures) = figures else { continue };
            for (code, count) in &figures.errors {
                remark(format!("{who}: {count} × {code}"));
            }
            let asked = f64::from(self.rate) * f64::from(self.operations_per_request);
            if figures.throughput < asked * HELD {
                remark(format!("{who}: {:.0}/s of {asked:.0}/s were done: lower --rate", figures.throughput));
            }
            if figures.latest_start_us > LATE_START_US {
                remark(format!(
                    "{who}: this machine began a request up to {:.1} ms late, which the latencies include",
                    Duration::from_micros(u64::try_from(figures.latest_start_us).unwrap_or(u64::MAX)).as_secs_f64()
                        * 1e3
                ));
            }
        }
    }
}

impl Figures {
    fn of(run: &Run, operations: u16, idle_cores: f64) -> Self {
        let window = run.window.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^52")]
        let done = run.completed as f64 * f64::from(operations);
        let per_operation = |seconds: f64| if done > 0.0 { seconds * 1e6 / done } else { 0.0 };
        let cpu = run.cpu.as_secs_f64();
        Self {
            throughput: if window > 0.0 { done / window } else { 0.0 },
            cpu_us: per_operation(cpu),
            cpu_less_idle_us: per_operation((cpu - idle_cores * window).max(0.0)),
            latency_us: run.tally.quantiles(),
            latest_start_us: run.latest_start.as_micros(),
            errors: run.tally.errors().clone(),
        }
    }

    fn median(runs: &[Self]) -> Self {
        let middle = |of: fn(&Self) -> f64| median(runs.iter().map(of)).unwrap_or(0.0);
        #[expect(clippy::cast_precision_loss, reason = "latencies in microseconds are far below 2^52")]
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two values of the type")]
        let quantile = |of: fn(&Quantiles) -> u64| {
            median(runs.iter().map(|run| of(&run.latency_us) as f64)).unwrap_or(0.0).round() as u64
        };
        let mut errors = BTreeMap::new();
        for (code, count) in runs.iter().flat_map(|run| &run.errors) {
            *errors.entry(code.clone()).or_default() += count;
        }
        Self {
            throughput: middle(|run| run.throughput),
            cpu_us: middle(|run| run.cpu_us),
            cpu_less_idle_us: middle(|run| run.cpu_less_idle_us),
            latency_us: Quantiles {
                p50: quantile(|latency| latency.p50),
                p90: quantile(|latency| latency.p90),
                p99: quantile(|latency| latency.p99),
                p999: quantile(|latency| latency.p999),
                max: quantile(|latency| latency.max),
            },
            latest_start_us: runs.iter().map(|run| run.latest_start_us).max().unwrap_or(0),
            errors,
        }
    }
}

fn seconds(millis: u128) -> String {
    if millis.is_multiple_of(1000) { format!("{} s", millis / 1000) } else { format!("{millis} ms") }
}

/// Microseconds as milliseconds.
pub(crate) fn millis(micros: u64) -> String {
    format!("{:.2}", Duration::from_micros(micros).as_secs_f64() * 1e3)
}

/// Columns as wide as their widest cell, the first flush left.
pub(crate) fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
    };
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            // Writing to a String does not fail.
            let _ = if column == 0 { write!(text, "{cell:<width$}") } else { write!(text, "  {cell:>width$}") };
        }
        text.push('\n');
    }
    text
}

const HEAD: [&str; 14] = [
    "workload",
    "rate/s",
    "done/s",
    "errors",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "max",
    "CPU",
    "less idle",
    "floor",
    "ratio",
    "less idle",
];

const LEGEND: &str = "
rate: requests begun a second. done: credentials issued a second. p50 … max: milliseconds from a request's intended start.
CPU: the servers' processor time per credential in microseconds, all nodes together; less idle: without what they use when
nobody asks. floor: the same for a server that does the bare cryptography. ratio: CPU to floor, both ways.

";

/// Less than this share of the rate means that it was not held.
const HELD: f64 = 0.98;
/// Later than this shows in the latencies.
const LATE_START_US: u128 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Tally;
    use crate::workload::Workload;

    fn run(completed: u64, cpu_ms: u64) -> Run {
        let mut tally = Tally::new();
        for _ in 0..completed {
            tally.success(Duration::from_micros(1500));
        }
        tally.failure("Unavailable".to_owned());
        Run {
            tally,
            window: Duration::from_secs(2),
            completed,
            cpu: Duration::from_millis(cpu_ms),
            latest_start: Duration::from_micros(80),
        }
    }

    fn options() -> Options {
        use clap::Parser as _;
        let args = crate::Args::parse_from(["signet", "x509", "--dev", "/d"]);
        let crate::Command::X509 { options, .. } = args.command else { unreachable!() };
        options
    }

    fn measured(workload: Workload) -> Measured {
        Measured {
            planned: Planned { workload, rate: 500 },
            idle_cores: 0.02,
            floor: vec![run(1000, 100), run(1000, 120), run(1000, 500)],
            cluster: vec![run(1000, 240), run(1000, 900), run(1000, 200)],
        }
    }

    fn json(workload: Workload) -> serde_json::Value {
        serde_json::to_value(Report::new(&[measured(workload)], &options(), 7)).unwrap()["workloads"][0].clone()
    }

    #[test]
    fn cpu_per_operation_is_the_median_run_and_the_ratio_is_to_the_floors_median() {
        let workload = json(Workload::Jwt);
        assert_eq!(workload["cluster"]["cpu_us"], 240.0);
        assert_eq!(workload["floor"]["cpu_us"], 120.0);
        assert_eq!(workload["ratio"], 2.0);
        // 0.02 of a core over 2 s are 40 ms.
        assert!((workload["cluster"]["cpu_less_idle_us"].as_f64().unwrap() - 200.0).abs() < 1e-9);
        assert!((workload["ratio_less_idle"].as_f64().unwrap() - 200.0 / 120.0).abs() < 1e-9);
        assert_eq!(workload["cluster"]["errors"]["Unavailable"], 3);
        assert_eq!(workload["cluster"]["throughput"], 500.0);
    }

    #[test]
    fn a_batch_counts_its_credentials() {
        let workload = json(Workload::X509 { batch: 50 });
        assert_eq!(workload["cluster"]["throughput"], 25_000.0);
        assert!((workload["cluster"]["cpu_us"].as_f64().unwrap() - 4.8).abs() < 1e-9);
    }

    #[test]
    fn without_a_floor_there_is_no_ratio() {
        let mut measured = measured(Workload::Jwt);
        measured.floor.clear();
        let report = Report::new(&[measured], &options(), 7);
        let value = serde_json::to_value(&report).unwrap();
        assert!(value["workloads"][0]["ratio"].is_null());
        assert!(report.table().contains(" -"));
    }

    #[test]
    fn the_table_says_what_was_run_and_warns_of_errors_and_a_rate_not_held() {
        let mut measured = measured(Workload::Jwt);
        measured.planned.rate = 5000;
        let text = Report::new(&[measured], &options(), 7).table();
        for expected in
            ["seed 7", "16 connections", "medians of 3 × 10 s", "3 × Unavailable", "lower --rate", "0.020 of a core"]
        {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }
}
