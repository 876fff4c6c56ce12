use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::command::{Command, Proposal};
use crate::refusal::{Reason, Refusal};
use crate::rows::MemoryRows;
use crate::state::{apply, policy, verify};

fn uid(uid: u32) -> Caller {
    Caller::Local { node: 1, uid, pid: 7 }
}

fn keyed(key: &str, request: &str) -> RequestKey {
    RequestKey::new(key, "/policy", request.as_bytes()).unwrap()
}

/// Applies a policy named `request` under `key`, as it would come out of the log.
fn propose(rows: &mut MemoryRows, index: u64, at: UnixTime, caller: Caller, key: &str, request: &str) -> Outcome {
    let command = Command::ApplyPolicy { document: request.to_owned(), expected_version: None };
    let proposal = Proposal { caller, command, request: Some(keyed(key, request)) };
    let proposal: Proposal = from_bytes(&to_bytes(&proposal)).unwrap();
    apply(rows, Position { index, at }, &proposal).unwrap()
}

fn version(rows: &MemoryRows) -> u64 {
    policy(rows).unwrap().map_or(0, |policy| policy.version)
}

#[test]
fn a_retry_is_told_what_came_of_the_first_and_changes_nothing() {
    let (mut rows, at) = (MemoryRows::default(), UnixTime::from_secs(1_000));
    assert_eq!(propose(&mut rows, 1, at, uid(1), "a", "x"), Outcome::Policy { version: 1 });
    assert_eq!(propose(&mut rows, 2, at, uid(1), "b", "y"), Outcome::Policy { version: 2 });
    let before = rows.clone();
    let elsewhere = Caller::Local { node: 3, uid: 1, pid: 99 };
    assert_eq!(propose(&mut rows, 3, at, elsewhere, "a", "x"), Outcome::Policy { version: 1 });
    assert_eq!(rows, before);
    assert_eq!(first_outcome(&rows, at, &uid(1), &keyed("a", "x")).unwrap(), Some(Outcome::Policy { version: 1 }));
    assert_eq!(first_outcome(&rows, at, &uid(1), &keyed("c", "x")).unwrap(), None);
}

#[test]
fn another_request_under_a_used_key_is_refused() {
    let (mut rows, at) = (MemoryRows::default(), UnixTime::from_secs(1_000));
    propose(&mut rows, 1, at, uid(1), "a", "x");
    let Outcome::Refused(refusal) = propose(&mut rows, 2, at, uid(1), "a", "y") else { panic!("carried out") };
    assert_eq!(refusal.reason, Reason::IdempotencyKeyReused);
    assert_eq!(version(&rows), 1);
}

#[test]
fn two_callers_may_choose_the_same_key() {
    let (mut rows, at) = (MemoryRows::default(), UnixTime::from_secs(1_000));
    propose(&mut rows, 1, at, uid(1), "a", "x");
    assert_eq!(propose(&mut rows, 2, at, uid(2), "a", "y"), Outcome::Policy { version: 2 });
}

#[test]
fn a_key_is_forgotten_after_a_day_of_cluster_time() {
    let (mut rows, at) = (MemoryRows::default(), UnixTime::from_secs(1_000));
    propose(&mut rows, 1, at, uid(1), "a", "x");
    let late = UnixTime::from_secs(1_000 + 86_399);
    assert_eq!(propose(&mut rows, 2, late, uid(1), "a", "x"), Outcome::Policy { version: 1 });
    let later = UnixTime::from_secs(1_000 + 86_400);
    assert_eq!(propose(&mut rows, 3, later, uid(1), "a", "x"), Outcome::Policy { version: 2 });
    // The first place of the key is forgotten, and the second is still found.
    propose(&mut rows, 4, later, uid(1), "b", "y");
    assert_eq!(propose(&mut rows, 5, later, uid(1), "a", "x"), Outcome::Policy { version: 2 });
}

