//! What happened to the requests of one run: latencies, and errors by code.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Counts requests as they end. Each connection has its own; they are added at the end.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    latencies: Histogram<u64>,
    errors: BTreeMap<String, u64>,
}

/// Latencies of the requests that succeeded, in microseconds from their intended start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Quantiles {
    /// Half were faster.
    pub(crate) p50: u64,
    /// Nine in ten were faster.
    pub(crate) p90: u64,
    /// 99 in 100 were faster.
    pub(crate) p99: u64,
    /// 999 in 1,000 were faster.
    pub(crate) p999: u64,
    /// The slowest.
    pub(crate) max: u64,
}

impl Tally {
    /// Nothing has happened yet.
    pub(crate) fn new() -> Self {
        #[expect(clippy::expect_used, reason = "constant bounds that the crate accepts, see the tests")]
        let latencies = Histogram::new_with_bounds(1, LONGEST_MICROS, 3).expect("constant bounds");
        Self { latencies, errors: BTreeMap::new() }
    }

    /// A request succeeded, this long after its intended start.
    pub(crate) fn success(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(micros.clamp(1, LONGEST_MICROS));
    }

    /// A request failed.
    pub(crate) fn failure(&mut self, code: String) {
        let count = self.errors.entry(code).or_default();
        *count = count.saturating_add(1);
    }

    /// Adds what another connection saw.
    pub(crate) fn add(&mut self, other: &Self) {
        // Both have the same bounds, so nothing can be out of range.
        let _ = self.latencies.add(&other.latencies);
        for (code, &more) in &other.errors {
            let count = self.errors.entry(code.clone()).or_default();
            *count = count.saturating_add(more);
        }
    }

    /// How many requests succeeded.
    pub(crate) fn successes(&self) -> u64 {
        self.latencies.len()
    }

    /// Failures by code.
    pub(crate) const fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    /// The quantiles of the latencies; all zero when nothing succeeded.
    pub(crate) fn quantiles(&self) -> Quantiles {
        let at = |quantile| self.latencies.value_at_quantile(quantile);
        Quantiles { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: self.latencies.max() }
    }
}

/// The middle value; the mean of the two middle ones when their number is even. `None` for none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = values.len() / 2;
    let high = values.get(upper).copied()?;
    if values.len() % 2 == 1 {
        return Some(high);
    }
    let low = values.get(upper.checked_sub(1)?).copied()?;
    Some(f64::midpoint(low, high))
}

/// Longer than any request may take, see [`Options::timeout`](crate::Options::timeout).
const LONGEST_MICROS: u64 = 2 * 3600 * 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    /// Three significant digits are kept.
    fn close(got: u64, expected: u64) -> bool {
        got.abs_diff(expected) * 1000 <= expected
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut tally = Tally::new();
        for n in 1..=10_000 {
            tally.success(micros(n * 10));
        }
        let quantiles = tally.quantiles();
        assert!(close(quantiles.p50, 50_000), "{quantiles:?}");
        assert!(close(quantiles.p90, 90_000), "{quantiles:?}");
        assert!(close(quantiles.p99, 99_000), "{quantiles:?}");
        assert!(close(quantiles.p999, 99_900), "{quantiles:?}");
        assert!(close(quantiles.max, 100_000), "{quantiles:?}");
        assert_eq!(tally.successes(), 10_000);
    }

    #[test]
    fn one_slow_request_in_a_thousand_shows_beyond_p99() {
        let mut tally = Tally::new();
        for _ in 0..1998 {
            tally.success(micros(100));
        }
        tally.success(micros(1_000_000));
        tally.success(micros(1_000_000));
        let quantiles = tally.quantiles();
        assert_eq!(quantiles.p99, 100);
        assert!(close(quantiles.max, 1_000_000), "{quantiles:?}");
    }

    #[test]
    fn the_sum_of_two_connections_is_as_if_one_had_seen_all() {
        let (mut one, mut other, mut all) = (Tally::new(), Tally::new(), Tally::new());
        for n in 1..500 {
            let half = if n % 3 == 0 { &mut one } else { &mut other };
            half.success(micros(n * n));
            all.success(micros(n * n));
        }
        other.failure("UNAVAILABLE".to_owned());
        one.failure("UNAVAILABLE".to_owned());
        one.failure("timeout".to_owned());
        one.add(&other);
        assert_eq!(one.quantiles(), all.quantiles());
        assert_eq!(one.successes(), all.successes());
        assert_eq!(one.errors().get("UNAVAILABLE"), Some(&2));
        assert_eq!(one.errors().get("timeout"), Some(&1));
    }

    #[test]
    fn values_beyond_the_bounds_count_at_the_bounds() {
        let mut tally = Tally::new();
        tally.success(Duration::ZERO);
        tally.success(Duration::MAX);
        assert_eq!(tally.successes(), 2);
        assert_eq!(tally.quantiles().p50, 1);
        assert!(close(tally.quantiles().max, LONGEST_MICROS));
    }

    #[test]
    fn nothing_has_no_quantiles() {
        assert_eq!(Tally::new().quantiles(), Quantiles::default());
    }

    #[test]
    fn the_median_is_the_middle_of_any_order() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0]), Some(3.0));
        assert_eq!(median([9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median([4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }
}
