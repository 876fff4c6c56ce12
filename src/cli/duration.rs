//! Lifetimes on the command line.

use crate::duration;

/// Reads a lifetime that travels as whole seconds in 32 bits; at least one.
///
/// # Errors
/// The text is no duration, or it is zero or longer than a credential can live.
pub(crate) fn parse_ttl(text: &str) -> Result<u32, String> {
    match u32::try_from(duration::parse(text).map_err(|cause| cause.to_string())?.as_secs()) {
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

/// Seconds as people read them: the two largest units, the rest left out.
pub(crate) fn show_about(secs: u64) -> String {
    let mut shown = String::new();
    let mut rest = secs;
    for (factor, unit) in [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")] {
        let count = rest / factor;
        if count > 0 {
            let second = !shown.is_empty();
            shown += &format!("{count}{unit}");
            if second {
                break;
            }
        } else if !shown.is_empty() {
            break;
        }
        rest %= factor;
    }
    if shown.is_empty() { "now".to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_lifetime() {
        for text in ["", "7", "0s", "5ms", "30000d"] {
            assert!(parse_ttl(text).is_err(), "{text}");
        }
        assert_eq!(parse_ttl("1h"), Ok(3600));
    }

    #[test]
    fn shows_the_two_largest_units() {
        for (secs, text) in [(0, "now"), (59, "59s"), (86_396, "23h59m"), (332, "5m32s"), (3605, "1h"), (172_805, "2d")]
        {
            assert_eq!(show_about(secs), text);
        }
    }

    #[test]
    fn shows_the_largest_unit() {
        for (secs, text) in [(0, "0s"), (59, "59s"), (3600, "1h"), (5400, "90m"), (172_800, "2d")] {
            assert_eq!(show_secs(secs), text);
        }
    }
}
