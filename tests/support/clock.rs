//! The tests' one clock.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use signet_api::Clock;
use signet_model::time::UnixTime;

/// Seconds since the epoch.
pub(crate) fn now_secs() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "this is the tests' one place that reads the clock")]
    std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// For the clients.
pub(crate) fn clock() -> Clock {
    Arc::new(|| UnixTime::from_secs(now_secs()))
}
