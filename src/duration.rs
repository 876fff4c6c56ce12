//! Durations as people write them: `90s`, `5m`, `1h`, `2d`, `250ms`, or several together, `1h30m`.

use std::time::Duration;

/// The text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a duration is a whole number with its unit, one of ms, s, m, h, d, such as \"90s\" or \"1h30m\"")]
pub(crate) struct DurationError;

/// Parses a duration.
///
/// # Errors
/// A number without a unit, an unknown unit, or a value past what fits.
pub(crate) fn parse(text: &str) -> Result<Duration, DurationError> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(DurationError)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let number: u64 = number.parse().map_err(|_| DurationError)?;
        let millis = match unit {
            "ms" => Some(1),
            "s" => Some(1_000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            "d" => Some(86_400_000),
            _ => None,
        };
        let millis = millis.and_then(|unit: u64| unit.checked_mul(number)).ok_or(DurationError)?;
        total = total.checked_add(Duration::from_millis(millis)).ok_or(DurationError)?;
        rest = after;
    }
    if text.is_empty() { Err(DurationError) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [("90s", 90_000), ("1h30m", 5_400_000), ("250ms", 250), ("2d", 172_800_000), ("0s", 0)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_what_has_no_unit_or_no_number() {
        for text in ["", "5", "s", "5x", "-5s", "1.5h", "5 s", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse(text), Err(DurationError), "{text}");
        }
    }
}
