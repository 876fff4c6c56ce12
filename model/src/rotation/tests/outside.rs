//! Roots that come from elsewhere: nobody but a person replaces them.

use std::time::Duration;

use super::world::{NODES, World, name, settings};
use crate::authority::{Authority, AuthorityKind, CertificateRequest, Outside, StoredKey};
use crate::caller::Caller;
use crate::command::{AuthorityRef, Command};
use crate::refusal::{Reason, Refusal};
use crate::rotation::{Action, Step};
use crate::state;

use AuthorityKind::{X509Issuing, X509Root};

const PERSON: Caller = Caller::Local { node: 1, uid: 0, pid: 1 };

/// A root of ours that the outside CA `anchor` signed for so many seconds.
fn signed_outside(world: &mut World, anchor: &str, life_secs: u64) -> Authority {
    let mut root = world.new_authority(&settings(), X509Root, String::new());
    root.not_after = world.now.after(Duration::from_secs(life_secs));
    root.public_key = root.id.clone().into_bytes();
    root.outside = Some(Outside { above: vec![anchor.as_bytes().to_vec().into()] });
    root
}

fn prepare_as(world: &mut World, caller: Caller, authority: Authority) -> Result<AuthorityRef, Refusal> {
    let which = name(authority.kind, &authority.id);
    let expected_epoch = world.hierarchy().epoch(authority.kind);
    world.apply_as(caller, Command::PrepareAuthority { authority, expected_epoch })?;
    Ok(which)
}

fn import(world: &mut World, anchor: &str, life_secs: u64) -> AuthorityRef {
    let root = signed_outside(world, anchor, life_secs);
    prepare_as(world, PERSON, root).unwrap()
}

fn bundle(world: &World) -> Vec<(String, bool)> {
    let bundle = state::trust_bundle(&world.rows).unwrap().unwrap();
    let anchors = bundle.x509_authorities.into_iter();
    anchors.map(|one| (String::from_utf8(one.certificate).unwrap(), one.tainted)).collect()
}

fn lead_for(world: &mut World, seconds: u64) {
    for _ in 0..seconds {
        world.pass(1);
        world.lead();
        world.report_all();
        world.lead();
    }
}

fn of_roots(world: &World, action: Action) -> Vec<Step> {
    let plan = world.hierarchy().plan(world.now);
    plan.into_iter().filter(|step| step.kind == X509Root && step.action == action).collect()
}

/// The outside CA's intermediate signs, and everything under it comes from it.
fn moved(anchor: &str, life_secs: u64) -> (World, AuthorityRef) {
    let mut world = World::new();
    let imported = import(&mut world, anchor, life_secs);
    lead_for(&mut world, 20);
    world.request(&[X509Root], false, None).unwrap();
    lead_for(&mut world, 5);
    assert_eq!(world.active(X509Root), imported);
    (world, imported)
}

#[test]
fn what_an_outside_ca_signed_is_published_by_its_anchor_waits_and_takes_over_when_asked() {
    let mut world = World::new();
    let imported = import(&mut world, "corporate", 2_000);
    assert_eq!(bundle(&world).iter().map(|(anchor, _)| anchor.as_str()).collect::<Vec<_>>(), ["1", "2", "corporate"]);
    world.pass(5);
    let refusal = world.activate(&imported, &NODES, false).unwrap_err();
    assert!(refusal.detail.contains("not been published for long enough"), "{refusal}");
    lead_for(&mut world, 20);
    // The standby of our own making goes when verifiers know the imported one, and none is made any more.
    assert_eq!(bundle(&world).iter().map(|(anchor, _)| anchor.as_str()).collect::<Vec<_>>(), ["1", "corporate"]);
    assert!(of_roots(&world, Action::Prepare).is_empty());
    world.request(&[X509Root], false, None).unwrap();
    lead_for(&mut world, 5);
    assert_eq!(world.active(X509Root), imported);
    let hierarchy = world.hierarchy();
    let issuing = hierarchy.active(X509Issuing).unwrap();
    assert_eq!(issuing.life.issuer, imported.id);
    assert_eq!(issuing.presented().len(), 2, "the issuing CA and the intermediate travel, the anchor does not");
    assert_eq!(issuing.anchor(), b"corporate");
    lead_for(&mut world, 600);
    assert_eq!(bundle(&world), [("corporate".to_owned(), false)], "nothing under the old root is valid any more");
}

#[test]
fn the_plan_asks_for_a_successor_at_half_of_the_life_and_never_makes_one() {
    let (mut world, imported) = moved("corporate", 2_000);
    let due = of_roots(&world, Action::Import);
    assert_eq!(due[0].due, world.hierarchy().find(&imported).unwrap().created_at.after(Duration::from_secs(1_000)));
    lead_for(&mut world, 2_100);
    assert_eq!(world.active(X509Root), imported);
    assert_eq!(bundle(&world), [("corporate".to_owned(), false)]);
    assert_eq!(of_roots(&world, Action::Import)[0].due, world.now);
    assert!(of_roots(&world, Action::Prepare).is_empty() && of_roots(&world, Action::Activate).is_empty());
    // Once it has come, it takes over at once: nothing else can sign.
    let next = import(&mut world, "corporate", 2_000);
    lead_for(&mut world, 2);
    assert_eq!(world.active(X509Root), next);
    assert_eq!(world.hierarchy().active(X509Issuing).unwrap().life.issuer, next.id);
}

