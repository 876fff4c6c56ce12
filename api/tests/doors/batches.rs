//! Entries and SVIDs: order, item statuses, masks, pages, wire-level rules.

use signet_api::client::EntryResult;
use signet_api::proto::entry::entry_client::EntryClient;
use signet_api::proto::entry::{
    BatchCreateEntryRequest, BatchDeleteEntryRequest, BatchUpdateEntryRequest, GetEntryRequest, ListEntriesRequest,
};
use signet_api::proto::svid::svid_client::SvidClient;
use signet_api::proto::svid::{BatchNewX509svidRequest, MintX509svidRequest, NewJwtsvidRequest, NewX509svidParams};
use signet_api::proto::types;
use signet_api::service::{EntryFilter, NewX509Svid};
use signet_model::command::{EntryChange, EntryFields};
use signet_model::entry::{EntryId, EntrySpec, Selector};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::node::Node;

fn spec(name: &str) -> EntrySpec {
    EntrySpec {
        spiffe_id: format!("spiffe://example.org/{name}").parse().unwrap(),
        parent_id: "spiffe://example.org/host".parse().unwrap(),
        selectors: vec![Selector { kind: "unix".into(), value: "uid:1".into() }],
        x509_svid_ttl_secs: 60,
        jwt_svid_ttl_secs: 30,
        federates_with: Vec::new(),
        dns_names: vec!["a.example.org".into()],
        admin: true,
        downstream: false,
        store_svid: false,
        hint: "hint".into(),
        expires_at_secs: 0,
        disable_x509_svid_prefetch: false,
        jwt_svid_include_jti: true,
    }
}

