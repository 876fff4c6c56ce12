//! The schedule, and what is refused with which words.

use std::time::Duration;

use super::world::{NODES, START, World, name, settings};
use crate::authority::{AuthorityKind, Slot};
use crate::command::Settings;
use crate::refusal::Reason;
use crate::rotation::{Action, Step};
use crate::state;

use AuthorityKind::{JwtSvid, TransactionToken, X509Issuing, X509Root};

fn step(world: &World, kind: AuthorityKind, action: Action) -> Step {
    let plan = world.hierarchy().plan(world.now);
    plan.iter().find(|step| step.kind == kind && step.action == action).cloned().unwrap_or_else(|| panic!("{plan:#?}"))
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Leads second by second.
fn lead_for(world: &mut World, seconds: u64) {
    for _ in 0..seconds {
        world.pass(1);
        world.lead();
        world.report_all();
        world.lead();
        world.check();
    }
}

#[test]
fn the_default_schedule_is_the_one_that_is_documented() {
    let settings = Settings { rotation: None, refresh_hint_secs: 300, lease_secs: 30, ..settings() };
    let hours = |kind| settings.authority_lifetime(kind).as_secs() / 3600;
    assert_eq!(AuthorityKind::ALL.iter().map(|kind| hours(*kind)).collect::<Vec<_>>(), [87_600, 48, 48, 48]);
    assert_eq!(settings.publication(JwtSvid, false), secs(3600));
    assert_eq!(settings.publication(JwtSvid, true), secs(332));
    assert_eq!(settings.publication(X509Issuing, false), Duration::ZERO);
}

#[test]
fn the_plan_of_a_new_cluster_says_when_each_key_is_made_signs_and_goes() {
    let world = World::new();
    let jwt = step(&world, JwtSvid, Action::Prepare);
    assert_eq!((jwt.due, jwt.id), (START.after(secs(200)), None));
    let jwt = step(&world, JwtSvid, Action::Activate);
    assert_eq!(jwt.due, START.after(secs(240)));
    assert_eq!(jwt.deadline.unwrap().since(START).as_secs(), 400 * 5 / 6);
    let issuing = step(&world, X509Issuing, Action::Activate);
    assert_eq!(issuing.due, START.after(secs(200)));
    assert_eq!(step(&world, X509Root, Action::Activate).due, START.after(secs(3_000)));
    assert_eq!(step(&world, X509Root, Action::Prepare).due, START.after(secs(2_000)));
}

#[test]
fn a_token_key_is_published_before_it_signs_and_kept_until_what_it_signed_has_ended() {
    let mut world = World::new();
    let first = world.active(JwtSvid);
    lead_for(&mut world, 200);
    let plan = step(&world, JwtSvid, Action::Activate);
    let second = name(JwtSvid, &plan.id.unwrap());
    assert!(world.published.contains_key(&second));
    assert_eq!(world.active(JwtSvid), first);
    lead_for(&mut world, 40);
    assert_eq!(world.active(JwtSvid), second);
    lead_for(&mut world, 162 - 1);
    assert!(world.published.contains_key(&first));
    lead_for(&mut world, 1);
    assert!(!world.published.contains_key(&first));
    let past = world.hierarchy().past;
    assert!(past.iter().any(|past| past.authority == first && !past.revoked), "{past:?}");
}

#[test]
fn an_activation_waits_for_a_living_voter_until_its_deadline() {
    let mut world = World::new();
    world.pass(200);
    world.lead();
    let prepared = step(&world, X509Issuing, Action::Activate);
    let (which, deadline) = (name(X509Issuing, &prepared.id.unwrap()), prepared.deadline.unwrap());
    let refused = world.activate(&which, &NODES, false).unwrap_err();
    assert!(refused.detail.contains("no node has unwrapped"), "{refused}");
    world.report(1);
    world.report(2);
    let refused = world.activate(&which, &NODES, false).unwrap_err();
    assert_eq!(refused.reason, Reason::FailedPrecondition);
    assert!(refused.detail.contains("node [3]"), "{refused}");
    world.now = deadline;
    world.lead();
    assert_eq!(world.active(X509Issuing), which);
}

#[test]
fn an_activation_does_not_wait_for_a_voter_that_is_gone() {
    let mut world = World::new();
    world.nodes.get_mut(&3).unwrap().cut = true;
    let before = world.active(X509Issuing);
    world.pass(200);
    world.lead();
    world.report_all();
    world.lead();
    assert_ne!(world.active(X509Issuing), before);
}

#[test]
fn a_key_that_verifiers_may_not_know_is_not_activated_by_hand_either() {
    let mut world = World::new();
    let prepared = world.prepare(JwtSvid).unwrap();
    world.report_all();
    let refused = world.activate(&prepared, &NODES, false).unwrap_err();
    assert!(refused.detail.contains("can be activated in 16 s"), "{refused}");
    world.pass(16);
    world.activate(&prepared, &NODES, false).unwrap();
}

#[test]
fn force_activates_at_once_but_never_a_key_that_nobody_holds() {
    let mut world = World::new();
    let prepared = world.prepare(TransactionToken).unwrap();
    world.activate(&prepared, &[], true).unwrap_err();
    world.report(2);
    world.activate(&prepared, &NODES, true).unwrap();
    assert_eq!(world.active(TransactionToken), prepared);
}

#[test]
fn a_proposer_that_looked_before_another_change_is_refused() {
    let mut world = World::new();
    let prepared = world.prepare(JwtSvid).unwrap();
    let expected_epoch = world.hierarchy().epoch(JwtSvid) - 1;
    let command = crate::command::Command::RevokeAuthority { authority: prepared, expected_epoch, force: false };
    assert_eq!(world.apply(command).unwrap_err().reason, Reason::Conflict);
}

#[test]
fn the_active_one_is_neither_tainted_nor_revoked() {
    let mut world = World::new();
    for kind in AuthorityKind::ALL {
        let active = world.active(*kind);
        for refused in [world.taint(&active), world.revoke(&active), world.retire(&active)] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.reason, Reason::FailedPrecondition);
            assert!(refused.detail.contains("active"), "{refused}");
        }
    }
}

