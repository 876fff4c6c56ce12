//! Recipients: who can open the keys, and that somebody always can.

use super::world::{NODES, World, wrapping};
use crate::authority::{Authority, AuthorityKind, StoredKey};
use crate::command::{AuthorityRef, Command};
use crate::recipient::{BackendState, Recipients, Rewrapped, is_opened_by_nodes, wrappings};
use crate::refusal::{Reason, Refusal};
use crate::rotation::Action;
use crate::state;

const A: &str = "file:a";
const B: &str = "file:b";

impl World {
    fn recipients(&self) -> Recipients {
        state::recipients(&self.rows).unwrap()
    }

    fn live(&self) -> Vec<Authority> {
        self.hierarchy().authorities.into_iter().filter(is_opened_by_nodes).collect()
    }

    fn rewrapped(&self, recipient: &str) -> Vec<Rewrapped> {
        let name = |key: &Authority| AuthorityRef { kind: key.kind, id: key.id.clone() };
        self.live().iter().map(|key| Rewrapped { authority: name(key), wrapped: wrapping(recipient) }).collect()
    }

    fn add(&mut self, recipient: &str) -> Result<(), Refusal> {
        let wrapped = self.rewrapped(recipient);
        let expected_version = self.recipients().version;
        self.apply(Command::AddRecipient { recipient: recipient.into(), wrapped, roots: false, expected_version })
    }

    fn remove(&mut self, recipient: &str, voters: &[u64], force: bool) -> Result<(), Refusal> {
        let (recipient, expected_version) = (recipient.to_owned(), self.recipients().version);
        self.apply(Command::RemoveRecipient { recipient, expected_version, voters: voters.to_vec(), force })
    }

    fn place(&mut self, recipient: &str) -> Result<(), Refusal> {
        let (recipient, expected_version) = (recipient.to_owned(), self.recipients().version);
        self.apply(Command::PlaceRoots { recipient, expected_version })
    }

    /// `node` has these, of which those in `bad` do not answer.
    fn has(&mut self, node: u64, good: &[&str], bad: &[&str]) {
        let state = |id: &&str, problem: &str| BackendState {
            name: format!("file:/{id}"),
            recipient: Some((*id).to_owned()),
            problem: problem.to_owned(),
        };
        let good = good.iter().map(|id| state(id, ""));
        let backends = good.chain(bad.iter().map(|id| state(id, "gone"))).collect();
        self.apply(Command::ReportBackends { node, backends }).unwrap();
    }

    fn all_have(&mut self, good: &[&str]) {
        NODES.iter().for_each(|node| self.has(*node, good, &[]));
    }

    #[track_caller]
    fn every_key_is_wrapped_for(&self, expected: &[&str]) {
        for key in self.live() {
            let for_whom: Vec<&str> = wrappings(&key).iter().map(|one| one.recipient.as_str()).collect();
            assert_eq!(for_whom, expected, "{} {}", key.kind, key.id);
        }
    }
}

#[track_caller]
fn refused(result: Result<(), Refusal>, reason: Reason, says: &str) {
    let refusal = result.unwrap_err();
    assert!(refusal.reason == reason && refusal.detail.contains(says), "{refusal:?}");
}

#[test]
fn the_first_recipients_are_those_that_the_first_keys_are_wrapped_for() {
    let world = World::new();
    let recipients = world.recipients();
    assert_eq!((recipients.version, recipients.roots.as_str()), (0, A));
    assert_eq!(recipients.list.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), [A]);
    // A trust domain from before it was kept says the same.
    let mut older = world.rows.clone();
    crate::rows::RowsMut::delete(&mut older, crate::rows::Space::Meta, b"recipients");
    let found = state::recipients(&older).unwrap();
    assert_eq!((found.version, found.roots.as_str(), found.list.len()), (0, A, 1));
}

#[test]
fn a_recipient_is_added_only_together_with_every_live_key() {
    let mut world = World::new();
    let mut wrapped = world.rewrapped(B);
    let forgotten = wrapped.pop().unwrap();
    let add = |wrapped: Vec<Rewrapped>, expected_version| Command::AddRecipient {
        recipient: B.into(),
        wrapped,
        roots: false,
        expected_version,
    };
    let says = forgotten.authority.to_string();
    refused(world.apply(add(wrapped.clone(), 0)), Reason::Conflict, &says);
    wrapped.push(Rewrapped { wrapped: wrapping("file:c"), ..forgotten });
    refused(world.apply(add(wrapped, 0)), Reason::Conflict, &says);
    refused(world.apply(add(world.rewrapped(B), 1)), Reason::Conflict, "meanwhile");
    world.add(B).unwrap();
    world.every_key_is_wrapped_for(&[A, B]);
    refused(world.add(B), Reason::AlreadyExists, B);
    refused(world.add(""), Reason::InvalidArgument, "recipient");
    for nth in 0..6 {
        world.add(&format!("file:{nth}")).unwrap();
    }
    refused(world.add("file:one-too-many"), Reason::FailedPrecondition, "remove one first");
}

#[test]
fn the_last_recipient_stays() {
    let mut world = World::new();
    world.all_have(&[A]);
    refused(world.remove(A, &NODES, true), Reason::FailedPrecondition, "is the only recipient");
    refused(world.remove(B, &NODES, true), Reason::NotFound, "is no recipient");
}