fn wire(id: &str, name: &str) -> types::Entry {
    let part = |path: String| Some(types::Spiffeid { trust_domain: "example.org".into(), path });
    types::Entry {
        id: id.into(),
        spiffe_id: part(format!("/{name}")),
        parent_id: part("/host".into()),
        selectors: vec![types::Selector { r#type: "unix".into(), value: "uid:1".into() }],
        ..Default::default()
    }
}

async fn entries(node: &Node) -> EntryClient<Channel> {
    EntryClient::new(node.admin().await.channel())
}

#[tokio::test]
async fn entries_live_and_die_by_the_typed_client() {
    let node = Node::start().await;
    let client = node.admin().await;
    let id: EntryId = "e-1".parse().unwrap();
    let created = client.create_entries(vec![(Some(id.clone()), spec("a")), (None, spec("a"))]).await.unwrap();
    let [EntryResult::Done(first), EntryResult::Similar(same)] = created.as_slice() else { panic!("{created:?}") };
    assert_eq!((first, &first.id, &first.spec), (same, &id, &spec("a")));
    assert_eq!(client.entry(&id).await.unwrap(), *first);

    let mut fields = EntryFields::ALL;
    fields.admin = false;
    let change =
        EntryChange { id: id.clone(), spec: EntrySpec { hint: "new".into(), admin: false, ..spec("a") }, fields };
    let updated = client.update_entries(vec![change]).await.unwrap();
    let [EntryResult::Done(updated)] = updated.as_slice() else { panic!("{updated:?}") };
    assert_eq!((updated.spec.hint.as_str(), updated.spec.admin, updated.revision), ("new", true, 1));

    assert_eq!(client.count_entries(&EntryFilter::default()).await.unwrap(), 1);
    let deleted = client.delete_entries(vec![id.clone(), id.clone()]).await.unwrap();
    let [EntryResult::Deleted(gone), EntryResult::Refused(refused)] = deleted.as_slice() else { panic!("{deleted:?}") };
    assert_eq!((gone, refused.code.as_str(), refused.message.as_str()), (&id, "not_found", "entry not found"));
    assert_eq!(client.entry(&id).await.unwrap_err().code, "not_found");
}

#[tokio::test]
async fn results_keep_order_and_length_and_always_have_a_status() {
    let node = Node::start().await;
    let mut client = entries(&node).await;
    let mut broken = wire("e-2", "b");
    broken.selectors[0].r#type.clear();
    let mut reserved = wire("e-4", "d");
    reserved.spiffe_id.as_mut().unwrap().path = "/spire/agent/x".into();
    let request = BatchCreateEntryRequest {
        entries: vec![wire("e-1", "a"), broken, wire("e-3", "a"), reserved, wire("e-5", "e")],
        output_mask: None,
    };
    let results = client.batch_create_entry(request).await.unwrap().into_inner().results;
    let statuses: Vec<_> = results.iter().map(|result| result.status.clone().expect("a status")).collect();
    assert_eq!(statuses.iter().map(|status| status.code).collect::<Vec<_>>(), [0, 3, 6, 3, 0]);
    assert_eq!(statuses[1].message, "failed to convert entry: missing selector type");
    assert_eq!(statuses[2].message, "similar entry already exists");
    assert!(statuses[3].message.starts_with("failed to convert entry: invalid spiffe ID: "));
    assert_eq!(results[2].entry.as_ref().unwrap().id, "e-1", "the similar entry is shown");
    assert_eq!(results[4].entry.as_ref().unwrap().id, "e-5");

    let request = BatchDeleteEntryRequest { ids: vec![String::new(), "e-5".into(), "none".into()] };
    let results = client.batch_delete_entry(request).await.unwrap().into_inner().results;
    let told: Vec<_> = results.iter().map(|r| (r.id.as_str(), r.status.as_ref().unwrap().code)).collect();
    assert_eq!(told, [("", 3), ("e-5", 0), ("none", 5)]);
    assert_eq!(results[0].status.as_ref().unwrap().message, "missing entry ID");
}

#[tokio::test]
async fn masks_limit_what_is_changed_and_what_is_shown() {
    let node = Node::start().await;
    let mut client = entries(&node).await;
    node.admin().await.create_entries(vec![(Some("e-1".parse().unwrap()), spec("a"))]).await.unwrap();
    let only_hint = types::EntryMask { hint: true, ..Default::default() };
    let request = GetEntryRequest { id: "e-1".into(), output_mask: Some(only_hint) };
    let shown = client.get_entry(request).await.unwrap().into_inner();
    assert_eq!(shown, types::Entry { id: "e-1".into(), hint: "hint".into(), ..Default::default() });

    let update = types::Entry { id: "e-1".into(), hint: "new".into(), x509_svid_ttl: -9, ..Default::default() };
    let request = BatchUpdateEntryRequest {
        entries: vec![update.clone()],
        input_mask: Some(only_hint),
        output_mask: Some(types::EntryMask { hint: true, admin: true, ..Default::default() }),
    };
    let results = client.batch_update_entry(request).await.unwrap().into_inner().results;
    let expected = types::Entry { id: "e-1".into(), hint: "new".into(), admin: true, ..Default::default() };
    assert_eq!(results[0].entry.as_ref(), Some(&expected), "what the mask does not name is not looked at");

    let request = BatchUpdateEntryRequest { entries: vec![update], input_mask: None, output_mask: None };
    let results = client.batch_update_entry(request).await.unwrap().into_inner().results;
    assert_eq!(results[0].status.as_ref().unwrap().code, 3, "without a mask every field counts");
}

#[tokio::test]
async fn pages_lead_through_the_whole_list_once() {
    let node = Node::start().await;
    let all: Vec<_> = (0..1203).map(|n| (Some(format!("e-{n:04}").parse().unwrap()), spec(&format!("w{n}")))).collect();
    let client = node.admin().await;
    client.create_entries(all).await.unwrap();
    let listed = client.entries(&EntryFilter::default()).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|entry| entry.id.to_string()).collect();
    assert_eq!(ids, (0..1203).map(|n| format!("e-{n:04}")).collect::<Vec<_>>());

    let mut client = entries(&node).await;
    let request = ListEntriesRequest { page_size: 1203, ..Default::default() };
    assert_eq!(client.list_entries(request).await.unwrap().into_inner().next_page_token, "");
    let request = ListEntriesRequest { page_token: "e-0001".into(), ..Default::default() };
    assert_eq!(client.list_entries(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn x509_svids_come_in_the_order_asked_with_a_status_each() {
    let node = Node::start().await;
    let agent = node.agent(Some(node.pki.agent())).await.unwrap();
    let item = |entry: &str, csr: &[u8]| NewX509svidParams { entry_id: entry.into(), csr: csr.to_vec() };
    let params = vec![
        item("a", b"1"),
        item("", b"2"),
        item("foreign", b"3"),
        item("b", b""),
        item("b/c", b"5"),
        item("b", b"6"),
    ];
    let mut client = SvidClient::new(agent.channel());
    let results = client.batch_new_x509svid(BatchNewX509svidRequest { params }).await.unwrap().into_inner().results;
    let told: Vec<_> = results
        .iter()
        .map(|r| {
            let status = r.status.as_ref().expect("a status");
            (status.code, status.message.as_str(), r.svid.as_ref().map(|svid| svid.cert_chain[0].as_slice()))
        })
        .collect();
    let missing = "entry not found or not authorized";
    let expected: [(i32, &str, Option<&[u8]>); 6] = [
        (0, "OK", Some(b"1")),
        (3, "missing entry ID", None),
        (5, missing, None),
        (3, "missing CSR", None),
        (5, missing, None),
        (0, "OK", Some(b"6")),
    ];
    assert_eq!(told, expected);

    let typed = vec![NewX509Svid { entry: "a".parse().unwrap(), csr: b"1".to_vec() }];
    assert_eq!(agent.new_x509_svids(typed).await.unwrap()[0].as_ref().unwrap().cert_chain, [b"1"]);
    let too_many = BatchNewX509svidRequest { params: vec![item("a", b"1"); 1001] };
    assert_eq!(client.batch_new_x509svid(too_many).await.unwrap_err().code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn requests_that_lack_something_are_refused_with_spires_texts() {
    let node = Node::start().await;
    let mut agent = SvidClient::new(node.agent(Some(node.pki.agent())).await.unwrap().channel());
    let mut admin = SvidClient::new(node.admin().await.channel());
    let told = |status: Status| (status.code(), status.message().to_owned());
    let wrong = |text: &str| (Code::InvalidArgument, text.to_owned());

    let none = agent.batch_new_x509svid(BatchNewX509svidRequest::default()).await.unwrap_err();
    assert_eq!(told(none), wrong("missing parameters"));
    let none = agent.new_jwtsvid(NewJwtsvidRequest::default()).await.unwrap_err();
    assert_eq!(told(none), wrong("missing entry ID"));
    let none = agent.new_jwtsvid(NewJwtsvidRequest { entry_id: "a".into(), audience: vec![] }).await.unwrap_err();
    assert_eq!(told(none), wrong("at least one audience is required"));
    let none = admin.mint_x509svid(MintX509svidRequest::default()).await.unwrap_err();
    assert_eq!(told(none), wrong("missing CSR"));
    let negative = admin.mint_x509svid(MintX509svidRequest { csr: vec![1], ttl: -1 }).await.unwrap_err();
    assert_eq!(told(negative), wrong("ttl must not be negative; 0 is the default"));
    let none = entries(&node).await.get_entry(GetEntryRequest::default()).await.unwrap_err();
    assert_eq!(told(none), wrong("missing ID"));
    assert_eq!(node.fake.seen_count(), 0, "nothing of this reached the service");
}

#[tokio::test]
async fn mints_bundles_cluster_and_policy_come_back_as_models() {
    let node = Node::start().await;
    let client = node.admin().await;
    assert_eq!(client.mint_x509_svid(b"csr".to_vec(), 0).await.unwrap().cert_chain, [b"csr"]);
    let id = "spiffe://example.org/x".parse().unwrap();
    let minted = client.mint_jwt_svid(&id, &["aud".into()], 77).await.unwrap();
    assert_eq!((minted.spiffe_id, minted.expires_at_secs - minted.issued_at_secs), (id, 77));
    let bundle = client.bundle().await.unwrap();
    assert_eq!((bundle.sequence_number, bundle.x509_authorities[0].certificate.as_slice()), (7, [1, 2].as_slice()));
    let status = client.cluster_status().await.unwrap();
    let roles: Vec<_> = status.nodes.iter().map(|node| node.role).collect();
    assert_eq!(roles, ["follower", "leader", "learner", "unreachable"]);
    assert_eq!((status.leader, status.stale, status.nodes[0].lag), (Some(2), true, None));
    assert_eq!(client.init_cluster().await.unwrap().term, 4);
    let token = client.create_join_token(0).await.unwrap();
    assert_eq!((token.text.as_str(), token.expires_at_secs), ("secret", 3600));
    assert!(!format!("{token:?}").contains("secret"));
    assert_eq!(client.apply_policy("rules: []".into(), Some(3)).await.unwrap(), 4);
    assert_eq!(client.policy().await.unwrap(), (3, "rules: []\n".to_owned()));
}
