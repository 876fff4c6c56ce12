//! What a caller says beside the message: keys that make retries safe, and how fresh a read must be.

use signet_api::proto::policy::policy_client::PolicyClient;
use signet_api::proto::policy::{ApplyRequest, ShowRequest};
use signet_api::service::{Consistency, EntryFilter};
use signet_api::status;
use signet_model::refusal::{Reason, Refusal};
use signet_model::request_key::RequestKey;
use tonic::{Code, Request};

use crate::node::Node;

fn keys(node: &Node) -> Vec<Option<RequestKey>> {
    node.fake.seen.lock().unwrap().iter().map(|(_, call)| call.request.clone()).collect()
}

#[tokio::test]
async fn a_change_carries_its_key_and_a_digest_of_what_it_asks_for() {
    let node = Node::start().await;
    let mut client = PolicyClient::new(node.admin().await.channel());
    let mut apply = async |key: Option<&str>, document: &str| {
        let mut request = Request::new(ApplyRequest { document: document.into(), expected_version: None });
        if let Some(key) = key {
            request.metadata_mut().insert("signet-idempotency-key", key.parse().unwrap());
        }
        client.apply(request).await.map(|_| ())
    };
    apply(None, "a").await.unwrap();
    apply(Some("k"), "a").await.unwrap();
    apply(Some("k"), "a").await.unwrap();
    apply(Some("k"), "b").await.unwrap();
    let refused = apply(Some("two words"), "a").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("signet-idempotency-key: "), "{refused:?}");
    let keys = keys(&node);
    assert_eq!(keys.len(), 4, "the refused call reached the service");
    assert_eq!(keys[0], None);
    assert_eq!(keys[1], keys[2]);
    let (first, other) = (keys[1].as_ref().unwrap(), keys[3].as_ref().unwrap());
    assert_eq!(first.key, other.key);
    assert_ne!(first.request, other.request);
}

#[tokio::test]
async fn the_client_gives_each_change_a_key_of_its_own_or_the_one_it_was_told() {
    let node = Node::start().await;
    let admin = node.admin().await;
    admin.apply_policy("a".into(), None).await.unwrap();
    admin.apply_policy("a".into(), None).await.unwrap();
    let told = node.admin().await.with_idempotency_key("mine").unwrap();
    told.delete_entries(vec!["e".parse().unwrap()]).await.unwrap();
    let keys = keys(&node);
    assert_ne!(keys[0].as_ref().unwrap().key, keys[1].as_ref().unwrap().key);
    assert_eq!(keys[2].as_ref().unwrap().key, RequestKey::new("mine", "", b"").unwrap().key);
    assert_eq!(node.admin().await.with_idempotency_key("line\nbreak").unwrap_err().code, "invalid_argument");
}

#[tokio::test]
async fn the_client_asks_again_under_the_same_key_when_the_outcome_is_not_known() {
    let node = Node::start().await;
    *node.fake.refuse_once.lock().unwrap() =
        vec![Refusal::new(Reason::DeadlineExceeded, "who knows"), Refusal::new(Reason::ResourceExhausted, "busy")];
    node.admin().await.apply_policy("a".into(), None).await.unwrap();
    let keys = keys(&node);
    assert_eq!(keys.len(), 3);
    assert!(keys[0].is_some() && keys[0] == keys[1] && keys[1] == keys[2], "{keys:?}");

    *node.fake.refuse_once.lock().unwrap() = vec![Refusal::new(Reason::Conflict, "another came first")];
    let refused = node.admin().await.apply_policy("a".into(), None).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::Conflict), "a refusal that will not pass is not asked again");
}

#[tokio::test]
async fn an_overload_says_when_to_come_back() {
    let node = Node::start().await;
    *node.fake.refuse.lock().unwrap() = Some(Refusal::new(Reason::ResourceExhausted, "busy"));
    let heard = PolicyClient::new(node.admin().await.channel()).show(ShowRequest {}).await.unwrap_err();
    assert_eq!(heard.code(), Code::ResourceExhausted);
    assert_eq!(status::retry_delay(&heard).map(|delay| delay.as_secs()), Some(1));
    assert_eq!(status::code_of(&heard).as_deref(), Some("resource_exhausted"));
    *node.fake.refuse.lock().unwrap() = Some(Refusal::new(Reason::NoQuorum, "none"));
    let heard = PolicyClient::new(node.admin().await.channel()).show(ShowRequest {}).await.unwrap_err();
    assert_eq!(status::retry_delay(&heard), None);
}

#[tokio::test]
async fn a_stale_read_is_asked_for_and_labelled_with_its_index() {
    let node = Node::start().await;
    *node.fake.covers.lock().unwrap() = 17;
    let mut client = PolicyClient::new(node.admin().await.channel());
    let mut show = async |consistency: Option<&'static str>| {
        let mut request = Request::new(ShowRequest {});
        if let Some(consistency) = consistency {
            request.metadata_mut().insert("signet-consistency", consistency.parse().unwrap());
        }
        client.show(request).await.map(|answer| {
            let of = |name: &str| answer.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
            (of("signet-applied-index"), of("signet-stale"))
        })
    };
    let seventeen = Some("17".to_owned());
    assert_eq!(show(None).await.unwrap(), (seventeen.clone(), None));
    assert_eq!(show(Some("linearizable")).await.unwrap(), (seventeen.clone(), None));
    assert_eq!(show(Some("stale")).await.unwrap(), (seventeen, Some("true".to_owned())));
    assert_eq!(show(Some("newest")).await.unwrap_err().code(), Code::InvalidArgument);

    let stale = node.admin().await.stale();
    assert_eq!(stale.stale_index(), None);
    stale.entries(&EntryFilter::default()).await.unwrap();
    assert_eq!(stale.stale_index(), Some(17));
    let seen = node.fake.seen.lock().unwrap();
    let asked: Vec<Consistency> = seen.iter().map(|(_, call)| call.consistency).collect();
    let (linearizable, stale) = (Consistency::Linearizable, Consistency::Stale);
    assert_eq!(asked, [linearizable, linearizable, stale, stale]);
}
