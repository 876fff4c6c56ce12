//! Moments as people write them (RFC 3339, UTC).

use std::time::Duration;

use der::DateTime;

/// Reads seconds since the epoch or `2026-12-31T23:59:59Z`.
///
/// # Errors
/// The text is neither.
pub(crate) fn parse_timestamp(text: &str) -> Result<u64, String> {
    if let Ok(secs) = text.parse() {
        return Ok(secs);
    }
    text.parse::<DateTime>()
        .map(|moment| moment.unix_duration().as_secs())
        .map_err(|_| "expected a moment in UTC, as in 2026-12-31T23:59:59Z, or seconds since 1970".to_owned())
}

/// Seconds since the epoch as `2026-12-31T23:59:59Z`; a dash for 0, which means "never".
pub(crate) fn show_timestamp(secs: u64) -> String {
    if secs == 0 {
        return "-".to_owned();
    }
    DateTime::from_unix_duration(Duration::from_secs(secs))
        .map_or_else(|_| secs.to_string(), |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_shows() {
        for secs in [1, 951_782_400, 1_795_298_400, 4_102_444_799] {
            assert_eq!(parse_timestamp(&show_timestamp(secs)), Ok(secs));
        }
        assert_eq!(show_timestamp(1_795_298_400), "2026-11-21T22:00:00Z");
        assert_eq!(parse_timestamp("1795298400"), Ok(1_795_298_400));
    }

    #[test]
    fn refuses_what_is_no_moment() {
        for text in ["", "tomorrow", "2026-12-31", "2026-13-01T00:00:00Z", "2026-12-31T23:59:59+01:00"] {
            assert!(parse_timestamp(text).is_err(), "{text}");
        }
    }
}
