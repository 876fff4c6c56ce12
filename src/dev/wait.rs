//! Waiting for something to come true, with a bound.

use std::future::Future;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::cli::Failure;

/// Tries until it works.
///
/// # Errors
/// It did not work in time; the sentence says what was waited for and how the latest attempt failed.
pub(super) async fn until<T, F>(what: &str, within: Duration, mut attempt: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let mut last = String::from("nothing happened");
    let attempts = async {
        loop {
            match attempt().await {
                Ok(value) => return value,
                Err(failure) => last = failure.to_string(),
            }
            sleep(BETWEEN_ATTEMPTS).await;
        }
    };
    match timeout(within, attempts).await {
        Ok(value) => Ok(value),
        Err(_) => Err(Failure::new(
            "deadline_exceeded",
            format!("waited {} s in vain until {what}; the latest attempt: {last}", within.as_secs()),
        )),
    }
}

const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);
