//! SoftHSM2: a token in software, for as many nodes as share its folder.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::cli::signet;
use super::kms::Kms;
use super::node::Keys;

/// A token with a user PIN and a key-encryption key.
pub(crate) struct SoftHsm {
    folder: TempDir,
}

impl SoftHsm {
    /// `None`, with a line that says so, where SoftHSM2 is not installed; with `CI=true` that is a failure.
    pub(crate) fn new(suite: &str) -> Option<Self> {
        if !Path::new(MODULE).exists() {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "softhsm2 is not installed; ./test installs it");
            // Not by `eprintln!`, which the test program keeps to itself when all is well.
            let line = format!("skipped: {suite}: softhsm2 is not installed; ./test installs it");
            writeln!(std::io::stderr().lock(), "{line}").unwrap();
            return None;
        }
        let folder = tempfile::Builder::new().prefix("signet-hsm-").tempdir().unwrap();
        let (tokens, pin) = (folder.path().join(TOKENS), folder.path().join("pin"));
        std::fs::create_dir(&tokens).unwrap();
        let text =
            format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
        std::fs::write(folder.path().join(CONFIG), text).unwrap();
        std::fs::write(&pin, format!("{PIN}\n")).unwrap();
        std::fs::set_permissions(&pin, std::fs::Permissions::from_mode(0o600)).unwrap();
        let token = Self { folder };
        let pins = ["--pin", PIN, "--so-pin", "security-officer"];
        token.done(Command::new("softhsm2-util").args(["--init-token", "--free", "--label", "signet"]).args(pins));
        token.done(Command::new(signet()).args(["key", "create", &token.uri()]));
        Some(token)
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys { backend: self.uri(), environment: self.environment(), ..Keys::default() }
    }

    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn done(&self, command: &mut Command) {
        let output = command.envs(self.environment()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
    }
}

impl Kms for SoftHsm {
    fn uri(&self) -> String {
        format!("pkcs11:token=signet;object=kek?module-path={MODULE}&pin-source=file:{}", self.at("pin"))
    }

    fn environment(&self) -> Vec<(String, String)> {
        vec![("SOFTHSM2_CONF".to_owned(), self.at(CONFIG))]
    }

    fn stop(&mut self) {
        std::fs::rename(self.at(TOKENS), self.at(AWAY)).unwrap();
    }

    fn start(&mut self) {
        std::fs::rename(self.at(AWAY), self.at(TOKENS)).unwrap();
    }
}

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const CONFIG: &str = "softhsm2.conf";
const TOKENS: &str = "tokens";
const AWAY: &str = "away";
const PIN: &str = "48151623";
