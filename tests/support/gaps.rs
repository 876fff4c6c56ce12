//! Percentiles of a few durations.

use std::io::Write as _;
use std::time::Duration;

use signet_raft::Timings;

/// `p50 …, p90 …, p99 …, longest …`, by nearest rank, in milliseconds.
pub(crate) fn summary(durations: &[Duration]) -> String {
    let [p50, p90, p99, longest] = [50, 90, 99, 100].map(|percent| rank(durations, percent).as_millis());
    format!("p50 {p50} ms, p90 {p90} ms, p99 {p99} ms, longest {longest} ms ({} rounds)", durations.len())
}

/// The lines by which `./prove` makes its table: how many times `what` was done, and how long no write got through.
pub(crate) fn tell(what: &str, pauses: &[Duration]) {
    // Not by `println!`, which the test program keeps to itself when all is well.
    let mut out = std::io::stdout().lock();
    writeln!(out, "prove {what}s {}", pauses.len()).unwrap();
    writeln!(out, "prove {what}-pauses {}", summary(pauses)).unwrap();
    writeln!(out, "prove {what}-p99-ms {}", rank(pauses, 99).as_millis()).unwrap();
    writeln!(out, "prove {what}-longest-ms {}", rank(pauses, 100).as_millis()).unwrap();
    let lan = Timings::lan();
    writeln!(
        out,
        "prove settings heartbeat {:?}, election {:?} to {:?}, quorum-loss probe {:?}",
        lan.heartbeat, lan.election_min, lan.election_max, lan.quorum_loss_probe
    )
    .unwrap();
}

/// What `percent` of them do not exceed.
pub(crate) fn rank(durations: &[Duration], percent: usize) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort();
    sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1)]
}

#[test]
fn percentiles_are_by_nearest_rank() {
    let millis: Vec<Duration> = [10, 9, 8, 7, 6, 5, 4, 3, 2, 1].map(Duration::from_millis).to_vec();
    assert_eq!(summary(&millis), "p50 5 ms, p90 9 ms, p99 10 ms, longest 10 ms (10 rounds)");
}
