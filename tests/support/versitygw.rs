//! versitygw: an S3 server that checks signatures. `./test` installs it.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server with one bucket, `backups`. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    process: Child,
    pub(crate) address: String,
    /// Where its objects lie as files.
    pub(crate) bucket: PathBuf,
}

impl Gateway {
    /// One over a folder of its own, at this port of loopback. Nothing, with a word about it, where versitygw is not installed; on CI that is a
    /// failure.
    pub(crate) fn start(folder: &Path, port: u16) -> Option<Self> {
        let Some(program) = program() else {
            let reason = "versitygw is not installed; ./test installs it";
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "backups to S3: {reason}");
            writeln!(std::io::stderr().lock(), "skipped: backups to S3: {reason}").unwrap();
            return None;
        };
        let bucket = folder.join("s3/data/backups");
        std::fs::create_dir_all(&bucket).unwrap();
        std::fs::create_dir(folder.join("s3/meta")).unwrap();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(program);
        command.env("ROOT_ACCESS_KEY", KEY).env("ROOT_SECRET_KEY", SECRET);
        command
            .args(["--port", &address, "posix", "--sidecar"])
            .arg(folder.join("s3/meta"))
            .arg(folder.join("s3/data"));
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let gateway = Self { process, address, bucket };
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(&gateway.address).is_err() {
            assert!(Instant::now() < until, "versitygw does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(gateway)
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = named("SIGNET_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|cache| cache.join("signet")))
        .or_else(|| named("HOME").map(|home| home.join(".cache/signet")));
    let installed = cache.and_then(|cache| std::fs::read_dir(cache.join("tools")).ok()).into_iter().flatten();
    let installed = installed.filter_map(|item| Some(item.ok()?.path().join("versitygw")));
    named("SIGNET_VERSITYGW").into_iter().chain(installed).find(|path| path.exists())
}

pub(crate) const KEY: &str = "signet-test";
pub(crate) const SECRET: &str = "of-this-test-only";
