//! What clients did and were told, on one clock, as the judge reads it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// One operation. The judge's program, in `porcupine/`, says what each field means.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Operation {
    pub(crate) history: String,
    pub(crate) key: String,
    pub(crate) client: usize,
    pub(crate) kind: Kind,
    pub(crate) call: u64,
    /// `None`: nobody knows whether it took effect, or when it will.
    #[serde(rename = "return")]
    pub(crate) answered: Option<u64>,
    pub(crate) value: String,
    pub(crate) expected: u64,
    pub(crate) found: bool,
    pub(crate) seen: String,
    pub(crate) revision: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Read,
    Write,
    Create,
    Delete,
    /// On condition of the revision.
    Replace,
}

/// Operations of one round.
#[derive(Debug)]
pub(crate) struct History {
    name: String,
    start: Instant,
    operations: Mutex<Vec<Operation>>,
    /// When changes were acknowledged, whoever asked.
    acknowledged: Mutex<Vec<Instant>>,
}

impl History {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            start: Instant::now(),
            operations: Mutex::default(),
            acknowledged: Mutex::default(),
        }
    }

    /// An operation that begins now.
    pub(crate) fn begin(&self, client: usize, key: &str, kind: Kind, value: String) -> Operation {
        Operation {
            history: self.name.clone(),
            key: key.to_owned(),
            client,
            kind,
            call: self.nanos(),
            answered: None,
            value,
            expected: 0,
            found: false,
            seen: String::new(),
            revision: 0,
        }
    }

    /// It was answered now.
    pub(crate) fn answered(&self, mut operation: Operation) {
        operation.answered = Some(self.nanos());
        if operation.kind != Kind::Read {
            self.acknowledged.lock().unwrap().push(Instant::now());
        }
        self.operations.lock().unwrap().push(operation);
    }

    /// It was not answered. A read that was not answered says nothing.
    pub(crate) fn unanswered(&self, operation: Operation) {
        if operation.kind != Kind::Read {
            self.operations.lock().unwrap().push(operation);
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.operations.lock().unwrap().len() as u64
    }

    /// How many operations nobody knows the outcome of.
    pub(crate) fn unknown(&self) -> u64 {
        self.operations.lock().unwrap().iter().filter(|operation| operation.answered.is_none()).count() as u64
    }

    /// The longest time from `moment` on, and before `until`, in which no change was acknowledged.
    pub(crate) fn longest_pause(&self, moment: Instant, until: Instant) -> Duration {
        let mut times = self.acknowledged.lock().unwrap().clone();
        times.retain(|at| (moment..=until).contains(at));
        times.extend([moment, until]);
        times.sort();
        times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
    }

    /// Writes a line for each operation to a file in `folder`.
    pub(crate) fn save(&self, folder: &Path) -> PathBuf {
        let path = folder.join(format!("{}.jsonl", self.name));
        save(&path, &self.operations.lock().unwrap());
        path
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap()
    }
}

/// Writes a line for each operation.
pub(crate) fn save(path: &Path, operations: &[Operation]) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    for operation in operations {
        serde_json::to_writer(&mut file, operation).unwrap();
        file.write_all(b"\n").unwrap();
    }
    file.flush().unwrap();
}

/// Where histories and reports are kept: a new folder for each run.
pub(crate) fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("histories");
    std::fs::create_dir_all(&folder).unwrap();
    tempfile::Builder::new().prefix("run-").tempdir_in(folder).unwrap().keep()
}
