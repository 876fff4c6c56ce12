//! How a command fails: a stable code, a sentence, an exit code.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use signet_model::refusal::{Reason, Refusal};

/// The command line is wrong.
pub(crate) const EXIT_USAGE: u8 = 2;
/// The cluster has no quorum.
pub(crate) const EXIT_NO_QUORUM: u8 = 3;
/// A check or a request failed.
pub(crate) const EXIT_FAILED: u8 = 1;

/// Why a command did not do what it was asked to. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    code: String,
    message: String,
}

impl Failure {
    /// A failure with this stable code.
    pub(crate) fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    /// The command line says something that cannot be, found after it was parsed.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new("usage", message)
    }

    /// A file could not be read or written.
    pub(crate) fn file(what: &str, path: &std::path::Path, cause: impl Display) -> Self {
        Self::new("io", format!("cannot {what} {}: {cause}", path.display()))
    }

    /// An error with its causes, outermost first.
    pub(crate) fn chain(code: &str, error: &anyhow::Error) -> Self {
        Self::new(code, format!("{error:#}"))
    }

    /// Whether nobody was there to be asked.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.code == "unreachable"
    }

    /// The stable code.
    #[cfg(test)]
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    /// The sentence.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Prints it on standard error.
    pub(crate) fn print(&self) {
        // A terminal that has gone is no reason to panic, as `eprintln!` would: there may be something left to stop.
        let _ = writeln!(std::io::stderr(), "error[{}]: {}", self.code, self.message);
    }

    /// Prints it and says how the program ends.
    pub(crate) fn report(&self) -> ExitCode {
        self.print();
        ExitCode::from(self.exit_code())
    }

    fn exit_code(&self) -> u8 {
        match self.code.as_str() {
            "usage" => EXIT_USAGE,
            code if code == Reason::NoQuorum.code() => EXIT_NO_QUORUM,
            _ => EXIT_FAILED,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.reason.code(), refusal.detail)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}] {}", self.code, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_quorum_ends_with_three() {
        for reason in Reason::ALL {
            let exit = Failure::from(Refusal::new(*reason, "x")).exit_code();
            assert_eq!(exit, if *reason == Reason::NoQuorum { 3 } else { 1 }, "{reason}");
        }
    }

    #[test]
    fn a_wrong_command_line_ends_with_two() {
        assert_eq!(Failure::usage("x").exit_code(), 2);
    }
}
