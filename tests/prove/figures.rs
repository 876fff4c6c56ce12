//! Numbers in, from the environment, and out, for `./prove`'s table.

use std::fmt::Display;
use std::io::Write as _;

/// A number that `./prove` asks for, or its short form.
pub(crate) fn asked(variable: &str, short: u64) -> u64 {
    std::env::var(variable).map_or(short, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// A line for the table: `prove NAME VALUE`.
pub(crate) fn told(name: &str, value: impl Display) {
    say(&format!("prove {name} {value}"));
}

/// A line for people, also where the test program keeps what tests print.
pub(crate) fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").unwrap();
}
