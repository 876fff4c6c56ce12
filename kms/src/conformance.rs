//! The suite that every backend passes. A new backend calls [`check`] from its tests.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use signet_model::jwk::p256_point;

use crate::{Backend, KeyReference, KmsError};

/// Holds a backend against everything that this room promises of it.
///
/// `again` is another instance with the same key-encryption key, as another node has it; `other` has a different one.
pub(crate) async fn check(backend: Arc<dyn Backend>, again: &dyn Backend, other: &dyn Backend) {
    names_itself_alike_everywhere(&*backend, again, other);
    signs_what_its_public_key_verifies(&*backend).await;
    another_instance_signs_with_the_same_reference(&*backend, again, other).await;
    refuses_a_damaged_reference(&*backend).await;
    opens_what_it_wrapped(&*backend, again).await;
    wraps_the_same_bytes_differently_each_time(&*backend).await;
    refuses_another_context_or_key(&*backend, other).await;
    refuses_a_damaged_blob(&*backend).await;
    serves_many_at_once(backend).await;
}

fn names_itself_alike_everywhere(backend: &dyn Backend, again: &dyn Backend, other: &dyn Backend) {
    assert_eq!(backend.recipient(), again.recipient());
    assert_ne!(backend.recipient(), other.recipient(), "different keys have different names");
    assert_eq!(backend.backend(), again.backend());
    assert!(!backend.recipient().is_empty() && backend.recipient().len() <= 256);
}

async fn signs_what_its_public_key_verifies(backend: &dyn Backend) {
    let (one, two) = (backend.create("one").await.unwrap(), backend.create("two").await.unwrap());
    assert_ne!(one, two);
    let spki = backend.public_key(&one).await.unwrap();
    assert_eq!(spki, backend.public_key(&one).await.unwrap());
    assert_ne!(spki, backend.public_key(&two).await.unwrap());
    for message in [&b"message"[..], &b""[..]] {
        let signature = backend.sign_digest(&one, &sha256(message)).await.unwrap();
        assert!(verifies(&spki, message, &signature));
        assert!(!verifies(&spki, b"another message", &signature));
    }
}

async fn another_instance_signs_with_the_same_reference(
    backend: &dyn Backend,
    again: &dyn Backend,
    other: &dyn Backend,
) {
    let key = backend.create("shared").await.unwrap();
    let spki = backend.public_key(&key).await.unwrap();
    assert_eq!(again.public_key(&key).await.unwrap(), spki);
    let signature = again.sign_digest(&key, &sha256(b"message")).await.unwrap();
    assert!(verifies(&spki, b"message", &signature));
    assert!(matches!(other.public_key(&key).await, Err(KmsError::Key { .. })));
    assert!(matches!(other.sign_digest(&key, &sha256(b"message")).await, Err(KmsError::Key { .. })));
}

async fn refuses_a_damaged_reference(backend: &dyn Backend) {
    let KeyReference(good) = backend.create("damaged").await.unwrap();
    for bad in damaged(&good).chain(std::iter::once(Vec::new())) {
        let refused = backend.sign_digest(&KeyReference(bad), &[0; 32]).await;
        assert!(matches!(refused, Err(KmsError::Key { .. })), "{refused:?}");
    }
}

async fn opens_what_it_wrapped(backend: &dyn Backend, again: &dyn Backend) {
    for plaintext in [Vec::new(), vec![0], vec![7; 138], vec![0xa5; 100_000]] {
        let blob = backend.wrap(&plaintext, b"context").await.unwrap();
        assert_eq!(*backend.unwrap(&blob, b"context").await.unwrap(), plaintext);
        assert_eq!(*again.unwrap(&blob, b"context").await.unwrap(), plaintext);
        assert!(plaintext.len() < 8 || !blob.windows(8).any(|window| window == &plaintext[..8]), "not encrypted");
    }
    let blob = backend.wrap(b"secret", b"").await.unwrap();
    assert_eq!(**backend.unwrap(&blob, b"").await.unwrap(), b"secret"[..]);
}

async fn wraps_the_same_bytes_differently_each_time(backend: &dyn Backend) {
    assert_ne!(backend.wrap(b"secret", b"c").await.unwrap(), backend.wrap(b"secret", b"c").await.unwrap());
}

async fn refuses_another_context_or_key(backend: &dyn Backend, other: &dyn Backend) {
    let blob = backend.wrap(b"secret", b"context").await.unwrap();
    for context in [&b""[..], b"contexT", b"context ", b"contex"] {
        assert!(matches!(backend.unwrap(&blob, context).await, Err(KmsError::Open { .. })));
    }
    assert!(matches!(other.unwrap(&blob, b"context").await, Err(KmsError::Open { .. })));
    let KeyReference(reference) = backend.create("not a blob").await.unwrap();
    assert!(backend.unwrap(&reference, b"").await.is_err(), "a signing key came out of the backend");
}

async fn refuses_a_damaged_blob(backend: &dyn Backend) {
    let good = backend.wrap(b"a secret of some length", b"context").await.unwrap();
    for bad in damaged(&good).chain(std::iter::once(Vec::new())) {
        assert!(matches!(backend.unwrap(&bad, b"context").await, Err(KmsError::Open { .. })));
    }
}

async fn serves_many_at_once(backend: Arc<dyn Backend>) {
    let key = backend.create("busy").await.unwrap();
    let spki = backend.public_key(&key).await.unwrap();
    let tasks = (0..16u8).map(|number| {
        let (backend, key, spki) = (Arc::clone(&backend), key.clone(), spki.clone());
        async move {
            let message = [number; 40];
            let signature = backend.sign_digest(&key, &sha256(&message)).await.unwrap();
            assert!(verifies(&spki, &message, &signature));
            let blob = backend.wrap(&message, &[number]).await.unwrap();
            assert_eq!(**backend.unwrap(&blob, &[number]).await.unwrap(), message);
        }
    });
    let mut running = tokio::task::JoinSet::new();
    tasks.for_each(|task| drop(running.spawn(task)));
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
}

/// One flipped bit at every position, one byte missing at either end, one byte more.
fn damaged(good: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let flipped = (0..good.len()).map(|at| {
        let mut bad = good.to_vec();
        bad[at] ^= 1 << (at % 8);
        bad
    });
    let longer = [good, &[0]].concat();
    flipped.chain([good[..good.len() - 1].to_vec(), good[1..].to_vec(), good[..good.len() / 2].to_vec(), longer])
}

fn verifies(spki: &[u8], message: &[u8], signature: &[u8; 64]) -> bool {
    let point = p256_point(spki).unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
}

fn sha256(message: &[u8]) -> [u8; 32] {
    digest(&SHA256, message).as_ref().try_into().unwrap()
}