#[test]
fn a_recipient_that_holds_a_root_that_is_needed_stays() {
    let mut world = World::new();
    world.all_have(&[A, B]);
    world.add(B).unwrap();
    refused(world.remove(A, &NODES, false), Reason::FailedPrecondition, "place-roots");
    refused(world.place("file:c"), Reason::NotFound, "no recipient");
    world.place(B).unwrap();
    refused(world.remove(A, &NODES, false), Reason::FailedPrecondition, "rotate the root first");
    // As an operator moves: roots are made in B now, and the active one is rotated.
    world.recipients = vec![B.into(), A.into()];
    world.lead();
    world.request(&[AuthorityKind::X509Root], false, None).unwrap();
    for _ in 0..100 {
        world.pass(1);
        world.report_all();
        world.lead();
        world.check();
    }
    let hierarchy = world.hierarchy();
    let roots: Vec<bool> = hierarchy
        .of(AuthorityKind::X509Root)
        .filter(|root| is_signing_or_standby(root))
        .map(|root| Recipients::holds(B, root))
        .collect();
    assert_eq!(roots, [true, true], "{hierarchy:#?}");
    world.remove(A, &NODES, false).unwrap();
    world.every_key_is_wrapped_for(&[B]);
    assert_eq!(world.recipients().list.len(), 1);
}

fn is_signing_or_standby(root: &Authority) -> bool {
    root.slot != crate::authority::Slot::Retiring
}

#[test]
fn while_a_standby_is_to_be_made_elsewhere_the_one_at_hand_is_not_switched_to() {
    let mut world = World::new();
    world.all_have(&[A, B]);
    world.add(B).unwrap();
    world.place(B).unwrap();
    world.request(&[AuthorityKind::X509Root], true, None).unwrap();
    let plan = world.hierarchy().plan(world.now);
    let of = |action| plan.iter().find(|step| step.action == action && step.kind == AuthorityKind::X509Root).unwrap();
    assert_eq!(
        (of(Action::Prepare).due, of(Action::Prepare).why),
        (world.now, "roots are made in another backend now")
    );
    let end = world.hierarchy().active(AuthorityKind::X509Root).unwrap().not_after;
    assert_eq!(of(Action::Activate).due, end, "better the one at hand than none");
}

#[test]
fn a_key_is_never_left_without_a_recipient_that_a_living_voter_can_use() {
    let mut world = World::new();
    world.add(B).unwrap();
    world.all_have(&[A, B]);
    // Nobody can use A: not even by force.
    for node in NODES {
        world.has(node, &[B], &[A]);
    }
    refused(world.remove(B, &NODES, true), Reason::FailedPrecondition, "no living voter can use");
    // One that is dead does not count.
    world.has(3, &[A, B], &[]);
    refused(world.remove(B, &[1, 2], true), Reason::FailedPrecondition, "no living voter can use");
    // One can: then only by force.
    refused(world.remove(B, &NODES, false), Reason::FailedPrecondition, "node 1 can use none of");
    world.remove(B, &NODES, true).unwrap();
    world.every_key_is_wrapped_for(&[A]);
}

#[test]
fn a_key_that_was_made_while_a_recipient_was_away_keeps_the_one_it_has_until_it_is_wrapped_again() {
    let mut world = World::new();
    world.all_have(&[A, B]);
    world.add(B).unwrap();
    world.place(B).unwrap();
    world.recipients = vec![A.into()];
    let made = world.prepare(AuthorityKind::JwtSvid).unwrap();
    let hierarchy = world.hierarchy();
    let missing: Vec<_> = hierarchy.recipients.missing(hierarchy.find(&made).unwrap()).collect();
    assert_eq!(missing, [B]);
    let wrapped = vec![
        Rewrapped { authority: made.clone(), wrapped: wrapping(B) },
        Rewrapped { authority: made.clone(), wrapped: wrapping("file:stranger") },
        Rewrapped { authority: AuthorityRef { id: "gone".into(), ..made }, wrapped: wrapping(B) },
    ];
    world.apply(Command::RewrapKeys { wrapped }).unwrap();
    world.every_key_is_wrapped_for(&[A, B]);
}

#[test]
fn a_key_that_is_wrapped_for_none_but_a_removed_recipient_is_not_taken_in() {
    let mut world = World::new();
    world.recipients = vec!["file:removed".into()];
    refused(world.prepare(AuthorityKind::JwtSvid).map(drop), Reason::Conflict, "retry");
    world.recipients.push(A.into());
    world.prepare(AuthorityKind::JwtSvid).unwrap();
    world.every_key_is_wrapped_for(&[A]);
}

#[test]
fn a_recipient_whose_backend_signs_stays_until_that_kind_was_rotated_elsewhere() {
    let mut world = World::new();
    world.all_have(&[A, B]);
    world.add(B).unwrap();
    let settings = world.hierarchy().settings;
    let mut key = world.new_authority(&settings, AuthorityKind::JwtSvid, String::new());
    key.key = StoredKey::InBackend { backend: "file".into(), reference: vec![1], recipient: Some(B.into()) };
    let name = AuthorityRef { kind: key.kind, id: key.id.clone() };
    let expected_epoch = world.hierarchy().epoch(key.kind);
    world.apply(Command::PrepareAuthority { authority: key, expected_epoch }).unwrap();
    refused(world.remove(B, &NODES, true), Reason::FailedPrecondition, "rotate --kind jwt-svid");
    // There is nothing in it that nodes open: it is neither counted nor wrapped for a new recipient.
    assert!(world.live().iter().all(|key| key.id != name.id));
    let hierarchy = world.hierarchy();
    assert_eq!(hierarchy.recipients.missing(hierarchy.find(&name).unwrap()).count(), 0);
    world.add("file:c").unwrap();
    world.revoke(&name).unwrap();
    world.remove(B, &NODES, true).unwrap();
}