#[test]
fn the_successor_takes_over_by_schedule_and_one_that_ends_no_later_is_none() {
    let (mut world, first) = moved("corporate", 2_000);
    let short = import(&mut world, "corporate", 1_000);
    lead_for(&mut world, 1_000);
    assert_eq!(world.active(X509Root), first);
    assert!(world.hierarchy().find(&short).is_none(), "it has ended and was discarded");
    let next = import(&mut world, "another", 2_000);
    lead_for(&mut world, 550);
    assert_eq!(world.active(X509Root), next, "{:#?}", world.hierarchy().plan(world.now));
}

#[test]
fn no_node_puts_a_root_of_its_own_making_in_its_place_and_a_person_may() {
    let (mut world, imported) = moved("corporate", 2_000);
    let own = world.new_authority(&settings(), X509Root, String::new());
    let refusal = prepare_as(&mut world, Caller::Node { node: 1 }, own.clone()).unwrap_err();
    assert_eq!(refusal.reason, Reason::FailedPrecondition);
    assert!(refusal.detail.contains("only a person"), "{refusal}");
    let own = prepare_as(&mut world, PERSON, own).unwrap();
    world.request(&[X509Root], true, None).unwrap();
    lead_for(&mut world, 30);
    assert_eq!(world.active(X509Root), imported, "not even an emergency does it by itself");
    assert!(world.activate(&own, &NODES, false).is_err());
    let expected_epoch = world.hierarchy().epoch(X509Root);
    let activate =
        Command::ActivateAuthority { authority: own.clone(), expected_epoch, waits_for: vec![], force: false };
    world.apply_as(PERSON, activate).unwrap();
    assert_eq!(world.active(X509Root), own);
}

#[test]
fn what_verifiers_know_by_an_anchor_that_stays_cannot_be_taken_from_them() {
    let (mut world, first) = moved("corporate", 2_000);
    let second = import(&mut world, "corporate", 3_000);
    lead_for(&mut world, 20);
    world.request(&[X509Root], true, Some(5)).unwrap();
    lead_for(&mut world, 20);
    assert_eq!(world.active(X509Root), second);
    for refusal in [world.taint(&first).unwrap_err(), world.revoke(&first).unwrap_err()] {
        assert!(refusal.detail.contains("outside CA"), "{refusal}");
    }
    let hierarchy = world.hierarchy();
    let under = hierarchy.under(&first.id).map(|one| one.not_after).max().unwrap();
    let bounds = hierarchy.bounds(world.now);
    let bound = bounds.iter().find(|bound| bound.authority == first).unwrap();
    assert!(bound.accepted_until >= under, "it is not promised to be gone before what is under it ends");
    assert_eq!(bundle(&world).iter().filter(|(anchor, tainted)| anchor == "corporate" && !tainted).count(), 1);
    lead_for(&mut world, 500);
    assert!(world.hierarchy().find(&first).is_none(), "it retires when nothing under it is valid");
}

#[test]
fn an_anchor_of_another_outside_ca_is_tainted_and_revoked_as_any() {
    let (mut world, first) = moved("corporate", 2_000);
    let second = import(&mut world, "another", 3_000);
    lead_for(&mut world, 20);
    world.request(&[X509Root], true, Some(20)).unwrap();
    lead_for(&mut world, 10);
    assert_eq!(world.active(X509Root), second);
    assert!(bundle(&world).contains(&("corporate".to_owned(), true)));
    lead_for(&mut world, 30);
    assert!(world.hierarchy().find(&first).is_none());
    assert!(bundle(&world).iter().all(|(anchor, _)| anchor != "corporate"));
}

#[test]
fn a_request_waits_until_its_key_has_a_certificate() {
    let mut world = World::new();
    let root = signed_outside(&mut world, "corporate", 2_000);
    let request = |id: &str, public_key: &[u8]| CertificateRequest {
        id: id.to_owned(),
        public_key: public_key.to_vec(),
        key: root.key.clone(),
        request: vec![3],
        made_at: world.now,
    };
    let (kept, other) = (request("k", &root.public_key), request("l", b"other"));
    let wrapped = CertificateRequest { key: StoredKey::Wrapped { for_recipients: vec![] }, ..request("m", b"") };
    for request in [&kept, &other] {
        world.apply(Command::KeepCertificateRequest { request: request.clone() }).unwrap();
    }
    assert_eq!(
        world.apply(Command::KeepCertificateRequest { request: wrapped }).unwrap_err().reason,
        Reason::InvalidArgument
    );
    assert_eq!(world.hierarchy().certificate_requests, [kept.clone(), other.clone()]);
    prepare_as(&mut world, PERSON, root).unwrap();
    assert_eq!(world.hierarchy().certificate_requests, std::slice::from_ref(&other));
    assert_eq!(state::verify(&world.rows).problems, Vec::<String>::new());
    for nth in 0..3 {
        let request = CertificateRequest { id: nth.to_string(), ..other.clone() };
        world.apply(Command::KeepCertificateRequest { request }).unwrap();
    }
    let refusal = world.apply(Command::KeepCertificateRequest { request: kept }).unwrap_err();
    assert!(refusal.detail.contains("--discard"), "{refusal}");
    world.apply(Command::DropCertificateRequest { id: "l".into() }).unwrap();
    let refusal = world.apply(Command::DropCertificateRequest { id: "l".into() }).unwrap_err();
    assert_eq!(refusal.reason, Reason::NotFound);
}
