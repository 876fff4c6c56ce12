use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::caller::Caller;
use crate::command::{EntryChange, EntryFields, EntryOutcome};
use crate::entry::{EntryId, EntrySpec, Selector};
use crate::rows::MemoryRows;

fn spec(parent: &str, id: &str, selector: &str) -> EntrySpec {
    EntrySpec::new(
        format!("spiffe://example.org/{id}").parse().unwrap(),
        format!("spiffe://example.org/{parent}").parse().unwrap(),
        vec![Selector { kind: "unix".into(), value: selector.into() }],
    )
}

fn id(text: &str) -> EntryId {
    text.parse().unwrap()
}

fn caller(uid: u32) -> Caller {
    Caller::Local { node: 2, uid, pid: 7 }
}

struct Cluster {
    rows: MemoryRows,
    index: u64,
}

impl Cluster {
    fn new() -> Self {
        Self { rows: MemoryRows::default(), index: 0 }
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.apply_at(UnixTime::from_secs(1_000 + self.index), command)
    }

    fn apply_at(&mut self, at: UnixTime, command: Command) -> Outcome {
        self.index += 1;
        let proposal = Proposal { caller: caller(1000), command, request: None };
        // What is applied is what came out of the log, not what went in.
        let proposal: Proposal = from_bytes(&to_bytes(&proposal)).unwrap();
        apply(&mut self.rows, Position { index: self.index, at }, &proposal).unwrap()
    }

    fn make_trust_domain(&mut self) {
        let settings = Settings {
            trust_domain: "example.org".parse().unwrap(),
            cluster_id: "c".repeat(32),
            token_issuer: "https://tts.example.org".into(),
            jwt_svid_issuer: String::new(),
            x509_svid_ttl_secs: 3600,
            jwt_svid_ttl_secs: 300,
            refresh_hint_secs: 300,
            lease_secs: 30,
            demo: false,
            rotation: None,
            keys: None,
        };
        let authority = crate::authority::Authority {
            kind: crate::authority::AuthorityKind::JwtSvid,
            id: "kid".into(),
            slot: crate::authority::Slot::Active,
            public_key: vec![1, 2, 3],
            certificate: Vec::new(),
            key: crate::authority::StoredKey::Wrapped { for_recipients: Vec::new() },
            created_at: UnixTime::from_secs(1),
            not_after: UnixTime::from_secs(2),
            life: crate::authority::Life::default(),
            outside: None,
        };
        assert_eq!(self.apply(Command::Establish { settings, authorities: vec![authority] }), Outcome::Done);
    }

    fn create(&mut self, entry: &str, spec: EntrySpec) -> EntryOutcome {
        let Outcome::Entries(mut outcomes) = self.apply(Command::CreateEntries { entries: vec![(id(entry), spec)] })
        else {
            panic!("not about entries")
        };
        outcomes.remove(0)
    }
}

#[test]
fn an_entry_records_who_made_it_and_where_in_the_log() {
    let mut cluster = Cluster::new();
    let EntryOutcome::Done(made) = cluster.create("e1", spec("agent", "web", "uid:1")) else { panic!("refused") };
    assert_eq!(made.changed_by, caller(1000));
    assert_eq!(made.changed_at_index, 1);
    assert_eq!(made.revision, 0);
    assert_eq!(entry(&cluster.rows, &id("e1")).unwrap(), Some(made));
}

#[test]
fn a_similar_entry_is_answered_with_the_one_that_exists() {
    let mut cluster = Cluster::new();
    cluster.create("e1", spec("agent", "web", "uid:1"));
    let before = cluster.rows.clone();
    let EntryOutcome::Similar(existing) = cluster.create("e2", spec("agent", "web", "uid:1")) else { panic!("made") };
    assert_eq!(existing.id, id("e1"));
    assert_eq!(cluster.rows, before);
}

#[test]
fn a_taken_id_is_refused_and_nothing_changes() {
    let mut cluster = Cluster::new();
    cluster.create("e1", spec("agent", "web", "uid:1"));
    let before = cluster.rows.clone();
    let EntryOutcome::Refused(refusal) = cluster.create("e1", spec("agent", "db", "uid:2")) else { panic!("made") };
    assert_eq!(refusal.reason, Reason::AlreadyExists);
    assert_eq!(cluster.rows, before);
}

