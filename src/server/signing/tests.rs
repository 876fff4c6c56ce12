use signet_kms::Algorithm;
use signet_model::authority::{AuthorityKind, Life, Slot};
use signet_model::time::UnixTime;

use super::*;
use crate::server::backends::Calls;
use crate::server::config::{KeyBackend, KeysConfig};

/// A key in a backend in memory, and the backend.
async fn key(algorithm: Algorithm, queue: &Arc<Queue>) -> (Arc<Backends>, Authority, BackendKey) {
    let backend = KeyBackend { uri: "memory:".parse().unwrap(), text: "memory:".to_owned() };
    let config = KeysConfig {
        backends: vec![backend],
        probe: Duration::from_mins(10),
        verify_every: KeysConfig::DEFAULT_VERIFY_EVERY,
    };
    let backends = Backends::new(&config, Calls::new());
    backends.first_look().await;
    let home = backends.opened().next().unwrap();
    let reference = home.backend().create("test", algorithm).await.unwrap();
    let public_key = home.backend().public_key(&reference).await.unwrap();
    let authority = Authority {
        kind: AuthorityKind::JwtSvid,
        id: key_id(&public_key),
        slot: Slot::Active,
        public_key,
        certificate: Vec::new(),
        key: StoredKey::InBackend {
            backend: "memory".to_owned(),
            reference: reference.0,
            recipient: Some(home.recipient.clone()),
        },
        created_at: UnixTime::from_secs(1),
        not_after: UnixTime::from_secs(2),
        life: Life::default(),
        outside: None,
    };
    let key = BackendKey::take_up(&backends, queue, &authority).await.unwrap();
    (backends, authority, key)
}

#[tokio::test]
async fn a_key_of_every_kind_that_backends_make_signs_there_and_is_checked() {
    for algorithm in Algorithm::ALL {
        let (_, authority, key) = key(algorithm, &Queue::new()).await;
        let signature = key.sign(b"hello").await.unwrap();
        assert!(algorithm.verifies(&authority.public_key, &algorithm.digest(b"hello"), &signature), "{algorithm}");
    }
}

#[tokio::test]
async fn refuses_a_key_that_is_another_one_than_the_authority_says() {
    let queue = Queue::new();
    let (backends, mut authority, _) = key(Algorithm::EcdsaP256, &queue).await;
    let (_, other, _) = key(Algorithm::EcdsaP256, &queue).await;
    authority.public_key = other.public_key;
    let refused = BackendKey::take_up(&backends, &queue, &authority).await.unwrap_err();
    assert!(refused.contains("could not be made"), "{refused}");
    authority.key = StoredKey::Wrapped { for_recipients: Vec::new() };
    assert!(BackendKey::take_up(&backends, &queue, &authority).await.unwrap_err().contains("wrapped key"));
}

#[tokio::test]
async fn whoever_finds_the_queue_full_or_waits_too_long_is_refused_and_may_retry() {
    let queue = Queue::of(1, 1, Duration::from_millis(200));
    let (_, _, key) = key(Algorithm::EcdsaP256, &queue).await;
    let served = queue.served.try_acquire().unwrap();
    let admitted = queue.admitted.try_acquire().unwrap();
    // For one the turn does not come; for the other there is no room to wait in.
    let (late, full) = tokio::join!(key.sign(b"a"), key.sign(b"b"));
    assert_eq!(full.unwrap_err().reason, Reason::ResourceExhausted);
    assert_eq!(late.unwrap_err().reason, Reason::ResourceExhausted);
    drop((served, admitted));
    key.sign(b"c").await.unwrap();
}