#[test]
fn a_tainted_key_is_marked_in_the_bundle_and_a_revoked_one_gone_from_it() {
    let mut world = World::new();
    let old = world.active(JwtSvid);
    world.request(&[JwtSvid], false, None).unwrap();
    lead_for(&mut world, 20);
    assert_ne!(world.active(JwtSvid), old);
    let sequence = state::trust_bundle(&world.rows).unwrap().unwrap().sequence_number;
    world.taint(&old).unwrap();
    let bundle = state::trust_bundle(&world.rows).unwrap().unwrap();
    assert!(bundle.sequence_number > sequence);
    let tainted: Vec<&str> = bundle.jwt_authorities.iter().filter(|k| k.tainted).map(|k| k.key_id.as_str()).collect();
    assert_eq!(tainted, [old.id.as_str()]);
    assert!(world.taint(&old).unwrap_err().detail.contains("tainted already"));
    world.pass(6);
    world.revoke(&old).unwrap();
    let bundle = state::trust_bundle(&world.rows).unwrap().unwrap();
    assert!(bundle.jwt_authorities.iter().all(|key| key.key_id != old.id));
    assert_eq!(world.prepare(JwtSvid).map(drop), Ok(()));
}

#[test]
fn what_just_stopped_signing_is_not_revoked_while_a_cut_off_node_may_still_use_it() {
    let mut world = World::new();
    let old = world.active(TransactionToken);
    world.request(&[TransactionToken], false, None).unwrap();
    lead_for(&mut world, 17);
    let refused = world.revoke(&old).unwrap_err();
    assert!(refused.detail.contains("may still sign with it for 6 s"), "{refused}");
}

