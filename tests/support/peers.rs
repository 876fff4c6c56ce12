//! The outside programs of the interop tests: where they are, and what happens when they are missing.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Node.js with its packages, Python with its own, and OpenSSL.
#[derive(Debug)]
pub(crate) struct Peers {
    folder: PathBuf,
}

impl Peers {
    /// The installed programs. `None`, with a line that says so, where `./test` has not installed them: then the suite is
    /// skipped, but not with `CI=true`, where nobody would notice.
    pub(crate) fn find(suite: &str) -> Option<Self> {
        let found = folder().filter(|folder| folder.join("ready").exists());
        let reason = match &found {
            None => "the outside programs are not installed; ./test installs them",
            Some(_) if !runs("openssl", "version") => "there is no openssl; ./test installs it",
            Some(_) if !runs("node", "--version") => "there is no node; ./test installs it",
            Some(folder) => return Some(Self { folder: folder.clone() }),
        };
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{suite}: {reason}");
        // Not by `eprintln!`, which the test program keeps to itself when all is well.
        writeln!(std::io::stderr().lock(), "skipped: {suite}: {reason}").unwrap();
        None
    }

    /// Puts a script for Node.js beside its packages, below `folder`, and answers its path.
    pub(crate) fn node_script(&self, folder: &Path, name: &str, source: &str) -> PathBuf {
        let modules = folder.join("node_modules");
        if !modules.exists() {
            std::os::unix::fs::symlink(self.folder.join("node_modules"), modules).unwrap();
        }
        let path = folder.join(name);
        std::fs::write(&path, source).unwrap();
        path
    }

    /// The Python that has the packages.
    pub(crate) fn python(&self) -> PathBuf {
        self.folder.join("venv/bin/python")
    }
}

fn folder() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
    if let Some(folder) = named("SIGNET_TEST_PEERS") {
        return Some(folder);
    }
    let cache = named("SIGNET_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|cache| cache.join("signet")))
        .or_else(|| named("HOME").map(|home| home.join(".cache/signet")))?;
    Some(cache.join("peers/current"))
}

fn runs(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
}
