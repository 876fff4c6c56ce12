//! Multi-Region keys: another region takes over.

use super::proxy::{Fault, Proxy};
use super::*;

/// A backend whose first region is behind a proxy.
async fn two_regions(account: &Account, open: fn(&Account, &str, &str) -> AwsKms) -> (Proxy, AwsKms) {
    let proxy = Proxy::start(account.server.address()).await;
    let kek = account.key(KeySpec::SymmetricDefault, &[HERE, ELSEWHERE]).await;
    let endpoints = format!("endpoint={},{}", proxy.url(), account.server.url());
    let backend = open(account, &kek, &format!("region={HERE},{ELSEWHERE}&{endpoints}"));
    (proxy, backend)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_region_signs_and_opens_while_the_first_is_away() {
    let Some(account) = Account::open() else { return };
    let (proxy, backend) = two_regions(&account, Account::backend_at).await;
    let digest = Digest::sha256(b"message");
    let key = backend.create("two homes", Algorithm::EcdsaP256).await.unwrap();
    let blob = backend.wrap(b"secret", b"context").await.unwrap();
    proxy.calls();
    for fault in [Fault::Reset, Fault::html(503), Fault::error(400, "ThrottlingException", "x")] {
        proxy.plan(100, "Sign", &fault);
        proxy.plan(100, "Decrypt", &fault);
        backend.sign_digest(&key, &digest).await.unwrap();
        assert_eq!(**backend.unwrap(&blob, b"context").await.unwrap(), b"secret"[..]);
        assert_eq!(proxy.calls(), ["Sign", "Decrypt"], "the first region is asked once, then the second");
        proxy.heal();
        // It is the first again when it answers again.
        backend.sign_digest(&key, &digest).await.unwrap();
        assert_eq!(proxy.calls(), ["Sign"]);
    }
    // What a region wraps, the other opens.
    proxy.plan(100, "Encrypt", &Fault::Reset);
    let blob = backend.wrap(b"secret", b"context").await.unwrap();
    proxy.heal();
    assert_eq!(**backend.unwrap(&blob, b"context").await.unwrap(), b"secret"[..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_region_that_is_silent_costs_one_attempt_and_later_none() {
    let Some(account) = Account::open() else { return };
    let (proxy, backend) = two_regions(&account, Account::hasty_backend_at).await;
    let blob = backend.wrap(b"secret", b"context").await.unwrap();
    proxy.plan(100, "Decrypt", &Fault::Silence);
    proxy.calls();
    let mut asked = tokio::task::JoinSet::new();
    let backend = Arc::new(backend);
    for _ in 0..8 {
        let (backend, blob) = (Arc::clone(&backend), blob.clone());
        asked.spawn(async move { backend.unwrap(&blob, b"context").await.unwrap() });
    }
    while let Some(opened) = asked.join_next().await {
        assert_eq!(**opened.unwrap(), b"secret"[..]);
    }
    let calls = proxy.calls().len();
    assert!((6..=8).contains(&calls), "{calls} calls");
    // The silent region is left alone: somebody tries it now and then, and with each trial less often.
    for _ in 0..5 {
        backend.unwrap(&blob, b"context").await.unwrap();
        if proxy.calls().is_empty() {
            return;
        }
    }
    panic!("the silent region is asked again and again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_by_a_region_that_only_stands_in_is_no_verdict_on_the_key() {
    let Some(account) = Account::open() else { return };
    let proxy = Proxy::start(account.server.address()).await;
    let kek = account.key(KeySpec::SymmetricDefault, &[HERE, ELSEWHERE]).await;
    let third = "eu-north-1";
    let endpoints = format!("endpoint={},{}", proxy.url(), account.server.url());
    let backend = account.backend_at(&kek, &format!("region={HERE},{third}&{endpoints}"));
    let blob = backend.wrap(b"secret", b"").await.unwrap();
    proxy.plan(100, "Decrypt", &Fault::Reset);
    let error = backend.unwrap(&blob, b"").await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, KmsError::Unavailable { .. }) && text.contains("is the key replicated there?"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alias_is_found_where_somebody_answers() {
    let Some(account) = Account::open() else { return };
    let proxy = Proxy::start(account.server.address()).await;
    let kek = account.key(KeySpec::SymmetricDefault, &[HERE, ELSEWHERE]).await;
    for region in [HERE, ELSEWHERE] {
        account.alias(region, "alias/two-homes", &kek).await;
    }
    let endpoints = format!("endpoint={},{}", proxy.url(), account.server.url());
    let backend = account.backend_at("alias/two-homes", &format!("region={HERE},{ELSEWHERE}&{endpoints}"));
    proxy.plan(100, "DescribeKey", &Fault::Reset);
    proxy.plan(100, "Encrypt", &Fault::Reset);
    backend.wrap(b"secret", b"").await.unwrap();
    assert_eq!(backend.recipient().await.unwrap(), format!("awskms:{kek}"));
}
