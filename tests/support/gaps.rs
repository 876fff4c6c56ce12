//! Percentiles of a few durations.

use std::time::Duration;

/// `p50 …, p90 …, p99 …, longest …`, by nearest rank, in milliseconds.
pub(crate) fn summary(durations: &[Duration]) -> String {
    let [p50, p90, p99, longest] = [50, 90, 99, 100].map(|percent| rank(durations, percent).as_millis());
    format!("p50 {p50} ms, p90 {p90} ms, p99 {p99} ms, longest {longest} ms ({} rounds)", durations.len())
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
