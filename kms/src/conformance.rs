//! The suite that every backend passes. A new backend calls [`check`] from its tests.

use std::io::Write as _;
use std::sync::Arc;

use crate::{Algorithm, Backend, Digest, KeyReference, KmsError, MAX_CONTEXT_BYTES, MAX_WRAPPED_BYTES};

/// A backend to be held against the suite, and the others that this takes.
pub(crate) struct Stand<'a> {
    /// What the printed line calls it.
    pub(crate) name: &'a str,
    /// The one under test.
    pub(crate) backend: Arc<dyn Backend>,
    /// Another instance with the same key-encryption key, as another node has it.
    pub(crate) again: &'a dyn Backend,
    /// One with a different key-encryption key.
    pub(crate) other: &'a dyn Backend,
    /// One where the signing keys of `backend` do not exist.
    pub(crate) elsewhere: &'a dyn Backend,
}

/// Holds a backend against everything that this room promises of it, with keys of every algorithm, and prints how many
/// cases that were.
pub(crate) async fn check(stand: Stand<'_>) {
    let mut cases = Cases(0);
    stand.names(&mut cases).await;
    for algorithm in Algorithm::ALL {
        let key = stand.backend.create(&format!("conformance {algorithm}"), algorithm).await.unwrap();
        stand.public_key(&mut cases, algorithm, &key).await;
        stand.signatures(&mut cases, algorithm, &key).await;
    }
    stand.references(&mut cases).await;
    stand.wrapping(&mut cases).await;
    stand.contexts_and_keys(&mut cases).await;
    stand.damaged_blobs(&mut cases).await;
    stand.many_at_once(&mut cases).await;
    // Not by `println!`, which the test program keeps to itself when all is well.
    writeln!(std::io::stdout().lock(), "kms conformance {}: {} cases", stand.name, cases.0).unwrap();
}

/// How many cases were held, so that a suite that skips its work is seen.
struct Cases(usize);

impl Cases {
    #[track_caller]
    fn hold(&mut self, truth: bool, what: impl std::fmt::Display) {
        assert!(truth, "{what}");
        self.0 += 1;
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(&mut self, got: Result<T, KmsError>, like: fn(&KmsError) -> bool) {
        let Err(error) = got else { panic!("{got:?} was not refused") };
        assert!(like(&error), "refused for another reason: {error:?}");
        self.0 += 1;
    }
}

impl Stand<'_> {
    async fn names(&self, cases: &mut Cases) {
        let recipient = self.backend.recipient().await.unwrap();
        cases.hold(recipient == self.again.recipient().await.unwrap(), "one key has one name");
        cases.hold(recipient != self.other.recipient().await.unwrap(), "different keys have different names");
        cases.hold(self.backend.backend() == self.again.backend(), "one scheme");
        cases.hold((1..=256).contains(&recipient.len()), "a name of a sensible length");
        cases.hold(self.backend.name().starts_with(self.backend.backend()), "a name that begins with the scheme");
        self.backend.probe().await.unwrap();
        self.other.probe().await.unwrap();
        cases.0 += 2;
    }

    async fn public_key(&self, cases: &mut Cases, algorithm: Algorithm, key: &KeyReference) {
        let spki = self.backend.public_key(key).await.unwrap();
        cases.hold(Algorithm::of_public_key(&spki) == Some(algorithm), "a key of the kind that was asked for");
        cases.hold(self.backend.public_key(key).await.unwrap() == spki, "the public key stays");
        cases.hold(self.again.public_key(key).await.unwrap() == spki, "another instance knows the key");
        cases.refused(self.elsewhere.public_key(key).await, no_key);
    }

    async fn signatures(&self, cases: &mut Cases, algorithm: Algorithm, key: &KeyReference) {
        let spki = self.backend.public_key(key).await.unwrap();
        let wrong = algorithm.digest(b"another message");
        for (backend, message) in
            [(&*self.backend, &b"message"[..]), (&*self.backend, b""), (self.again, b"from another instance")]
        {
            let digest = algorithm.digest(message);
            let signature = backend.sign_digest(key, &digest).await.unwrap();
            cases.hold(signature.len() == algorithm.signature_bytes(), "a canonical signature");
            cases.hold(algorithm.verifies(&spki, &digest, &signature), "a signature of this key");
            cases.hold(!algorithm.verifies(&spki, &wrong, &signature), "of this digest only");
        }
        let unfitting = match algorithm.digest(b"message") {
            Digest::Sha256(_) => Digest::sha384(b"message"),
            Digest::Sha384(_) => Digest::sha256(b"message"),
        };
        cases.refused(self.backend.sign_digest(key, &unfitting).await, no_key);
        cases.refused(self.elsewhere.sign_digest(key, &algorithm.digest(b"message")).await, no_key);
    }

