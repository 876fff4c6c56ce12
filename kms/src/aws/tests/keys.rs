//! Making keys, taking over keys, and forgetting none.

use std::time::Duration;

use aws_sdk_kms::types::{KeyState, Tag};

use super::proxy::{Fault, Proxy};
use super::*;

/// A backend of a deployment of its own, behind a proxy.
async fn deployment(account: &Account, name: &str, regions: &str) -> (Proxy, AwsKms) {
    let proxy = Proxy::start(account.server.address()).await;
    let regions_named: Vec<&str> = regions.split(',').collect();
    let kek = account.key(KeySpec::SymmetricDefault, &regions_named).await;
    let rest = format!("region={regions}&endpoint={}&deployment={name}", proxy.url());
    let backend = account.backend_at(&kek, &rest);
    (proxy, backend)
}

async fn state(account: &Account, region: &str, id: &str) -> Option<KeyState> {
    let described = account.client(region).describe_key().key_id(id).send().await.unwrap();
    described.key_metadata.unwrap().key_state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_made_stands_in_the_ledger() {
    let Some(account) = Account::open() else { return };
    let (_proxy, backend) = deployment(&account, "made.example", HERE).await;
    assert_eq!(backend.ledger().await.unwrap(), []);
    let reference = backend.create("made.example x509-root 7", Algorithm::EcdsaP384).await.unwrap();
    let ledger = backend.ledger().await.unwrap();
    let [key] = ledger.as_slice() else { panic!("{ledger:?}") };
    assert_eq!((key.label.as_deref(), key.stage), (Some("made.example x509-root 7"), Stage::Whole));
    assert_eq!(key.public_key.as_deref(), Some(&*backend.public_key(&reference).await.unwrap()));
    let aliases = account.client(HERE).list_aliases().key_id(&key.id).send().await.unwrap().aliases.unwrap();
    assert_eq!(aliases[0].alias_name.as_deref(), Some(format!("alias/signet/made_2eexample/{}", key.id).as_str()));
    // Nothing of it is unfinished, however late it is; and another deployment does not see it.
    assert!(backend.discard_unfinished(Duration::ZERO, i64::MAX).await.unwrap().is_empty());
    let (_proxy, other) = deployment(&account, "made", HERE).await;
    assert_eq!(other.ledger().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_whose_making_broke_off_unseen_is_found_and_discarded() {
    let Some(account) = Account::open() else { return };
    let (proxy, backend) = deployment(&account, "lost", HERE).await;
    for fault in [Fault::LoseAnswer, Fault::Truncate] {
        proxy.plan(1, "CreateKey", &fault);
        let error = backend.create("lost", Algorithm::EcdsaP256).await.unwrap_err();
        assert_eq!(
            proxy.calls().iter().filter(|call| *call == "CreateKey").count(),
            1,
            "a second key was asked for: {error}"
        );
    }
    let ledger = backend.ledger().await.unwrap();
    assert_eq!(ledger.len(), 2, "{ledger:?}");
    assert!(
        ledger.iter().all(|key| key.stage == Stage::Unfinished && key.label.as_deref() == Some("lost")),
        "{ledger:?}"
    );
    // One that may still be in the making is left alone.
    let created = ledger[0].created_at_secs.unwrap();
    let hour = Duration::from_secs(3600);
    assert!(backend.discard_unfinished(hour, created + 60).await.unwrap().is_empty());
    let mut discarded = backend.discard_unfinished(hour, created + 7200).await.unwrap();
    discarded.sort();
    let mut ids: Vec<String> = ledger.iter().map(|key| key.id.clone()).collect();
    ids.sort();
    assert_eq!(discarded, ids);
    for id in &ids {
        assert_eq!(state(&account, HERE, id).await, Some(KeyState::PendingDeletion));
    }
    assert!(backend.discard_unfinished(hour, created + 7200).await.unwrap().is_empty(), "once is enough");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_an_operator_has_tagged_are_not_discarded() {
    let Some(account) = Account::open() else { return };
    let (_proxy, backend) = deployment(&account, "tagged", HERE).await;
    let client = account.client(HERE);
    let tag = |key: &str, value: &str| Tag::builder().tag_key(key).tag_value(value).build().unwrap();
    for spec in [KeySpec::SymmetricDefault, KeySpec::EccNistP256] {
        let id = account.key(spec, &[HERE]).await;
        client.tag_resource().key_id(&id).tags(tag("signet:deployment", "tagged")).send().await.unwrap();
    }
    // Even one with both tags, if it encrypts: that could be the wrapping key.
    let tags = [tag("signet:deployment", "tagged"), tag("signet:label", "the wrapping key")];
    let kek = account.key(KeySpec::SymmetricDefault, &[HERE]).await;
    client.tag_resource().key_id(&kek).set_tags(Some(tags.to_vec())).send().await.unwrap();
    assert_eq!(backend.ledger().await.unwrap(), []);
    assert!(backend.discard_unfinished(Duration::ZERO, i64::MAX).await.unwrap().is_empty());
    assert!(matches!(backend.discard(&kek).await, Err(KmsError::Key { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_cannot_be_finished_is_scheduled_for_deletion_at_once() {
    let Some(account) = Account::open() else { return };
    let (proxy, backend) = deployment(&account, "halfway", HERE).await;
    let refused = Fault::error(400, "AccessDeniedException", "no");
    for (operation, says) in [("GetPublicKey", "allow kms:GetPublicKey"), ("CreateAlias", "allow kms:CreateAlias")] {
        proxy.plan(100, operation, &refused);
        let error = backend.create("halfway", Algorithm::EcdsaP256).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        proxy.heal();
    }
    let ledger = backend.ledger().await.unwrap();
    assert_eq!(ledger.len(), 2);
    assert!(ledger.iter().all(|key| key.stage == Stage::Unfinished && key.state == "PendingDeletion"), "{ledger:?}");
    // A key of another kind than was asked for is not used either.
    proxy.plan(1, "GetPublicKey", &Fault::change(|_, answer| answer["PublicKey"] = serde_json::json!("AAAA")));
    assert!(matches!(backend.create("halfway", Algorithm::EcdsaP256).await, Err(KmsError::Wrong { .. })));
    // When KMS does not even take the deletion, the key is still found.
    proxy.plan(100, "CreateAlias", &refused);
    proxy.plan(100, "ScheduleKeyDeletion", &refused);
    backend.create("halfway", Algorithm::EcdsaP256).await.unwrap_err();
    proxy.heal();
    assert_eq!(backend.discard_unfinished(Duration::ZERO, i64::MAX).await.unwrap().len(), 1);
    assert!(backend.ledger().await.unwrap().iter().all(|key| key.state == "PendingDeletion"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_an_operator_offers_are_taken_over_once_each() {
    let Some(account) = Account::open() else { return };
    let (proxy, backend) = deployment(&account, "offered", HERE).await;
    let mut offered = Vec::new();
    for (number, spec) in [KeySpec::EccNistP256, KeySpec::EccNistP256, KeySpec::Rsa2048].into_iter().enumerate() {
        let id = account.key(spec, &[HERE]).await;
        account.alias(HERE, &format!("alias/signet/offered/offer/{number}"), &id).await;
        offered.push(id);
    }
    // Two at once, as from two nodes, get different ones.
    let again = account.backend_at(
        &account.key(KeySpec::SymmetricDefault, &[HERE]).await,
        &format!("region={HERE}&endpoint={}&deployment=offered", proxy.url()),
    );
    let (one, two) =
        tokio::join!(backend.create("root", Algorithm::EcdsaP256), again.create("root", Algorithm::EcdsaP256));
    let (one, two) = (one.unwrap(), two.unwrap());
    let mut taken = [&one, &two].map(|key| SigningKey::from_reference(key).unwrap().id);
    taken.sort();
    let mut expected = [offered[0].clone(), offered[1].clone()];
    expected.sort();
    assert_eq!(taken, expected);
    assert!(!proxy.calls().contains(&"CreateKey".to_owned()), "nothing was made");
    let digest = Digest::sha256(b"message");
    backend.sign_digest(&two, &digest).await.unwrap();
    // With none left of the kind, one is made; and who may not make any is told about offers.
    proxy.plan(1, "CreateKey", &Fault::error(400, "AccessDeniedException", "no"));
    let error = backend.create("root", Algorithm::EcdsaP256).await.unwrap_err().to_string();
    assert!(error.contains("alias/signet/offered/offer/1"), "{error}");
    let made = backend.create("root", Algorithm::EcdsaP256).await.unwrap();
    assert!(!offered.contains(&SigningKey::from_reference(&made).unwrap().id));
    let stages: Vec<Stage> = backend.ledger().await.unwrap().iter().map(|key| key.stage).collect();
    assert_eq!(stages, [Stage::Whole; 3]);
    // An offer that cannot be used is said, not passed over.
    account.client(HERE).disable_key().key_id(&offered[2]).send().await.unwrap();
    let error = backend.create("root", Algorithm::Rsa2048).await.unwrap_err().to_string();
    assert!(error.contains("is not enabled") && error.contains("offer/2"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_for_two_regions_is_replicated_and_discarded_in_both() {
    let Some(account) = Account::open() else { return };
    let regions = format!("{HERE},{ELSEWHERE}");
    let (proxy, backend) = deployment(&account, "replicated", &regions).await;
    let key = backend.create("root", Algorithm::EcdsaP256).await.unwrap();
    let id = SigningKey::from_reference(&key).unwrap().id;
    for region in [HERE, ELSEWHERE] {
        assert_eq!(state(&account, region, &id).await, Some(KeyState::Enabled));
    }
    let error = backend.discard(&id).await.unwrap_err().to_string();
    assert!(error.contains("aws kms disable-key"), "a key in use was discarded: {error}");
    backend.sign_digest(&key, &Digest::sha256(b"message")).await.unwrap();
    for region in [HERE, ELSEWHERE] {
        account.client(region).disable_key().key_id(&id).send().await.unwrap();
    }
    backend.discard(&id).await.unwrap();
    for region in [HERE, ELSEWHERE] {
        assert_eq!(state(&account, region, &id).await, Some(KeyState::PendingDeletion));
    }
    assert!(matches!(backend.discard("00000000-0000-4000-8000-000000000000").await, Err(KmsError::Key { .. })));
    // A replica that cannot be made leaves a key that works where it is.
    proxy.plan(1, "ReplicateKey", &Fault::error(400, "AccessDeniedException", "no"));
    let key = backend.create("root", Algorithm::EcdsaP256).await.unwrap();
    backend.sign_digest(&key, &Digest::sha256(b"message")).await.unwrap();
}
