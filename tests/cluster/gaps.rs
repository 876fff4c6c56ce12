//! Percentiles of a few durations.

use std::time::Duration;

/// `p50 …, p90 …, longest …`, by nearest rank.
pub(crate) fn summary(durations: &[Duration]) -> String {
    let mut sorted = durations.to_vec();
    sorted.sort();
    let rank = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1)];
    format!("p50 {:?}, p90 {:?}, longest {:?} ({} rounds)", rank(50), rank(90), rank(100), sorted.len())
}

#[test]
fn percentiles_are_by_nearest_rank() {
    let millis: Vec<Duration> = [10, 9, 8, 7, 6, 5, 4, 3, 2, 1].map(Duration::from_millis).to_vec();
    assert_eq!(summary(&millis), "p50 5ms, p90 9ms, longest 10ms (10 rounds)");
}
