//! LocalStack: AWS KMS as a program on this machine. One for each test program, on a port of its own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A running LocalStack. It ends with this process, however that ends: it is told by its standard input being closed.
#[derive(Debug)]
pub(crate) struct LocalStack {
    address: SocketAddr,
    _process: Child,
}

/// The one of this test program, started by whoever asks first. Nothing, with a word about it, where it is not installed;
/// on CI that is a failure.
pub(crate) fn localstack() -> Option<&'static LocalStack> {
    static INSTANCE: OnceLock<Option<LocalStack>> = OnceLock::new();
    INSTANCE.get_or_init(LocalStack::start).as_ref()
}

impl LocalStack {
    /// Where it answers, as a URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn start() -> Option<Self> {
        let Some(python) = python() else {
            let reason = "LocalStack is not installed; ./test installs it";
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "AWS KMS: {reason}");
            writeln!(std::io::stderr().lock(), "skipped: AWS KMS: {reason}").unwrap();
            return None;
        };
        // Somebody else may take the port between our finding it and LocalStack's binding it.
        (0..3)
            .find_map(|_| Self::start_once(&python))
            .or_else(|| panic!("LocalStack does not start; its words are above"))
    }

    fn start_once(python: &Path) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("signet-localstack-").tempdir().unwrap().keep();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut command = Command::new("sh");
        // Its folder goes with it.
        command.args([
            "-c",
            r#""$0" -m localstack.runtime.main & pid=$!; cat >/dev/null; kill -9 $pid; wait $pid; rm -rf "$1""#,
        ]);
        command.arg(python).arg(&folder);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", &folder).env("TMPDIR", &folder);
        command.env("SERVICES", "kms").env("GATEWAY_LISTEN", address.to_string()).env("FILESYSTEM_ROOT", &folder);
        // Nothing that would reach for the network, or write into the installation.
        for (name, value) in [
            ("DISABLE_EVENTS", "1"),
            ("SKIP_SSL_CERT_DOWNLOAD", "1"),
            ("DNS_ADDRESS", "0"),
            ("PYTHONDONTWRITEBYTECODE", "1"),
        ] {
            command.env(name, value);
        }
        let process = command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let mut this = Self { address, _process: process };
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until && this._process.try_wait().unwrap().is_none() {
            // The first call loads the service, which takes longer than a client of KMS waits.
            if this.post("ListKeys", "{}").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return Some(this);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let words = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        writeln!(std::io::stderr().lock(), "LocalStack on {address} did not get ready: {words}").unwrap();
        drop(this._process.stdin.take());
        let _ = this._process.wait();
        None
    }

    /// The whole answer to one call in us-east-1. LocalStack looks at the signature for region and account only.
    pub(crate) fn post(&self, operation: &str, body: &str) -> Option<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        let length = body.len();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.1\r\n\
             X-Amz-Target: TrentService.{operation}\r\nContent-Length: {length}\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/us-east-1/kms/aws4_request, SignedHeaders=host, \
             Signature=0\r\n\r\n{body}",
            self.address
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

fn python() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cache = named("SIGNET_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|cache| cache.join("signet")))
        .or_else(|| named("HOME").map(|home| home.join(".cache/signet")));
    let installed = cache.and_then(|cache| std::fs::read_dir(cache.join("tools")).ok()).into_iter().flatten();
    let installed = installed.filter_map(|item| {
        let folder = item.ok()?.path();
        let ours = folder.file_name()?.to_str()?.starts_with("localstack-") && folder.join("ready").exists();
        ours.then(|| folder.join("bin/python"))
    });
    named("SIGNET_LOCALSTACK").into_iter().chain(installed).find(|path| path.exists())
}

/// An access key id that is twelve digits is LocalStack's way to name an account.
pub(crate) const ACCOUNT: &str = "111122223333";