#[test]
fn an_update_moves_the_indexes_and_counts_the_revision() {
    let mut cluster = Cluster::new();
    cluster.create("e1", spec("agent", "web", "uid:1"));
    let fields = EntryFields { hint: false, ..EntryFields::ALL };
    let mut new = spec("other", "web2", "uid:9");
    new.hint = "not taken".into();
    let change = EntryChange { id: id("e1"), spec: new, fields };
    let Outcome::Entries(outcomes) = cluster.apply(Command::UpdateEntries { changes: vec![change] }) else { panic!() };
    let [EntryOutcome::Done(updated)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert_eq!((updated.revision, updated.spec.hint.as_str()), (1, ""));
    assert!(children(&cluster.rows, &"spiffe://example.org/agent".parse().unwrap()).unwrap().is_empty());
    assert_eq!(children(&cluster.rows, &"spiffe://example.org/other".parse().unwrap()).unwrap().len(), 1);
    assert_eq!(entries_by_spiffe_id(&cluster.rows, &"spiffe://example.org/web2".parse().unwrap()).unwrap().len(), 1);
}

#[test]
fn a_deleted_entry_leaves_no_row_behind() {
    let mut cluster = Cluster::new();
    cluster.create("e1", spec("agent", "web", "uid:1"));
    cluster.apply(Command::DeleteEntries { ids: vec![id("e1")] });
    assert_eq!(cluster.rows, MemoryRows::default());
}

#[test]
fn a_parent_is_not_found_by_the_prefix_of_its_name() {
    let mut cluster = Cluster::new();
    cluster.create("e1", spec("agent10", "web", "uid:1"));
    assert!(children(&cluster.rows, &"spiffe://example.org/agent1".parse().unwrap()).unwrap().is_empty());
}

#[test]
fn a_policy_replaces_only_the_version_that_was_read() {
    let mut cluster = Cluster::new();
    let apply = |document: &str, expected_version| Command::ApplyPolicy { document: document.into(), expected_version };
    assert_eq!(cluster.apply(apply("a", Some(0))), Outcome::Policy { version: 1 });
    let Outcome::Refused(refusal) = cluster.apply(apply("b", Some(0))) else { panic!("replaced") };
    assert_eq!(refusal.reason, Reason::Conflict);
    assert_eq!(policy(&cluster.rows).unwrap().unwrap().document, "a");
    assert_eq!(cluster.apply(apply("c", None)), Outcome::Policy { version: 2 });
}

fn batch(node: u64, first: u64, count: usize, not_after_secs: u64) -> Command {
    Command::RecordIssuance { node, first, records: vec![vec![1, 2, 3].into(); count], not_after_secs }
}

#[test]
fn a_batch_sent_again_counts_once_and_a_gap_is_refused() {
    let mut cluster = Cluster::new();
    assert_eq!(cluster.apply(batch(1, 0, 3, 9_000)), Outcome::Recorded { next: 3 });
    assert_eq!(cluster.apply(batch(1, 0, 3, 9_000)), Outcome::Recorded { next: 3 });
    assert_eq!(cluster.apply(batch(1, 1, 4, 9_000)), Outcome::Recorded { next: 5 });
    assert!(matches!(cluster.apply(batch(1, 6, 1, 9_000)), Outcome::Refused(_)));
    let kept: usize = issuance_batches(&cluster.rows, None, 10).unwrap().iter().map(|(_, b)| b.records.len()).sum();
    assert_eq!(kept, 5);
    assert_eq!(committed_position(&cluster.rows, 1).unwrap(), 5);
    assert_eq!(committed_position(&cluster.rows, 2).unwrap(), 0);
}

#[test]
fn records_are_forgotten_a_day_after_the_last_credential_ended() {
    let mut cluster = Cluster::new();
    cluster.apply_at(UnixTime::from_secs(1_000), batch(1, 0, 1, 2_000));
    cluster.apply_at(UnixTime::from_secs(2_000 + 86_400), batch(1, 1, 1, 900_000));
    assert_eq!(issuance_batches(&cluster.rows, None, 10).unwrap().len(), 2);
    cluster.apply_at(UnixTime::from_secs(2_001 + 86_400), batch(1, 2, 1, 900_000));
    let first: Vec<u64> = issuance_batches(&cluster.rows, None, 10).unwrap().iter().map(|(_, b)| b.first).collect();
    assert_eq!(first, [1, 2]);
}

#[derive(Debug, Clone)]
enum Step {
    Create(u8, u8),
    Update(u8, u8),
    Delete(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..6u8, 0..4u8).prop_map(|(e, s)| Step::Create(e, s)),
        (0..6u8, 0..4u8).prop_map(|(e, s)| Step::Update(e, s)),
        (0..6u8).prop_map(Step::Delete),
    ]
}

