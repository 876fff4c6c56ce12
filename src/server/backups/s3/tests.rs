//! Against versitygw, a real S3 server that checks signatures. `./test` installs it; without it this is skipped and says
//! so, but not with `CI=true`, where nobody would notice.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::*;

const KEY: &str = "signet-test";
const SECRET: &str = "of-this-test-only";

/// A running gateway over a folder of its own. Ends when dropped.
struct Gateway {
    process: Child,
    folder: tempfile::TempDir,
    endpoint: Url,
}

impl Gateway {
    async fn start() -> Option<Self> {
        let Some(program) = program() else {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "versitygw is not installed; ./test installs it");
            writeln!(
                std::io::stderr().lock(),
                "skipped: backups to S3: versitygw is not installed; ./test installs it"
            )
            .unwrap();
            return None;
        };
        // Fails when another test was first, and then it is there.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        for dir in ["data", "data/backups", "meta"] {
            std::fs::create_dir(folder.path().join(dir)).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.env("ROOT_ACCESS_KEY", KEY).env("ROOT_SECRET_KEY", SECRET);
        command.args(["--port", &format!("127.0.0.1:{port}"), "posix", "--sidecar"]);
        command.arg(folder.path().join("meta")).arg(folder.path().join("data"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        let endpoint: Url = format!("http://127.0.0.1:{port}").parse().unwrap();
        let gateway = Self { process, folder, endpoint };
        let deadline = clock::boottime() + Duration::from_secs(30);
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(clock::boottime() < deadline, "versitygw does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(gateway)
    }

    fn client(&self, secret: &str) -> S3 {
        let credentials_file = self.folder.path().join(format!("credentials-{}", secret.len()));
        let text = format!("[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {secret}\n");
        std::fs::write(&credentials_file, text).unwrap();
        std::fs::set_permissions(&credentials_file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = S3Config {
            endpoint: self.endpoint.clone(),
            bucket: "backups".into(),
            prefix: "signet/".into(),
            region: "us-east-1".into(),
            credentials_file,
        };
        S3 { part: 5 << 20, ..S3::new(config).unwrap() }
    }

    fn spool(&self, size: usize) -> PathBuf {
        let path = self.folder.path().join(format!("spool-{size}"));
        let bytes: Vec<u8> = (0..size).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn stored(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join("data/backups/signet").join(name)).unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
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

#[tokio::test]
async fn a_real_store_takes_small_and_large_backups_lists_and_removes_them() {
    let Some(gateway) = Gateway::start().await else { return };
    let s3 = gateway.client(SECRET);
    for (name, size) in [("one", 100), ("exactly", 5 << 20), ("large", (12 << 20) + 1)] {
        let spool = gateway.spool(size);
        s3.put(&spool, name).await.unwrap();
        assert_eq!(gateway.stored(name), std::fs::read(&spool).unwrap(), "{name}");
    }
    let mut names = s3.list("").await.unwrap();
    names.sort();
    assert_eq!(names, ["exactly", "large", "one"]);
    assert_eq!(s3.list("la").await.unwrap(), ["large"]);
    s3.delete("large").await.unwrap();
    assert_eq!(s3.list("la").await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_wrong_secret_is_refused_by_the_store_and_told_without_any_secret() {
    let Some(gateway) = Gateway::start().await else { return };
    let s3 = gateway.client("another-secret");
    let told = s3.put(&gateway.spool(10), "one").await.unwrap_err();
    assert!(told.contains("403") && told.contains("SignatureDoesNotMatch"), "{told}");
    assert!(told.contains("credentials_file"), "{told}");
    for secret in [KEY, "another-secret", "X-Amz"] {
        assert!(!told.contains(secret), "{told}");
    }
    assert_eq!(gateway.client(SECRET).list("").await.unwrap(), [""; 0], "nothing was stored");
}

#[tokio::test]
async fn a_store_that_is_away_or_a_bucket_that_is_not_there_is_named() {
    let Some(mut gateway) = Gateway::start().await else { return };
    let mut s3 = gateway.client(SECRET);
    let spool = gateway.spool(10);
    s3.bucket = Bucket::new(gateway.endpoint.clone(), UrlStyle::Path, "nowhere", "us-east-1").unwrap();
    let told = s3.put(&spool, "one").await.unwrap_err();
    assert!(told.contains("404") && told.contains("has to be there already"), "{told}");
    gateway.process.kill().unwrap();
    gateway.process.wait().unwrap();
    let told = gateway.client(SECRET).put(&spool, "one").await.unwrap_err();
    assert!(told.contains("cannot be reached") && !told.contains("X-Amz"), "{told}");
}
