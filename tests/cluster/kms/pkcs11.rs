//! On PKCS#11: SoftHSM2, one folder of tokens for all nodes.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::serves_and_rotates;
use crate::support::cli::signet;
use crate::support::node::Keys;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_on_pkcs11_serves_and_rotates() {
    let Some(token) = Token::new() else { return };
    serves_and_rotates("pkcs11", Some(token.keys())).await;
}

/// A token with a user PIN and a key-encryption key.
struct Token {
    folder: TempDir,
}

impl Token {
    /// `None`, with a line that says so, where SoftHSM2 is not installed; with `CI=true` that is a failure.
    fn new() -> Option<Self> {
        if !Path::new(MODULE).exists() {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "softhsm2 is not installed; ./test installs it");
            let line = "skipped: a cluster on PKCS#11: softhsm2 is not installed; ./test installs it";
            writeln!(std::io::stderr().lock(), "{line}").unwrap();
            return None;
        }
        let folder = tempfile::Builder::new().prefix("signet-hsm-").tempdir().unwrap();
        let (tokens, pin) = (folder.path().join("tokens"), folder.path().join("pin"));
        std::fs::create_dir(&tokens).unwrap();
        let text =
            format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
        std::fs::write(folder.path().join(CONFIG), text).unwrap();
        std::fs::write(&pin, format!("{PIN}\n")).unwrap();
        std::fs::set_permissions(&pin, std::fs::Permissions::from_mode(0o600)).unwrap();
        let token = Self { folder };
        token.done(Command::new("softhsm2-util").args(["--init-token", "--free", "--label", "signet"]).args([
            "--pin",
            PIN,
            "--so-pin",
            "security-officer",
        ]));
        token.done(Command::new(signet()).args(["key", "create", &token.keys().backend]));
        Some(token)
    }

    fn keys(&self) -> Keys {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        Keys {
            backend: format!("pkcs11:token=signet;object=kek?module-path={MODULE}&pin-source=file:{}", at("pin")),
            environment: vec![("SOFTHSM2_CONF".to_owned(), at(CONFIG))],
            ..Keys::default()
        }
    }

    fn done(&self, command: &mut Command) {
        let output = command.envs(self.keys().environment).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
    }
}

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const CONFIG: &str = "softhsm2.conf";
const PIN: &str = "48151623";
