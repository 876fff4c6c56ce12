//! What a cluster asks of its KMS does not grow with what it issues.
//!
//! `SIGNET_CREDENTIALS=100000 cargo test --test cluster the_calls_of_a_kms` issues so many; 3,000 by default.

use std::time::Duration;

use tokio::time::Instant;

use crate::support::cluster::Cluster;
use crate::support::kms::{AwsKms, Kms};
use crate::support::load::{Kind, Load};
use crate::support::node::{Keys, Node};
use crate::support::say;
use crate::support::wait::eventually;

/// With the schedule and the probes that a cluster has by default, and without the KMS for the middle half.
#[tokio::test(flavor = "multi_thread")]
async fn the_calls_of_a_kms_are_the_same_however_much_is_issued() {
    let all: usize = std::env::var("SIGNET_CREDENTIALS").map_or(3_000, |text| text.parse().unwrap());
    let Some(mut kms) = AwsKms::new("calls") else { return };
    let keys = Keys { backend: kms.uri(), environment: kms.environment(), ..Keys::default() };
    let cluster = Cluster::of_three_with(Some(keys), "30s", "").await;
    let load = Load::of(&cluster, &ISSUING, Duration::ZERO).await;
    let seen = load.seen.clone();
    let issued = || ISSUING.iter().map(|kind| seen.successes(*kind)).sum::<usize>();

    let began = Instant::now();
    let mut figures = Vec::new();
    for quarter in 0..=4 {
        let until = all * quarter / 4;
        eventually(PATIENCE, &format!("{until} credentials"), async || {
            if issued() < until { Err(issued().to_string()) } else { Ok(()) }
        })
        .await;
        figures.push((issued(), Calls::of(&cluster).await, began.elapsed()));
        match quarter {
            1 => kms.stop(),
            3 => kms.start(),
            _ => {}
        }
    }
    let seen = load.stop().await;
    let (failures, last) = seen.failures();
    say(&format!(
        "{} credentials of {}, {failures} failed; the KMS was away from a quarter to three:",
        issued(),
        kms.uri()
    ));
    for (issued, calls, elapsed) in &figures {
        let secs = elapsed.as_secs();
        say(&format!("  {issued:7} issued: {:3} KMS calls, and {:3} by probes; {secs} s", calls.work, calls.probes));
    }
    assert_eq!(failures, 0, "{last}");
    let (_, first, _) = &figures[0];
    for (issued, calls, elapsed) in &figures {
        assert_eq!(calls.work, first.work, "after {issued}: KMS calls depend on what is issued");
        // Every ten minutes, every minute while the KMS is away, and a probe is two calls; once more than that at each turn.
        let probes = (elapsed.as_secs() / 60 + 3) * 2 * cluster.nodes.len() as u64;
        assert!(calls.probes - first.probes <= probes, "after {issued}: {} calls by probes", calls.probes);
    }
}

/// What all nodes have asked of their KMS since they started.
struct Calls {
    work: u64,
    probes: u64,
}

impl Calls {
    async fn of(cluster: &Cluster) -> Self {
        let mut calls = Self { work: 0, probes: 0 };
        for node in &cluster.nodes {
            calls.add(node).await;
        }
        calls
    }

    async fn add(&mut self, node: &Node) {
        let (_, metrics) = node.get("/metrics").await.unwrap();
        for line in metrics.lines().filter(|line| line.starts_with("signet_kms_calls_total{")) {
            let calls: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            // A probe is a wrapping and an unwrapping.
            if line.contains("operation=\"probe\"") { self.probes += 2 * calls } else { self.work += calls }
        }
    }
}

const ISSUING: [Kind; 3] = [Kind::X509Svid, Kind::JwtSvid, Kind::Exchange];
/// For a quarter of what was asked for, in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(1_800);
