//! Nothing secret in logs, whatever their level.

use std::io::Write;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::proxy::{Fault, Proxy};
use super::*;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_log_and_no_error_holds_a_secret() {
    let Some(account) = Account::open() else { return };
    let kept = Kept::default();
    let writer = kept.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    tracing::trace!("the log works");
    let proxy = Proxy::start(account.server.address()).await;
    let kek = account.key(KeySpec::SymmetricDefault, &[HERE]).await;
    kept.0.lock().unwrap().clear();
    tracing::trace!("the log works");
    let backend = account.backend_at(&kek, &format!("region={HERE}&endpoint={}", proxy.url()));
    let plaintext = b"the private key of an issuing authority";
    let blob = backend.wrap(plaintext, b"context").await.unwrap();
    backend.unwrap(&blob, b"context").await.unwrap();
    let mut errors = String::new();
    for fault in [Fault::Truncate, Fault::BreakOff, Fault::html(200), Fault::error(400, "ValidationException", "x")] {
        for operation in ["Encrypt", "Decrypt"] {
            proxy.plan(3, operation, &fault);
            let error = match operation {
                "Encrypt" => backend.wrap(plaintext, b"context").await.map(drop).unwrap_err(),
                _ => backend.unwrap(&blob, b"context").await.map(drop).unwrap_err(),
            };
            errors.push_str(&format!("{error} {error:?}\n"));
            proxy.heal();
        }
    }
    let log = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("the log works") && errors.lines().count() == 8);
    let bytes = format!("{plaintext:?}");
    let secrets = [SECRET, std::str::from_utf8(plaintext).unwrap(), &STANDARD.encode(plaintext)[..24], &bytes[1..40]];
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in the log");
        assert!(!errors.contains(secret), "{secret} is in an error");
    }
}