#[test]
fn a_queue_is_bounded_in_bytes_and_keeps_the_newest() {
    let (mut rows, at) = (MemoryRows::default(), UnixTime::from_secs(1_000));
    let large = Outcome::Remembered { answer: vec![7; 18 << 20].into() };
    for number in 0..8 {
        let key = keyed(&format!("k{number}"), "x");
        once(&mut rows, Position { index: number, at }, &uid(1), &key, |_| Ok(large.clone())).unwrap();
    }
    let kept: Vec<u64> = (0..8)
        .filter(|n| first_outcome(&rows, at, &uid(1), &keyed(&format!("k{n}"), "x")).unwrap().is_some())
        .collect();
    assert_eq!(kept, [5, 6, 7]);
    let bytes: usize = rows.scan(Space::Requests, &[], None, usize::MAX).iter().map(|(k, v)| k.len() + v.len()).sum();
    assert!(bytes < 65 << 20, "{bytes}");
}

#[test]
fn what_is_too_old_leaves_the_state_as_others_come() {
    let mut rows = MemoryRows::default();
    let rows_of = |rows: &MemoryRows, kind| rows.scan(Space::Requests, &[kind], None, usize::MAX).len();
    let (early, late) = (UnixTime::from_secs(1_000), UnixTime::from_secs(1_000 + 86_400));
    for number in 0..200 {
        propose(&mut rows, number, early, uid(1), &format!("early-{number}"), "x");
    }
    assert_eq!((rows_of(&rows, PLACE), rows_of(&rows, LOOKUP)), (200, 200));
    for number in 0..200 {
        propose(&mut rows, 200 + number, late, uid(1), &format!("late-{number}"), "x");
    }
    assert_eq!((rows_of(&rows, PLACE), rows_of(&rows, LOOKUP)), (200, 200), "the early ones are gone");
    assert_eq!(propose(&mut rows, 400, late, uid(1), "late-0", "x"), Outcome::Policy { version: 201 });
}

#[test]
fn a_queue_is_bounded_in_number_and_keeps_the_newest() {
    let (mut rows, at) = (MemoryRows::default(), UnixTime::from_secs(1_000));
    let added = IN_A_QUEUE + 3 * LOOK_EVERY;
    for index in 0..added {
        let key = keyed(&format!("k{index}"), "x");
        once(&mut rows, Position { index, at }, &uid(1), &key, |_| Ok(Outcome::Done)).unwrap();
    }
    let kept = rows.scan(Space::Requests, &[PLACE], None, usize::MAX).len() as u64;
    assert!(kept <= IN_A_QUEUE + LOOK_EVERY, "{kept}");
    let known = |number: u64| first_outcome(&rows, at, &uid(1), &keyed(&format!("k{number}"), "x")).unwrap();
    assert_eq!((known(0), known(added - IN_A_QUEUE)), (None, Some(Outcome::Done)));
    assert_eq!(verify(&rows).problems, Vec::<String>::new());
}

#[test]
fn callers_beyond_the_limit_share_a_queue_and_keep_their_keys_apart() {
    let (mut rows, at) = (MemoryRows::default(), UnixTime::from_secs(1_000));
    for user in 0..60 {
        let outcome = propose(&mut rows, user.into(), at, uid(user), "a", &format!("of {user}"));
        assert_eq!(outcome, Outcome::Policy { version: u64::from(user) + 1 });
    }
    assert_eq!(rows.scan(Space::Requests, &[QUEUE], None, usize::MAX).len(), QUEUES + 1);
    for user in 0..60 {
        let again = propose(&mut rows, 100 + u64::from(user), at, uid(user), "a", &format!("of {user}"));
        assert_eq!(again, Outcome::Policy { version: u64::from(user) + 1 });
    }
}

#[test]
fn items_refused_before_the_proposal_keep_their_places() {
    let mut rows = MemoryRows::default();
    let no = |text: &str| Refusal::invalid(text.to_owned());
    let mut key = keyed("a", "x");
    key.refused = vec![(0, no("first")), (2, no("third")), (3, no("fourth"))];
    let ids = ["a", "b"].map(|id| id.parse().unwrap());
    let command = Command::DeleteEntries { ids: ids.to_vec() };
    let proposal = Proposal { caller: uid(1), command, request: Some(key) };
    let position = Position { index: 1, at: UnixTime::from_secs(5) };
    let Outcome::Entries(outcomes) = apply(&mut rows, position, &proposal).unwrap() else { panic!() };
    let details: Vec<&str> = outcomes
        .iter()
        .map(|outcome| {
            let EntryOutcome::Refused(refusal) = outcome else { panic!("{outcome:?}") };
            refusal.detail.as_str()
        })
        .collect();
    assert_eq!(details, ["first", "entry not found", "third", "fourth", "entry not found"]);
}

