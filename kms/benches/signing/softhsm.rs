//! A token of SoftHSM2 in a folder of its own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Runs this program again with a token in its environment, and gives its exit code. Nothing where it has one already, or
/// where SoftHSM2 is not installed.
pub(crate) fn start_again() -> Option<ExitCode> {
    if std::env::var_os(FOLDER).is_some() || !Path::new(MODULE).exists() {
        return None;
    }
    let folder = tempfile::Builder::new().prefix("signet-bench-").tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("tokens")).unwrap();
    let tokens = at("tokens");
    let config =
        format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
    std::fs::write(at("softhsm2.conf"), config).unwrap();
    std::fs::write(at("pin"), format!("{PIN}\n")).unwrap();
    std::fs::set_permissions(at("pin"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "bench", "--pin", PIN, "--so-pin", "security-officer"])
        .env("SOFTHSM2_CONF", at("softhsm2.conf"))
        .output()
        .unwrap();
    assert!(made.status.success(), "softhsm2-util: {}", String::from_utf8_lossy(&made.stderr));
    let status = Command::new(std::env::current_exe().unwrap())
        .args(std::env::args_os().skip(1))
        .env("SOFTHSM2_CONF", at("softhsm2.conf"))
        .env(FOLDER, folder.path())
        .status()
        .unwrap();
    Some(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The token, as a configuration names it.
pub(crate) fn uri() -> Option<String> {
    let folder = std::env::var(FOLDER).ok()?;
    Some(format!("pkcs11:token=bench;object=kek?module-path={MODULE}&pin-source=file:{folder}/pin"))
}

const FOLDER: &str = "SIGNET_BENCH_TOKEN";
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "48151623";
