//! A KMS that a test can take away and give back.

use std::path::PathBuf;

use tempfile::TempDir;

use super::cli::{arg, run};

/// A KMS with a key-encryption key of its own.
pub(crate) trait Kms {
    /// How a configuration names it.
    fn uri(&self) -> String;
    /// What a program needs in its environment to reach it.
    fn environment(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    /// Nobody reaches it from now on.
    fn stop(&mut self);
    /// It is there again, with the keys that it had.
    fn start(&mut self);
}

/// A key file that is moved out of the way.
pub(crate) struct KeyFiles {
    folder: TempDir,
    name: String,
}

impl KeyFiles {
    pub(crate) fn new(name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("signet-kms-").tempdir().unwrap();
        let files = Self { folder, name: name.to_owned() };
        run(None, &["key", "generate", arg(&files.path())]).done();
        files
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    fn away(&self) -> PathBuf {
        self.folder.path().join(format!("{}.away", self.name))
    }
}

impl Kms for KeyFiles {
    fn uri(&self) -> String {
        format!("file:{}", self.path().display())
    }

    fn stop(&mut self) {
        std::fs::rename(self.path(), self.away()).unwrap();
    }

    fn start(&mut self) {
        std::fs::rename(self.away(), self.path()).unwrap();
    }
}
