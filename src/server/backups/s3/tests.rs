//! Against versitygw, a real S3 server that checks signatures. `./test` installs it; without it this is skipped and says
//! so, but not with `CI=true`, where nobody would notice.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use self::versitygw::{Gateway, KEY, SECRET};
use super::*;

#[allow(clippy::disallowed_methods, dead_code, reason = "what tests of whole servers share")]
#[path = "../../../../tests/support/versitygw.rs"]
mod versitygw;

/// A running gateway over a folder of its own.
struct Store {
    gateway: Gateway,
    folder: tempfile::TempDir,
    endpoint: Url,
}

impl Store {
    fn start() -> Option<Self> {
        // Fails when another test was first, and then it is there.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let gateway = Gateway::start(folder.path(), port)?;
        let endpoint = format!("http://{}", gateway.address).parse().unwrap();
        Some(Self { gateway, folder, endpoint })
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
        std::fs::read(self.gateway.bucket.join("signet").join(name)).unwrap()
    }
}

#[tokio::test]
async fn a_real_store_takes_small_and_large_backups_lists_and_removes_them() {
    let Some(store) = Store::start() else { return };
    let s3 = store.client(SECRET);
    for (name, size) in [("one", 100), ("exactly", 5 << 20), ("large", (12 << 20) + 1)] {
        let spool = store.spool(size);
        s3.put(&spool, name).await.unwrap();
        assert_eq!(store.stored(name), std::fs::read(&spool).unwrap(), "{name}");
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
    let Some(store) = Store::start() else { return };
    let s3 = store.client("another-secret");
    let told = s3.put(&store.spool(10), "one").await.unwrap_err();
    assert!(told.contains("403") && told.contains("SignatureDoesNotMatch"), "{told}");
    assert!(told.contains("credentials_file"), "{told}");
    for secret in [KEY, "another-secret", "X-Amz"] {
        assert!(!told.contains(secret), "{told}");
    }
    assert_eq!(store.client(SECRET).list("").await.unwrap(), [""; 0], "nothing was stored");
}

#[tokio::test]
async fn a_store_that_is_away_or_a_bucket_that_is_not_there_is_named() {
    let Some(mut store) = Store::start() else { return };
    let mut s3 = store.client(SECRET);
    let spool = store.spool(10);
    s3.bucket = Bucket::new(store.endpoint.clone(), UrlStyle::Path, "nowhere", "us-east-1").unwrap();
    let told = s3.put(&spool, "one").await.unwrap_err();
    assert!(told.contains("404") && told.contains("has to be there already"), "{told}");
    store.gateway.kill();
    let told = store.client(SECRET).put(&spool, "one").await.unwrap_err();
    assert!(told.contains("cannot be reached") && !told.contains("X-Amz"), "{told}");
}