    /// Two keys are two keys, even under one label; a damaged reference names neither.
    async fn references(&self, cases: &mut Cases) {
        let create = || self.backend.create("of one label", Algorithm::EcdsaP256);
        let (one, two) = (create().await.unwrap(), create().await.unwrap());
        cases.hold(one != two, "two references");
        let spki = |key| self.backend.public_key(key);
        cases.hold(spki(&one).await.unwrap() != spki(&two).await.unwrap(), "two keys");
        let digest = Digest::sha256(b"message");
        for bad in damaged(&one.0).chain(std::iter::once(Vec::new())) {
            cases.refused(self.backend.sign_digest(&KeyReference(bad), &digest).await, no_key);
        }
    }

    async fn wrapping(&self, cases: &mut Cases) {
        for plaintext in [Vec::new(), vec![0], vec![7; 138], vec![0xa5; MAX_WRAPPED_BYTES]] {
            let blob = self.backend.wrap(&plaintext, b"context").await.unwrap();
            for backend in [&*self.backend, self.again] {
                cases.hold(*backend.unwrap(&blob, b"context").await.unwrap() == plaintext, "what was wrapped");
            }
            let seen = plaintext.len() >= 8 && blob.windows(8).any(|window| window == &plaintext[..8]);
            cases.hold(!seen, "the blob does not show what is in it");
        }
        for context in [Vec::new(), vec![0xff; MAX_CONTEXT_BYTES]] {
            let blob = self.again.wrap(b"secret", &context).await.unwrap();
            cases.hold(**self.backend.unwrap(&blob, &context).await.unwrap() == b"secret"[..], "any context");
        }
        let (one, two) = (self.backend.wrap(b"secret", b"c").await, self.backend.wrap(b"secret", b"c").await);
        cases.hold(one.unwrap() != two.unwrap(), "the same bytes are wrapped differently each time");
    }

    async fn contexts_and_keys(&self, cases: &mut Cases) {
        let blob = self.backend.wrap(b"secret", b"context").await.unwrap();
        for context in [&b""[..], b"contexT", b"context ", b"contex"] {
            cases.refused(self.backend.unwrap(&blob, context).await, does_not_open);
        }
        cases.refused(self.other.unwrap(&blob, b"context").await, does_not_open);
        let KeyReference(reference) = self.backend.create("not a blob", Algorithm::EcdsaP256).await.unwrap();
        cases.refused(self.backend.unwrap(&reference, b"").await, does_not_open);
        // The session of a token, and a connection, must be of use after a refusal.
        cases.hold(**self.backend.unwrap(&blob, b"context").await.unwrap() == b"secret"[..], "it still opens");
    }

    async fn damaged_blobs(&self, cases: &mut Cases) {
        let good = self.backend.wrap(b"a secret of some length", b"context").await.unwrap();
        for bad in damaged(&good).chain(std::iter::once(Vec::new())) {
            cases.refused(self.backend.unwrap(&bad, b"context").await, does_not_open);
        }
    }

    async fn many_at_once(&self, cases: &mut Cases) {
        let key = self.backend.create("busy", Algorithm::EcdsaP256).await.unwrap();
        let spki = self.backend.public_key(&key).await.unwrap();
        let mut running = tokio::task::JoinSet::new();
        for number in 0..16u8 {
            let (backend, key, spki) = (Arc::clone(&self.backend), key.clone(), spki.clone());
            running.spawn(async move {
                let digest = Digest::sha256(&[number; 40]);
                let signature = backend.sign_digest(&key, &digest).await.unwrap();
                assert!(Algorithm::EcdsaP256.verifies(&spki, &digest, &signature));
                let blob = backend.wrap(&[number; 40], &[number]).await.unwrap();
                assert_eq!(**backend.unwrap(&blob, &[number]).await.unwrap(), [number; 40]);
            });
        }
        while let Some(done) = running.join_next().await {
            done.unwrap();
            cases.0 += 1;
        }
    }
}

fn no_key(error: &KmsError) -> bool {
    matches!(error, KmsError::Key { .. })
}

fn does_not_open(error: &KmsError) -> bool {
    matches!(error, KmsError::Open { .. })
}

/// One flipped bit at every position, one byte missing at either end, half of it, one byte more.
fn damaged(good: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let flipped = (0..good.len()).map(|at| {
        let mut bad = good.to_vec();
        bad[at] ^= 1 << (at % 8);
        bad
    });
    let longer = [good, &[0]].concat();
    flipped.chain([good[..good.len() - 1].to_vec(), good[1..].to_vec(), good[..good.len() / 2].to_vec(), longer])
}
