//! porcupine, built from `porcupine/` by `./prove`: is each key's history one that a single copy could have shown?

use std::path::{Path, PathBuf};

use crate::support::cli::foreign;

/// The judge.
#[derive(Debug)]
pub(crate) struct Porcupine(PathBuf);

/// What it found.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) linearizable: bool,
    pub(crate) histories: u64,
    pub(crate) operations: u64,
    /// All that it said.
    pub(crate) text: String,
}

impl Porcupine {
    /// The judge's program. `None`, with a line that says so, where it was not built: then the suite is skipped, but not
    /// with `CI=true`, where nobody would notice.
    pub(crate) fn find(suite: &str) -> Option<Self> {
        use std::io::Write as _;
        let program = std::env::var_os("SIGNET_PORCUPINE").map(PathBuf::from).filter(|path| path.exists());
        if program.is_none() {
            let reason = "porcupine is not built; ./prove builds it";
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{suite}: {reason}");
            // Not by `eprintln!`, which the test program keeps to itself when all is well.
            writeln!(std::io::stderr().lock(), "skipped: {suite}: {reason}").unwrap();
        }
        program.map(Self)
    }

    /// Judges the histories in these files.
    pub(crate) fn judge(&self, files: &[PathBuf]) -> Verdict {
        let paths: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
        let said = foreign(Path::new(&self.0), &paths);
        let text = format!("{}{}", said.stdout, said.stderr);
        assert!(matches!(said.code, Some(0 | 1)), "the judge could not judge: {said:?}");
        let summary = said.stdout.lines().last().unwrap_or_default();
        let number = |what: &str| {
            let number = summary.split(what).nth(1).and_then(|rest| rest.trim().split([',', ' ']).next());
            number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {what} in {text:?}"))
        };
        Verdict {
            linearizable: said.code == Some(0),
            histories: number("histories"),
            operations: number("operations"),
            text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Kind, Operation, save};

    /// Client, kind, when it was called and answered, value, found, seen, revision.
    type Short = (usize, Kind, u64, Option<u64>, &'static str, bool, &'static str, u64);

    fn verdict(judge: &Porcupine, name: &str, short: &[Short]) -> Verdict {
        let operations: Vec<Operation> = short
            .iter()
            .map(|&(client, kind, call, answered, value, found, seen, revision)| Operation {
                history: name.replace(' ', "-"),
                key: "key".to_owned(),
                client,
                kind,
                call,
                answered,
                value: value.to_owned(),
                expected: if kind == Kind::Replace { revision.saturating_sub(1) } else { 0 },
                found,
                seen: seen.to_owned(),
                revision,
            })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        save(&path, &operations);
        judge.judge(&[path])
    }

    #[test]
    fn the_judge_passes_good_histories_and_catches_every_seeded_bad_one() {
        use Kind::{Create, Delete, Read, Replace, Write};
        let Some(judge) = Porcupine::find("the judge on seeded histories") else { return };
        let create = (0, Create, 0, Some(1), "a", true, "", 0);
        let good: [(&str, &[Short]); 6] = [
            ("nothing", &[(0, Read, 0, Some(1), "", false, "", 0)]),
            ("in order", &[create, (1, Write, 2, Some(3), "b", true, "", 1), (2, Read, 4, Some(5), "", true, "b", 1)]),
            (
                "concurrent",
                &[create, (1, Write, 2, Some(9), "b", true, "", 1), (2, Read, 3, Some(4), "", true, "a", 0)],
            ),
            (
                "unknown, never seen",
                &[create, (1, Write, 2, None, "b", false, "", 0), (2, Read, 4, Some(5), "", true, "a", 0)],
            ),
            (
                "unknown, seen late",
                &[create, (1, Write, 2, None, "b", false, "", 0), (2, Read, 8, Some(9), "", true, "b", 1)],
            ),
            (
                "one of two replaces",
                &[(0, Replace, 0, Some(5), "a", true, "", 1), (1, Replace, 1, Some(4), "b", false, "", 1)],
            ),
        ];
        for (name, history) in good {
            let verdict = verdict(&judge, name, history);
            assert!(verdict.linearizable, "{name}: {}", verdict.text);
            assert_eq!((verdict.histories, verdict.operations), (1, history.len() as u64), "{name}");
        }
        let bad: [(&str, &[Short]); 9] = [
            (
                "stale read",
                &[create, (1, Write, 2, Some(3), "b", true, "", 1), (2, Read, 4, Some(5), "", true, "a", 0)],
            ),
            (
                "lost write",
                &[create, (1, Write, 2, Some(3), "b", true, "", 1), (2, Write, 4, Some(5), "c", true, "", 1)],
            ),
            ("a write that acted twice", &[create, (1, Write, 2, Some(3), "b", true, "", 2)]),
            (
                "read goes back",
                &[
                    create,
                    (1, Write, 2, None, "b", false, "", 0),
                    (2, Read, 3, Some(4), "", true, "b", 1),
                    (2, Read, 5, Some(6), "", true, "a", 0),
                ],
            ),
            ("value out of thin air", &[create, (2, Read, 4, Some(5), "", true, "z", 0)]),
            ("created twice", &[create, (1, Create, 2, Some(3), "b", true, "", 0)]),
            (
                "deleted and still there",
                &[create, (1, Delete, 2, Some(3), "", true, "", 0), (2, Read, 4, Some(5), "", true, "a", 0)],
            ),
            (
                "both replaces of one version",
                &[(0, Replace, 0, Some(5), "a", true, "", 1), (1, Replace, 1, Some(4), "b", true, "", 1)],
            ),
            (
                "seen before it was asked for",
                &[create, (2, Read, 2, Some(3), "", true, "b", 1), (1, Write, 4, Some(5), "b", true, "", 1)],
            ),
        ];
        for (name, history) in bad {
            let verdict = verdict(&judge, name, history);
            assert!(!verdict.linearizable, "{name} passed: {}", verdict.text);
        }
    }
}
