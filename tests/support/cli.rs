//! The `signet` command, as an operator's script runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The program under test: the one built with the tests, or another build that `SIGNET_PROGRAM` names.
pub(crate) fn signet() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| std::env::var_os("SIGNET_PROGRAM").map_or(env!("CARGO_BIN_EXE_signet").into(), Into::into))
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `signet` with these arguments, against this node if one is given.
pub(crate) fn run(socket: Option<&Path>, arguments: &[&str]) -> Said {
    let mut command = Command::new(signet());
    command.args(arguments).stdin(Stdio::null()).env_remove("SIGNET_SOCKET").env_remove("SIGNET_DEV_DIR");
    if let Some(socket) = socket {
        command.env("SIGNET_SOCKET", socket);
    }
    Said::from(command.output().unwrap())
}

/// Runs a program that is not ours.
pub(crate) fn foreign(program: &Path, arguments: &[&str]) -> Said {
    Said::from(Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap())
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Said {
    /// It must have worked; its output.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// It must have worked; its output as JSON.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let text = self.done();
        serde_json::from_str(&text).unwrap_or_else(|cause| panic!("{cause} in {text:?}"))
    }

    /// It must have been refused with this exit code and error code; the whole of standard error.
    #[track_caller]
    pub(crate) fn refused(self, exit: i32, code: &str) -> String {
        assert_eq!(self.code, Some(exit), "{self:?}");
        assert!(self.stderr.starts_with(&format!("error[{code}]: ")), "{self:?}");
        self.stderr
    }
}

/// Writes a file and answers its path.
pub(crate) fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A path as an argument.
pub(crate) fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Creates an entry of this name with `signet entry create`.
pub(crate) fn create_entry(socket: &Path, name: &str) {
    let id = format!("spiffe://example.org/{name}");
    let parent = "spiffe://example.org/host";
    let create =
        ["entry", "create", "--entry-id", name, "--spiffe-id", &id, "--parent-id", parent, "--selector", "unix:uid:7"];
    run(Some(socket), &create).done();
}