#[test]
fn the_stored_forms_never_change() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let command = Command::DeleteEntries { ids: vec!["e".parse().unwrap()] };
    let plain = Proposal { caller: Caller::Node { node: 1 }, command, request: None };
    // As it was before there were keys, so logs of that time are read.
    assert_eq!(hex(&to_bytes(&plain)), "82820281018203818161 65".replace(' ', ""));
    let key = RequestKey { key: [1; 32], request: [2; 32], refused: vec![(4, Refusal::invalid("x"))] };
    let keyed = Proposal { request: Some(key), ..plain };
    let expected = format!("83820281018203818161658358 20{}5820{}81820482006178", "01".repeat(32), "02".repeat(32));
    assert_eq!(hex(&to_bytes(&keyed)), expected.replace(' ', ""));
    let remembered = Remembered {
        found_by: vec![1].into(),
        request: [2; 32],
        at: UnixTime::from_millis(3),
        outcome: vec![4].into(),
    };
    assert_eq!(hex(&to_bytes(&remembered)), format!("8441015820{}034104", "02".repeat(32)));
    assert_eq!(hex(&to_bytes(&Place { queue: [1; 32], number: 9 })), format!("825820{}09", "01".repeat(32)));
    assert_eq!(hex(&to_bytes(&Queue { first: 1, next: 2, bytes: 3 })), "83010203");
}

proptest! {
    /// Held against a map from (caller, key) to the first request and its outcome.
    #[test]
    fn each_key_acts_once(steps in prop::collection::vec((0..3u32, 0..5u8, 0..3u8, 0..20_000u64), 1..80)) {
        let mut rows = MemoryRows::default();
        let mut now = UnixTime::from_secs(1_000);
        let mut model: BTreeMap<(u32, u8), (u8, u64, UnixTime)> = BTreeMap::new();
        let mut done = 0;
        for (index, (user, key, request, pause)) in steps.into_iter().enumerate() {
            now = now.after(Duration::from_secs(pause));
            let outcome =
                propose(&mut rows, index as u64 + 1, now, uid(user), &format!("k{key}"), &format!("r{request}"));
            let known = model.get(&(user, key)).filter(|(_, _, at)| at.after(MEMORY) > now).copied();
            match known {
                Some((first, version, _)) if first == request => prop_assert_eq!(outcome, Outcome::Policy { version }),
                Some(_) => prop_assert_eq!(outcome, Outcome::Refused(reused())),
                None => {
                    done += 1;
                    prop_assert_eq!(outcome, Outcome::Policy { version: done });
                    model.insert((user, key), (request, done, now));
                }
            }
            prop_assert_eq!(version(&rows), done);
        }
        // The documents are no policies; all the rest is in order.
        let problems = verify(&rows).problems;
        prop_assert!(problems.iter().all(|problem| problem.starts_with("Policy row")), "{problems:?}");
        // Nothing is left behind but what the queues know of.
        let queues: Vec<Queue> =
            rows.scan(Space::Requests, &[QUEUE], None, 99).iter().map(|(_, v)| from_bytes(v).unwrap()).collect();
        let known: u64 = queues.iter().map(|queue| queue.next - queue.first).sum();
        prop_assert_eq!(rows.scan(Space::Requests, &[PLACE], None, 999).len() as u64, known);
        prop_assert!(rows.scan(Space::Requests, &[LOOKUP], None, 999).len() as u64 <= known);
        let bytes: u64 = rows.scan(Space::Requests, &[PLACE], None, 999).iter().map(|(_, v)| size(v)).sum();
        prop_assert_eq!(bytes, queues.iter().map(|queue| queue.bytes).sum::<u64>());
    }
}