#[test]
fn an_issuing_ca_is_not_revoked_alone_since_verifiers_go_by_its_root() {
    let mut world = World::new();
    let old = world.active(X509Issuing);
    world.request(&[X509Issuing], true, None).unwrap();
    lead_for(&mut world, 2);
    let refused = world.revoke(&old).unwrap_err();
    assert!(refused.detail.contains("rotate --kind x509-root"), "{refused}");
    let refused = world.request(&[X509Issuing], true, Some(5)).unwrap_err();
    assert_eq!(refused.reason, Reason::InvalidArgument);
}

#[test]
fn an_emergency_uses_no_key_that_was_prepared_before_it() {
    let mut world = World::new();
    let burnt = world.prepare(JwtSvid).unwrap();
    world.report_all();
    world.pass(30);
    let old = world.active(JwtSvid);
    world.request(&[JwtSvid], true, Some(10)).unwrap();
    let bound = world.hierarchy().bounds(world.now).into_iter().find(|bound| bound.authority == old).unwrap();
    lead_for(&mut world, 17);
    assert!(![&old, &burnt].contains(&&world.active(JwtSvid)));
    assert!(!world.published.contains_key(&burnt));
    assert!(world.hierarchy().find(&old).unwrap().is_tainted());
    while world.published.contains_key(&old) {
        lead_for(&mut world, 1);
    }
    assert!(world.now <= bound.accepted_until, "gone at {:?}, bound {bound:?}", world.now);
    assert!(world.hierarchy().past.iter().any(|past| past.authority == old && past.revoked));
}

#[test]
fn rotating_the_root_moves_the_issuing_ca_first_and_then_removes_the_old_root() {
    let mut world = World::new();
    let (root, issuing) = (world.active(X509Root), world.active(X509Issuing));
    world.pass(20);
    world.request(&[X509Root], true, Some(20)).unwrap();
    world.lead();
    let new = world.active(X509Root);
    assert_ne!(new, root);
    let standbys = |world: &World| world.hierarchy().of(X509Root).filter(|r| r.slot == Slot::Prepared).count();
    assert_eq!(standbys(&world), 1, "there is always a standby");
    assert_eq!(world.active(X509Issuing), issuing, "it waits for the nodes");
    assert!(!world.hierarchy().find(&root).unwrap().is_tainted(), "agents would get the same again");
    world.report_all();
    world.lead();
    let hierarchy = world.hierarchy();
    assert_eq!(hierarchy.active(X509Issuing).unwrap().life.issuer, new.id);
    assert!(hierarchy.find(&root).unwrap().is_tainted());
    lead_for(&mut world, 20);
    assert!(world.hierarchy().find(&root).is_none());
    assert!(world.hierarchy().find(&issuing).is_none(), "it went with its root");
}

#[test]
fn without_revocation_the_old_root_stays_until_nothing_under_it_is_valid() {
    let mut world = World::new();
    let root = world.active(X509Root);
    world.pass(20);
    world.request(&[X509Root], false, None).unwrap();
    lead_for(&mut world, 5);
    world.sign(1, X509Issuing, 500);
    lead_for(&mut world, 376);
    assert!(world.published.contains_key(&root));
    lead_for(&mut world, 8);
    assert!(!world.published.contains_key(&root));
}

#[test]
fn a_cluster_that_was_off_until_everything_ended_signs_again_at_once() {
    let mut world = World::new();
    world.pass(100_000);
    world.lead();
    world.report_all();
    world.lead();
    for kind in AuthorityKind::IN_MEMORY {
        assert!(world.hierarchy().active(*kind).unwrap().not_after > world.now, "{kind}");
    }
}

#[test]
fn nobody_can_bring_back_a_key_that_is_no_more() {
    let mut world = World::new();
    let prepared = world.prepare(JwtSvid).unwrap();
    let authority = world.hierarchy().find(&prepared).unwrap().clone();
    world.revoke(&prepared).unwrap();
    let expected_epoch = world.hierarchy().epoch(JwtSvid);
    let again = world.apply(crate::command::Command::PrepareAuthority { authority, expected_epoch });
    assert_eq!(again.unwrap_err().reason, Reason::AlreadyExists);
}
