//! What `signet doctor` looks at. A running node looks at itself and at the others; without one, what can be seen of the
//! machine and the data directory is looked at by the command itself.

mod judge;
mod local;
mod measure;

use signet_api::ops::{Check, Verdict};

pub(crate) use judge::{Expiry, authorities, clocks, journal, keys, peers, quorum, upgrade, versions};
pub(crate) use local::{Place, local};

/// Names of the checks that take a running node, for when there is none.
pub(crate) const ONLINE: [&str; 8] =
    ["quorum", "clocks", "peers", "versions", "upgrade", "authorities", "journal", "keys"];

/// A check that could not be made.
pub(crate) fn skipped(name: &str, why: &str) -> Check {
    Check {
        name: name.to_owned(),
        verdict: Verdict::Skipped,
        measured: why.to_owned(),
        problem: String::new(),
        fix: String::new(),
    }
}

/// A check that found nothing wrong.
fn fine(name: &str, measured: impl Into<String>) -> Check {
    Check { verdict: Verdict::Ok, ..skipped(name, &measured.into()) }
}

/// A check that found something.
fn found(
    name: &str,
    verdict: Verdict,
    measured: impl Into<String>,
    problem: impl Into<String>,
    fix: impl Into<String>,
) -> Check {
    Check { name: name.to_owned(), verdict, measured: measured.into(), problem: problem.into(), fix: fix.into() }
}
