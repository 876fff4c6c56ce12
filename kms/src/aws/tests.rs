//! The backend against LocalStack, and against a LocalStack that misbehaves.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kms::Client;
use aws_sdk_kms::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_kms::types::{KeySpec, KeyUsageType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use self::localstack::{ACCOUNT, LocalStack, localstack};
use super::*;
use crate::conformance::{self, Stand};

mod faults;
mod keys;
#[path = "../../../tests/support/localstack.rs"]
mod localstack;
mod proxy;
mod quiet;
mod regions;

/// What a test has of AWS: LocalStack, and the account's own client.
struct Account {
    server: &'static LocalStack,
    _folder: tempfile::TempDir,
    credentials: PathBuf,
}

impl Account {
    /// Nothing, where LocalStack is not installed.
    fn open() -> Option<Self> {
        let server = localstack()?;
        let folder = tempfile::tempdir().unwrap();
        let credentials = folder.path().join("credentials");
        std::fs::write(
            &credentials,
            format!("[default]\naws_access_key_id={ACCOUNT}\naws_secret_access_key={SECRET}\n"),
        )
        .unwrap();
        std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o600)).unwrap();
        Some(Self { server, _folder: folder, credentials })
    }

    fn client(&self, region: &str) -> Client {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .credentials_provider(Credentials::new(ACCOUNT, SECRET, None, None, "tests"))
            .endpoint_url(self.server.url())
            .http_client(aws_smithy_http_client::Builder::new().build_http());
        Client::from_conf(config.build())
    }

    /// A key as an operator makes it.
    async fn key(&self, spec: KeySpec, regions: &[&str]) -> String {
        let usage =
            if spec == KeySpec::SymmetricDefault { KeyUsageType::EncryptDecrypt } else { KeyUsageType::SignVerify };
        let client = self.client(regions[0]);
        let made =
            client.create_key().key_spec(spec).key_usage(usage).multi_region(regions.len() > 1).send().await.unwrap();
        let id = made.key_metadata.unwrap().key_id;
        for region in &regions[1..] {
            client.replicate_key().key_id(&id).replica_region(*region).send().await.unwrap();
        }
        id
    }

    async fn alias(&self, region: &str, alias: &str, id: &str) {
        self.client(region).create_alias().alias_name(alias).target_key_id(id).send().await.unwrap();
    }

    fn uri(&self, key: &str, rest: &str) -> String {
        format!("awskms:{key}?credentials_file={}&{rest}", self.credentials.display())
    }

    /// A backend that speaks to LocalStack itself.
    fn backend(&self, key: &str, regions: &str) -> AwsKms {
        self.backend_at(key, &format!("region={regions}&endpoint={}", self.server.url()))
    }

    /// One that has patience with a busy machine.
    fn backend_at(&self, key: &str, rest: &str) -> AwsKms {
        let minute = Duration::from_secs(60);
        let patient = Budget { attempt: minute, total: minute * 3, making: minute };
        AwsKms::open_with(self.uri(key, rest).parse().unwrap(), patient).unwrap()
    }

    /// One as servers have it.
    fn hasty_backend_at(&self, key: &str, rest: &str) -> AwsKms {
        AwsKms::open(self.uri(key, rest).parse().unwrap()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_aws_kms_backend_conforms() {
    let Some(account) = Account::open() else { return };
    let ours = account.key(KeySpec::SymmetricDefault, &[HERE]).await;
    let others = account.key(KeySpec::SymmetricDefault, &[ELSEWHERE]).await;
    account.alias(HERE, "alias/conformance", &ours).await;
    let backend = Arc::new(account.backend("alias/conformance", HERE));
    let (again, other) = (account.backend(&ours, HERE), account.backend(&others, ELSEWHERE));
    let name = "aws kms (LocalStack)";
    conformance::check(Stand { name, backend, again: &again, other: &other, elsewhere: &other }).await;
}

#[tokio::test]
async fn larger_secrets_than_kms_takes_lie_in_envelopes() {
    let Some(account) = Account::open() else { return };
    let key = account.key(KeySpec::SymmetricDefault, &[HERE]).await;
    let backend = account.backend(&key, HERE);
    for size in [0, 1, 4096, 4097, 100_000] {
        let plaintext = vec![0x5a; size];
        let blob = backend.wrap(&plaintext, b"context").await.unwrap();
        assert_eq!(blob[0], if (1..=4096).contains(&size) { 1 } else { 2 });
        assert_eq!(*backend.unwrap(&blob, b"context").await.unwrap(), plaintext);
        assert!(matches!(backend.unwrap(&blob, b"contexT").await, Err(KmsError::Open { .. })));
    }
    // What KMS encrypted for the one form is not taken for the other.
    let blob = backend.wrap(&[], b"context").await.unwrap();
    let Some(Blob::Envelope { wrapped_key, .. }) = Blob::parse(&blob) else { panic!("no envelope") };
    assert!(matches!(backend.unwrap(&blob::direct(wrapped_key), b"context").await, Err(KmsError::Open { .. })));
    assert!(matches!(backend.wrap(b"x", &[0; MAX_CONTEXT_BYTES + 1]).await, Err(KmsError::Key { .. })));
}

#[tokio::test]
async fn one_key_is_one_recipient_however_it_is_named() {
    let Some(account) = Account::open() else { return };
    let regions = [HERE, ELSEWHERE];
    let id = account.key(KeySpec::SymmetricDefault, &regions).await;
    for region in regions {
        account.alias(region, "alias/recipient", &id).await;
    }
    let arn = format!("arn:aws:kms:{HERE}:{ACCOUNT}:key/{id}");
    let alias_arn = format!("arn:aws:kms:{ELSEWHERE}:{ACCOUNT}:alias/recipient");
    let blob = account.backend(&id, HERE).wrap(b"secret", b"c").await.unwrap();
    for (key, regions) in [
        (id.as_str(), format!("{HERE},{ELSEWHERE}")),
        (arn.as_str(), HERE.to_owned()),
        (alias_arn.as_str(), ELSEWHERE.to_owned()),
        ("alias/recipient", ELSEWHERE.to_owned()),
        ("alias/recipient", format!("{ELSEWHERE},{HERE}")),
    ] {
        let backend = account.backend(key, &regions);
        assert_eq!(backend.recipient().await.unwrap(), format!("awskms:{id}"));
        assert_eq!(**backend.unwrap(&blob, b"c").await.unwrap(), b"secret"[..]);
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_named_with_the_fix() {
    let Some(account) = Account::open() else { return };
    let client = account.client(HERE);
    let signing = account.key(KeySpec::EccNistP256, &[HERE]).await;
    account.alias(HERE, "alias/asymmetric", &signing).await;
    let single = account.key(KeySpec::SymmetricDefault, &[HERE]).await;
    account.alias(HERE, "alias/single", &single).await;
    let disabled = account.key(KeySpec::SymmetricDefault, &[HERE]).await;
    account.alias(HERE, "alias/disabled", &disabled).await;
    client.disable_key().key_id(&disabled).send().await.unwrap();
    let doomed = account.key(KeySpec::SymmetricDefault, &[HERE]).await;
    client.schedule_key_deletion().key_id(&doomed).send().await.unwrap();
    let both = format!("{HERE},{ELSEWHERE}");
    for (key, regions, fix) in [
        ("alias/none", HERE, "aws kms create-alias --alias-name alias/none"),
        ("alias/asymmetric", HERE, "no symmetric key"),
        ("alias/single", &both, "take a multi-Region key"),
        ("alias/disabled", HERE, "aws kms enable-key"),
        (&signing, HERE, "not of a kind or usage that allows Encrypt"),
        (&disabled, HERE, "aws kms enable-key"),
        (&doomed, HERE, "aws kms cancel-key-deletion"),
        ("00000000-0000-4000-8000-000000000000", HERE, "right account, region and name"),
    ] {
        let backend = account.backend(key, regions);
        let error = backend.wrap(b"secret", b"").await.unwrap_err();
        assert!(matches!(error, KmsError::Key { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(fix) && text.contains(key) && text.contains(&backend.name()), "{key}: {text}");
    }
    // A key in use that somebody switches off, and on again.
    let backend = account.backend(&single, HERE);
    let blob = backend.wrap(b"secret", b"").await.unwrap();
    client.disable_key().key_id(&single).send().await.unwrap();
    assert!(matches!(backend.unwrap(&blob, b"").await, Err(KmsError::Key { .. })));
    assert!(matches!(backend.probe().await, Err(KmsError::Key { .. })));
    client.enable_key().key_id(&single).send().await.unwrap();
    backend.probe().await.unwrap();
}

#[test]
fn a_credentials_file_that_is_not_as_it_must_be_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials");
    std::fs::write(&path, "[default]\naws_access_key_id=A\naws_secret_access_key=hunter2\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = |rest: &str| {
        let uri = format!("awskms:alias/x?region={HERE}&credentials_file={}{rest}", path.display());
        AwsKms::open(uri.parse().unwrap()).map(|backend| format!("{backend:?}"))
    };
    let error = open("").unwrap_err();
    assert!(matches!(error, KmsError::Configuration { .. }) && error.to_string().contains("chmod 600"), "{error}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(!open("").unwrap().contains("hunter2"));
    assert!(open("&profile=other").unwrap_err().to_string().contains("[other]"));
}

/// Without LocalStack: TLS is spoken from the first byte, and a server that has no certificate learns nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_does_not_speak_tls_gets_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials");
    std::fs::write(&path, "[default]\naws_access_key_id=A\naws_secret_access_key=B\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (say, mut said) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut first = [0; 512];
            let length = stream.read(&mut first).await.unwrap();
            say.send(first[..length].to_vec()).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        }
    });
    let key = "mrk-0123456789abcdef0123456789abcdef";
    let uri =
        format!("awskms:{key}?region={HERE}&endpoint=https://127.0.0.1:{port}&credentials_file={}", path.display());
    let backend = AwsKms::open(uri.parse().unwrap()).unwrap();
    let error = backend.wrap(b"secret", b"").await.unwrap_err();
    assert!(matches!(error, KmsError::Unavailable { .. }), "{error}");
    let hello = said.recv().await.unwrap();
    assert_eq!(hello[..2], [0x16, 0x03], "no TLS handshake");
}

const HERE: &str = "eu-west-1";
const ELSEWHERE: &str = "eu-central-1";
const SECRET: &str = "a-secret-access-key-that-nobody-may-see";
