//! Waiting for what must come, with a bound.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Tries until it works, and answers what came of it. Panics with the last failure when `bound` is over; a single try
/// that hangs is cut off and counts as a failure.
pub(crate) async fn eventually<T>(
    bound: Duration,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    let mut last = "it was never tried to the end".to_owned();
    while start.elapsed() < bound {
        match timeout(bound.saturating_sub(start.elapsed()), attempt()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(failure)) => last = failure,
            Err(_) => break,
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("waited {bound:?} for {what}, in vain: {last}");
}
