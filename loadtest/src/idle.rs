//! What a cluster costs that nobody asks anything: processor time, memory and wake-ups of each node, as Linux counts them.

use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use signet_api::client::AdminClient;
use signet_api::service::EntryFilter;

use crate::args::Resting;
use crate::clock::Stopwatch;
use crate::cpu;
use crate::dev::{Cluster, Node};
use crate::report::aligned;
use crate::schedule::Timeline as _;
use crate::scrape;

/// What was seen, as `-o json` prints it. Fields are added, not renamed.
#[derive(Debug, Serialize)]
pub(crate) struct IdleReport {
    build: &'static str,
    cpus: usize,
    duration_ms: u128,
    /// Registration entries there are.
    entries: u32,
    nodes: Vec<NodeReport>,
}

/// One node.
#[derive(Debug, Serialize)]
struct NodeReport {
    id: u64,
    leader: bool,
    /// User and kernel time divided by the time that passed: 0.01 is a hundredth of a core.
    cores: f64,
    /// The pages of the process that are in memory, those of its program file included.
    resident_bytes: u64,
    /// How often a second one of its threads went to sleep by itself, and was woken again.
    wakeups_per_second: f64,
}

/// Watches the cluster, and asks it nothing meanwhile.
pub(crate) async fn run(resting: &Resting) -> anyhow::Result<IdleReport> {
    let cluster = Cluster::read(&resting.dev)?;
    let socket = &cluster.nodes.first().context("dev.json: nodes is empty")?.admin_socket;
    let admin = AdminClient::connect(socket).await;
    let admin = admin.with_context(|| format!("the admin socket {}", socket.display()))?;
    let entries = admin.count_entries(&EntryFilter::default()).await?;
    drop(admin);
    let mut leaders = Vec::new();
    for node in &cluster.nodes {
        leaders.push(scrape::leads(node).await?);
    }
    let pause = Duration::from_secs(resting.seconds.into());
    eprintln!("loadtest: watching {} nodes for {} s; leave them alone", cluster.nodes.len(), resting.seconds);
    // What was asked just now ends first.
    Stopwatch::starting_in(SETTLE).until(Duration::ZERO).await;
    let watch = Stopwatch::starting_in(Duration::ZERO);
    let before = cluster.nodes.iter().map(Reading::of).collect::<Result<Vec<_>, _>>()?;
    watch.until(pause).await;
    let after = cluster.nodes.iter().map(Reading::of).collect::<Result<Vec<_>, _>>()?;
    let took = watch.elapsed();
    let readings = before.iter().zip(&after).zip(cluster.nodes.iter().zip(leaders));
    Ok(IdleReport {
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
        cpus: std::thread::available_parallelism().map_or(0, usize::from),
        duration_ms: took.as_millis(),
        entries,
        nodes: readings.map(|((a, b), (node, leader))| NodeReport::new(a, b, took, node.id, leader)).collect(),
    })
}

/// What Linux says of a process at one moment.
struct Reading {
    cpu: Duration,
    wakeups: u64,
    resident_bytes: u64,
}

impl Reading {
    fn of(node: &Node) -> Result<Self, cpu::CpuError> {
        Ok(Self {
            cpu: cpu::time_of(&[node.pid])?,
            wakeups: cpu::wakeups_of(node.pid)?,
            resident_bytes: cpu::resident_bytes_of(node.pid)?,
        })
    }
}

impl NodeReport {
    fn new(before: &Reading, after: &Reading, took: Duration, id: u64, leader: bool) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "counts of a minute")]
        let wakeups = after.wakeups.saturating_sub(before.wakeups) as f64;
        Self {
            id,
            leader,
            cores: after.cpu.saturating_sub(before.cpu).as_secs_f64() / took.as_secs_f64(),
            resident_bytes: after.resident_bytes,
            wakeups_per_second: wakeups / took.as_secs_f64(),
        }
    }
}

impl IdleReport {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let head = ["node", "role", "% of a core", "resident MB", "wake-ups/s"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.nodes.iter().map(|node| {
            vec![
                node.id.to_string(),
                if node.leader { "leader" } else { "follower" }.to_owned(),
                format!("{:.2}", node.cores * 100.0),
                format!("{}", node.resident_bytes / 1_000_000),
                format!("{:.0}", node.wakeups_per_second),
            ]
        }));
        format!(
            "nobody asking, {} registration entries, {} s ({}, {} CPUs)\n\n{}",
            self.entries,
            self.duration_ms / 1000,
            self.build,
            self.cpus,
            aligned(&rows)
        )
    }
}

const SETTLE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_worked_a_hundredth_of_the_time_used_a_hundredth_of_a_core() {
        let reading =
            |millis, wakeups| Reading { cpu: Duration::from_millis(millis), wakeups, resident_bytes: 5_000_000 };
        let node = NodeReport::new(&reading(700, 1_000), &reading(1_000, 4_000), Duration::from_secs(30), 2, true);
        assert!((node.cores - 0.01).abs() < 1e-9 && (node.wakeups_per_second - 100.0).abs() < 1e-9, "{node:?}");
        let report = IdleReport { build: "debug", cpus: 2, duration_ms: 30_000, entries: 7, nodes: vec![node] };
        let table = report.table();
        for word in ["7 registration entries", "30 s", "leader", "1.00", "5", "100"] {
            assert!(table.contains(word), "{word}: {table}");
        }
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["nodes"][0]["resident_bytes"], 5_000_000);
        assert_eq!(json["nodes"][0]["leader"], true);
    }
}
