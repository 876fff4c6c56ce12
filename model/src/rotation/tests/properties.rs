//! Over any sequence of events: one active authority per kind, nothing signed by what verifiers do not know, nothing still
//! valid whose authority went, unless it was revoked.

use proptest::prelude::*;

use super::world::{NODES, World, name};
use crate::authority::{AuthorityKind, Slot};
use crate::command::AuthorityRef;

#[derive(Debug, Clone)]
enum Event {
    Pass(u64),
    /// So long that everything may have ended.
    Sleep(u64),
    Lead,
    Report(u64),
    Cut(u64),
    Heal(u64),
    Sign(u64, AuthorityKind, u64),
    Prepare(AuthorityKind),
    Activate(AuthorityKind, usize, u64),
    Taint(AuthorityKind, usize),
    Retire(AuthorityKind, usize),
    Request(AuthorityKind, bool),
    Revoke(AuthorityKind, usize),
    RequestRevocation(AuthorityKind, u32),
}

fn kind() -> impl Strategy<Value = AuthorityKind> {
    prop::sample::select(AuthorityKind::ALL)
}

fn node() -> impl Strategy<Value = u64> {
    prop::sample::select(NODES.as_slice())
}

fn event() -> impl Strategy<Value = Event> {
    let memory = prop::sample::select(AuthorityKind::IN_MEMORY);
    prop_oneof![
        6 => (1..60u64).prop_map(Event::Pass),
        1 => (100..3_000u64).prop_map(Event::Sleep),
        8 => Just(Event::Lead),
        4 => node().prop_map(Event::Report),
        1 => node().prop_map(Event::Cut),
        2 => node().prop_map(Event::Heal),
        8 => (node(), memory, 1..600u64).prop_map(|(node, kind, ttl)| Event::Sign(node, kind, ttl)),
        1 => kind().prop_map(Event::Prepare),
        2 => (kind(), 0..4usize, 0..8u64).prop_map(|(kind, nth, alive)| Event::Activate(kind, nth, alive)),
        1 => (kind(), 0..4usize).prop_map(|(kind, nth)| Event::Taint(kind, nth)),
        1 => (kind(), 0..4usize).prop_map(|(kind, nth)| Event::Retire(kind, nth)),
        1 => (kind(), any::<bool>()).prop_map(|(kind, emergency)| Event::Request(kind, emergency)),
        1 => (kind(), 0..4usize).prop_map(|(kind, nth)| Event::Revoke(kind, nth)),
        1 => (kind(), 0..60u32).prop_map(|(kind, secs)| Event::RequestRevocation(kind, secs)),
    ]
}

fn nth(world: &World, kind: AuthorityKind, nth: usize) -> AuthorityRef {
    let hierarchy = world.hierarchy();
    let found = hierarchy.of(kind).nth(nth);
    name(kind, found.map_or("none", |authority| &authority.id))
}

fn happen(world: &mut World, event: &Event) {
    // A refusal is as good as anything: what counts is what holds afterwards.
    match event {
        Event::Pass(secs) | Event::Sleep(secs) => world.pass(*secs),
        Event::Lead => world.lead(),
        Event::Report(node) => world.report(*node),
        Event::Cut(node) => world.nodes.get_mut(node).unwrap().cut = true,
        Event::Heal(node) => {
            world.nodes.get_mut(node).unwrap().cut = false;
            world.catch_up();
        }
        Event::Sign(node, kind, ttl) => world.sign(*node, *kind, *ttl),
        Event::Prepare(kind) => drop(world.prepare(*kind)),
        Event::Activate(kind, at, alive) => {
            let alive: Vec<u64> = NODES.into_iter().filter(|node| alive & (1 << (node - 1)) != 0).collect();
            let which = nth(world, *kind, *at);
            drop(world.activate(&which, &alive, false));
        }
        Event::Taint(kind, at) => drop(world.taint(&nth(world, *kind, *at))),
        Event::Retire(kind, at) => drop(world.retire(&nth(world, *kind, *at))),
        Event::Request(kind, emergency) => drop(world.request(&[*kind], *emergency, None)),
        Event::Revoke(kind, at) => {
            let which = nth(world, *kind, *at);
            drop(world.revoke(&which));
        }
        Event::RequestRevocation(kind, secs) => drop(world.request(&[*kind], true, Some(*secs))),
    }
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_only_what_was_revoked_fails(events in prop::collection::vec(event(), 1..120)) {
        let mut world = World::new();
        world.check();
        for event in &events {
            happen(&mut world, event);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 32, ..ProptestConfig::default() })]

    #[test]
    fn a_led_cluster_always_has_authorities_that_live_and_few_of_them(
        steps in prop::collection::vec((1..20u64, node(), kind(), 0..40u8), 60..120)
    ) {
        let mut world = World::new();
        for (secs, signer, kind, dice) in steps {
            world.pass(secs);
            world.lead();
            world.report_all();
            world.lead();
            match dice {
                0 => world.request(&[kind], false, None).unwrap(),
                1 => world.request(&[kind], true, None).unwrap(),
                _ => {}
            }
            let kinds = AuthorityKind::IN_MEMORY.iter();
            kinds.for_each(|kind| world.sign(signer, *kind, 50));
            world.check();
            let hierarchy = world.hierarchy();
            for kind in AuthorityKind::ALL {
                let active = hierarchy.active(*kind).unwrap();
                prop_assert!(active.not_after > world.now, "{kind} has ended");
                let old = hierarchy.of(*kind).filter(|one| one.slot == Slot::Retiring).count();
                prop_assert!(old <= 30, "{old} old {kind}");
            }
        }
    }
}
