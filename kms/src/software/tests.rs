use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::conformance::{self, Stand};

fn key(byte: u8) -> Key {
    Zeroizing::new([byte; seal::KEY_BYTES])
}

async fn check(name: &str, backend: Arc<Software>, again: &Software, other: &Software) {
    conformance::check(Stand { name, backend, again, other, elsewhere: other }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_backend_conforms() {
    let backend = Arc::new(Software::new(MEMORY, "memory:".to_owned(), &key(1)).unwrap());
    let again = Software::new(MEMORY, "memory:".to_owned(), &key(1)).unwrap();
    check("memory", backend, &again, &Software::in_memory().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_backend_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let (one, copy, two) = (dir.path().join("one"), dir.path().join("copy"), dir.path().join("two"));
    generate_key_file(&one).unwrap();
    generate_key_file(&two).unwrap();
    std::fs::copy(&one, &copy).unwrap();
    let backend = Arc::new(Software::from_file(&one).unwrap());
    check("file", backend, &Software::from_file(&copy).unwrap(), &Software::from_file(&two).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_backend_under_a_passphrase_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two, passphrase) = (dir.path().join("one"), dir.path().join("two"), dir.path().join("passphrase"));
    std::fs::write(&passphrase, "correct horse battery staple\n").unwrap();
    std::fs::set_permissions(&passphrase, std::fs::Permissions::from_mode(0o600)).unwrap();
    for path in [&one, &two] {
        key_file::create_protected(path, &passphrase, key_file::Cost::FOR_TESTS).unwrap();
    }
    let open = |path| Software::from_protected_file(path, &passphrase).unwrap();
    check("file with passphrase", Arc::new(open(&one)), &open(&one), &open(&two)).await;
}

#[tokio::test]
async fn more_keys_than_are_kept_open_can_be_used() {
    let backend = Software::in_memory().unwrap();
    let mut keys = Vec::new();
    for _ in 0..=MAX_OPENED {
        let key = backend.create("", Algorithm::EcdsaP256).await.unwrap();
        keys.push((backend.public_key(&key).await.unwrap(), key));
    }
    assert_eq!(backend.opened.lock().unwrap().len(), MAX_OPENED);
    for (public_key, key) in &keys {
        assert_eq!(backend.public_key(key).await.unwrap(), *public_key);
    }
}

#[tokio::test]
async fn its_debug_form_and_recipient_say_nothing_of_the_key() {
    let backend = Software::new(FILE, "file:kek".to_owned(), &key(0xab)).unwrap();
    assert_eq!(format!("{backend:?}"), format!("Software({})", backend.recipient));
    let recipient = backend.recipient().await.unwrap();
    assert!(!recipient.contains("abab"));
    let digits = recipient.strip_prefix("file:").unwrap().to_owned();
    assert!(digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
}
