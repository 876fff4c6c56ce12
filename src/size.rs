//! Amounts of storage as people write them: `512MiB`, `4GiB`, or a share of a disk: `15%`, `15% up to 4GiB`.

use std::fmt;
use std::str::FromStr;

/// The text is not a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a size is a whole number with its unit, one of B, KiB, MiB, GiB, TiB, such as \"512MiB\"")]
pub(crate) struct SizeError;

/// The text is not a share of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is a size such as \"512MiB\", a share of the disk such as \"15%\", or a share with a bound such as \"15% up to 4GiB\""
)]
pub(crate) struct ShareError;

/// How much of a disk: a part of its whole size, a fixed size, or the smaller of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    percent: Option<u8>,
    bytes: Option<u64>,
}

/// Parses a size in bytes.
///
/// # Errors
/// A number without a unit, an unknown unit, or a value past what fits.
pub(crate) fn parse(text: &str) -> Result<u64, SizeError> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(SizeError)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| SizeError)?;
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(SizeError)?;
    number.checked_mul(*factor).ok_or(SizeError)
}

/// A size for people: three digits are enough.
pub(crate) fn show(bytes: u64) -> String {
    match UNITS.iter().rev().find(|(_, factor)| bytes >= *factor) {
        Some((unit, 1)) => format!("{bytes} {unit}"),
        Some((unit, factor)) => {
            let (whole, tenth) = (bytes / factor, bytes % factor * 10 / factor);
            if whole >= 100 { format!("{whole} {unit}") } else { format!("{whole}.{tenth} {unit}") }
        }
        None => "0 B".to_owned(),
    }
}

impl Share {
    /// This part of the disk, at most so many bytes.
    pub(crate) const fn up_to(percent: u8, bytes: u64) -> Self {
        Self { percent: Some(percent), bytes: Some(bytes) }
    }

    /// In bytes, of a disk with `total` bytes.
    pub(crate) fn of(self, total: u64) -> u64 {
        let part = self.percent.map(|percent| total / 100 * u64::from(percent));
        match (part, self.bytes) {
            (Some(part), Some(bytes)) => part.min(bytes),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => 0,
        }
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let percent = |text: &str| {
            let number: u8 = text.strip_suffix('%')?.parse().ok()?;
            (number <= 100).then_some(number)
        };
        if let Some((share, bound)) = text.split_once(" up to ") {
            let (percent, bytes) = (percent(share).ok_or(ShareError)?, parse(bound).map_err(|_| ShareError)?);
            return Ok(Self::up_to(percent, bytes));
        }
        match (percent(text), parse(text)) {
            (Some(percent), _) => Ok(Self { percent: Some(percent), bytes: None }),
            (None, Ok(bytes)) => Ok(Self { percent: None, bytes: Some(bytes) }),
            (None, Err(_)) => Err(ShareError),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.percent, self.bytes) {
            (Some(percent), Some(bytes)) => write!(f, "{percent}% up to {}", show(bytes)),
            (Some(percent), None) => write!(f, "{percent}%"),
            (None, bytes) => f.write_str(&show(bytes.unwrap_or(0))),
        }
    }
}

const UNITS: [(&str, u64); 5] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_and_shows_them() {
        for (text, bytes, shown) in [
            ("0B", 0, "0 B"),
            ("17B", 17, "17 B"),
            ("512MiB", 512 << 20, "512 MiB"),
            ("4GiB", 4 << 30, "4.0 GiB"),
            ("1536KiB", 1536 << 10, "1.5 MiB"),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
            assert_eq!(show(bytes), shown);
        }
        for bad in ["", "5", "MiB", "5 MiB", "5MB", "-1B", "99999999999999999999B", "99999999TiB"] {
            assert_eq!(parse(bad), Err(SizeError), "{bad}");
        }
    }

    #[test]
    fn a_share_with_a_bound_is_the_smaller_of_the_two() {
        let share: Share = "15% up to 4GiB".parse().unwrap();
        assert_eq!(share.of(250 << 30), 4 << 30);
        assert_eq!(share.of(1000), 150);
        assert_eq!("10%".parse::<Share>().unwrap().of(1000), 100);
        assert_eq!("3MiB".parse::<Share>().unwrap().of(1), 3 << 20);
        assert_eq!(share.to_string(), "15% up to 4.0 GiB");
    }

    #[test]
    fn refuses_what_is_no_share() {
        for bad in ["", "15", "101%", "15%up to 4GiB", "15% up to 4", "up to 4GiB", "1.5%"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }
}
