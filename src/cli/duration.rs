//! Lifetimes on the command line.

use std::time::Duration;

/// Reads `90s`, `5m`, `12h`, `7d`, or a bare number of seconds.
///
/// # Errors
/// The text is something else; the sentence says what was expected.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(format!("{unit:?} is no unit of time: use s, m, h or d, as in 90s or 12h")),
    };
    let count: u64 =
        digits.parse().map_err(|_| "expected a whole number and a unit, as in 90s, 5m, 12h or 7d".to_owned())?;
    count.checked_mul(factor).map(Duration::from_secs).ok_or_else(|| "this is longer than can be counted".to_owned())
}

/// Reads a lifetime that travels as whole seconds in 32 bits; at least one.
///
/// # Errors
/// As [`parse_duration`], or it is zero or longer than a credential can live.
pub(crate) fn parse_ttl(text: &str) -> Result<u32, String> {
    match u32::try_from(parse_duration(text)?.as_secs()) {
        Ok(0) => Err("a lifetime is at least 1s; leave the flag out for the default".to_owned()),
        Ok(secs) if i32::try_from(secs).is_ok() => Ok(secs),
        Ok(_) | Err(_) => Err("a lifetime is at most 68 years".to_owned()),
    }
}

/// Seconds as people write them: the largest unit that divides them.
pub(crate) fn show_secs(secs: u64) -> String {
    for (factor, unit) in [(86_400, "d"), (3600, "h"), (60, "m")] {
        if secs > 0 && secs.is_multiple_of(factor) {
            return format!("{}{unit}", secs / factor);
        }
    }
    format!("{secs}s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_unit() {
        for (text, secs) in [("7", 7), ("90s", 90), ("5m", 300), ("12h", 43_200), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(secs)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_lifetime() {
        for text in ["", "s", "-5s", "1.5h", "5 m", "5x", "5ms", "999999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_ttl("0s").is_err());
        assert!(parse_ttl("30000d").is_err());
        assert_eq!(parse_ttl("1h"), Ok(3600));
    }

    #[test]
    fn shows_the_largest_unit() {
        for (secs, text) in [(0, "0s"), (59, "59s"), (3600, "1h"), (5400, "90m"), (172_800, "2d")] {
            assert_eq!(show_secs(secs), text);
        }
    }
}