proptest! {
    /// Held against a map from entry id to identity: an id is made once, an identity belongs to one entry, and after
    /// everything is deleted no row is left.
    #[test]
    fn entries_behave_like_a_map_with_unique_values(steps in prop::collection::vec(step(), 1..60)) {
        let mut cluster = Cluster::new();
        let mut model: BTreeMap<u8, u8> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Create(e, s) => {
                    let made = matches!(cluster.create(&format!("e{e}"), spec("agent", &format!("w{s}"), "uid:1")), EntryOutcome::Done(_));
                    let expected = !model.contains_key(&e) && !model.values().any(|v| *v == s);
                    prop_assert_eq!(made, expected);
                    if made { model.insert(e, s); }
                }
                Step::Update(e, s) => {
                    let change = EntryChange { id: id(&format!("e{e}")), spec: spec("agent", &format!("w{s}"), "uid:1"), fields: EntryFields::ALL };
                    let Outcome::Entries(outcomes) = cluster.apply(Command::UpdateEntries { changes: vec![change] }) else { panic!() };
                    let done = matches!(outcomes[0], EntryOutcome::Done(_));
                    let expected = model.contains_key(&e) && !model.iter().any(|(k, v)| *k != e && *v == s);
                    prop_assert_eq!(done, expected);
                    if done { model.insert(e, s); }
                }
                Step::Delete(e) => {
                    cluster.apply(Command::DeleteEntries { ids: vec![id(&format!("e{e}"))] });
                    model.remove(&e);
                }
            }
            let listed = list(&cluster.rows, None, usize::MAX).unwrap();
            prop_assert_eq!(listed.len(), model.len());
        }
        let all = list(&cluster.rows, None, usize::MAX).unwrap().into_iter().map(|e| e.id).collect();
        cluster.apply(Command::DeleteEntries { ids: all });
        prop_assert_eq!(cluster.rows, MemoryRows::default());
    }
}

#[test]
fn a_state_that_commands_made_is_found_in_order() {
    let mut cluster = Cluster::new();
    cluster.make_trust_domain();
    for n in 0..20 {
        cluster.create(&format!("e{n}"), spec("agent", &format!("web{n}"), "uid:1"));
    }
    cluster.apply(Command::DeleteEntries { ids: vec![id("e3")] });
    let found = verify(&cluster.rows);
    assert_eq!((found.problems.as_slice(), found.unjudged), (&[] as &[String], 0));
    assert_eq!(found.rows(Space::Entries), 19);
    let hash = |findings: &Findings| findings.spaces.iter().find(|s| s.space == Space::Entries).unwrap().hash;
    let before = hash(&found);
    cluster.apply(Command::DeleteEntries { ids: vec![id("e4")] });
    assert_ne!(hash(&verify(&cluster.rows)), before, "other contents have another hash");
}

#[test]
fn every_row_that_is_lost_damaged_or_out_of_place_is_found() {
    let mut cluster = Cluster::new();
    cluster.make_trust_domain();
    cluster.create("e1", spec("agent", "web", "uid:1"));
    cluster.create("e2", spec("agent", "db", "uid:1"));
    for space in [Space::Entries, Space::EntriesByParent, Space::EntriesBySpiffeId, Space::EntriesByIdentity] {
        for (key, value) in cluster.rows.scan(space, &[], None, 10) {
            let mut lost = cluster.rows.clone();
            lost.delete(space, &key);
            assert_ne!(verify(&lost).problems, [] as [String; 0], "{space:?} row lost");
            let mut moved = lost.clone();
            moved.put(space, &[key.as_slice(), b"x"].concat(), value.clone());
            assert_ne!(verify(&moved).problems, [] as [String; 0], "{space:?} row moved");
        }
    }
    for space in [Space::Entries, Space::Authorities, Space::EntriesByIdentity] {
        for (key, value) in cluster.rows.scan(space, &[], None, 10) {
            let mut cut = cluster.rows.clone();
            cut.put(space, &key, value[..value.len() - 1].to_vec());
            let problems = verify(&cut).problems;
            assert!(problems.iter().any(|problem| problem.contains(&format!("{space:?} row"))), "{problems:?}");
        }
    }
}
