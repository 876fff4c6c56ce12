//! Stored forms that must load for ever: bytes as some release wrote them. Never change a sample; add new ones.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;
use rocksdb::DB;
use signet_model::stored::{from_bytes, to_bytes};
use signet_model::time::UnixTime;

use crate::encoding::{StoredLogId, StoredVote, entry_from_bytes, unversioned, versioned};
use crate::identity::{Phase, Record};
use crate::log::{Chain, LogStore, Mark, PurgedRow, entry_key, mark_from_slot, mark_to_slot, read_entry, write_entry};
use crate::state::{AppliedRow, Manifest, TokenRow};
use crate::types::{LeaderId, LogEntry, LogId, Membership, Order, PeerNode, Pin, Proposal};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn id(index: u64) -> LogId {
    LogId { leader_id: LeaderId { term: 3, node_id: 7 }, index }
}

fn sample(index: u64) -> LogEntry {
    let proposal = Proposal { stamp: UnixTime::from_millis(5), order: Order::Application(Bytes::from_static(b"x")) };
    LogEntry { log_id: id(index), payload: EntryPayload::Normal(proposal) }
}

/// Version 1 of an entry: on disk until 2026-11-22, and between peers.
const ENTRY_1: &str = "01 82 83030704 82 01 82 05 82 00 81 4178";
/// Version 2 of an entry's row: flags, CRC-32C, chain, body.
const ENTRY_ROW_2: &str = "02 01 0f625176 1111111111111111111111111111111111111111111111111111111111111111 \
                           82 83030704 82 01 82 05 82 00 81 4178";
const ENTRY_ROW_2_PLAIN: &str = "02 00 b3e8cba3 82 83030704 82 01 82 05 82 00 81 4178";
/// The purged place before it carried the chain's value, and since.
const PURGED_1: &str = "01 83030704";
const PURGED_1_CHAIN: &str = "01 84030704 5820 1111111111111111111111111111111111111111111111111111111111111111";
const APPLIED_1: &str = "01 82 83030704 05";
const APPLIED_1_CHAIN: &str = "01 83 83030704 05 5820 1111111111111111111111111111111111111111111111111111111111111111";

/// One slot of the watermark; zeros up to 4096 bytes follow.
const SLOT_1: &str = "73676e6d61726b31 6eb42b5a69759902 0000000000000009002b \
                      83 83030704 5820 1111111111111111111111111111111111111111111111111111111111111111 830307f5";
/// A vote.
const VOTE_1: &str = "01 83 03 07 f5";
/// A snapshot's manifest before it carried the chain's value, and since.
const MANIFEST_1: &str = "01 84 01 4163 82 83030704 82 83030704 82 81 8101 a1 01 82 63613a31 \
                          5820 0909090909090909090909090909090909090909090909090909090909090909 \
                          81 83 6162 05 5820 2222222222222222222222222222222222222222222222222222222222222222";
const MANIFEST_1_CHAIN: &str = "01 85 01 4163 82 83030704 82 83030704 82 81 8101 a1 01 82 63613a31 \
                          5820 0909090909090909090909090909090909090909090909090909090909090909 \
                          81 83 6162 05 5820 2222222222222222222222222222222222222222222222222222222222222222 \
                          5820 1111111111111111111111111111111111111111111111111111111111111111";

#[test]
fn watermarks_votes_and_manifests_load() {
    let mut slot = hex(SLOT_1);
    slot.resize(4096, 0);
    let vote: StoredVote = unversioned(&hex(VOTE_1)).unwrap();
    assert_eq!(vote, StoredVote { term: 3, node: 7, committed: true });
    assert_eq!(versioned(&vote), hex(VOTE_1));
    let mark = Mark { last: Some((&id(4)).into()), chain: Some(Chain([0x11; 32])), vote: Some(vote) };
    assert_eq!(mark_from_slot(&slot), Some((9, mark)));
    assert_eq!(mark_to_slot(9, &mark), slot);
    let old: Manifest = unversioned(&hex(MANIFEST_1)).unwrap();
    assert_eq!((old.min_reader, old.cluster.as_slice(), old.chain), (1, b"c".as_ref(), None));
    assert_eq!((old.files[0].name.as_str(), old.files[0].len, old.files[0].hash), ("b", 5, [0x22; 32]));
    let meta: crate::types::SnapshotMeta = old.meta.clone().try_into().unwrap();
    assert_eq!(meta.last_log_id, Some(id(4)));
    let new = Manifest { chain: Some(Chain([0x11; 32])), ..old };
    assert_eq!(versioned(&new), hex(MANIFEST_1_CHAIN));
    assert_eq!(unversioned::<Manifest>(&hex(MANIFEST_1_CHAIN)).unwrap(), new);
}

#[test]
fn entries_of_every_version_load() {
    assert_eq!(entry_from_bytes(&hex(ENTRY_1)).unwrap(), sample(4));
    let body = &hex(ENTRY_1)[1..];
    let old = hex(ENTRY_1);
    let row = read_entry(4, &old).unwrap();
    assert_eq!((row.chain, row.body), (None, body));
    for (bytes, chain) in [(hex(ENTRY_ROW_2), Some(Chain([0x11; 32]))), (hex(ENTRY_ROW_2_PLAIN), None)] {
        let row = read_entry(4, &bytes).unwrap();
        assert_eq!((row.chain, row.body), (chain, body));
        assert_eq!(write_entry(4, chain, body), bytes);
    }
}

#[test]
fn the_hash_chain_is_counted_as_ever() {
    let body = &hex(ENTRY_1)[1..];
    assert_eq!(Chain::START.next(body).to_string(), "d908588fcbba654957d8244fa1538e015f451c2b94623599d27dd0e1313a7fe1");
}

#[test]
fn the_purged_place_and_the_applied_place_load() {
    let row: PurgedRow = unversioned(&hex(PURGED_1)).unwrap();
    assert_eq!((row.id(), row.chain), (id(4), None));
    let row: PurgedRow = unversioned(&hex(PURGED_1_CHAIN)).unwrap();
    assert_eq!((row.id(), row.chain), (id(4), Some(Chain([0x11; 32]))));
    assert_eq!(versioned(&row), hex(PURGED_1_CHAIN));
    let row: AppliedRow = unversioned(&hex(APPLIED_1)).unwrap();
    assert_eq!((row.id, row.time, row.chain), (StoredLogId::from(&id(4)), UnixTime::from_millis(5), None));
    let row: AppliedRow = unversioned(&hex(APPLIED_1_CHAIN)).unwrap();
    assert_eq!(row.chain, Some(Chain([0x11; 32])));
    assert_eq!(versioned(&row), hex(APPLIED_1_CHAIN));
}

const PEER: &str = "82 63613a31 5820 0909090909090909090909090909090909090909090909090909090909090909";
const HASH: &str = "5820 1111111111111111111111111111111111111111111111111111111111111111";

/// A join token's verifier and member key.
const PROOFS: &str = "5820 2222222222222222222222222222222222222222222222222222222222222222 \
                      5820 3333333333333333333333333333333333333333333333333333333333333333";

fn peer() -> PeerNode {
    PeerNode { address: "a:1".into(), pin: Pin([9; 32]) }
}

#[test]
fn every_kind_of_order_loads() {
    let orders = [
        ("82 00 81 4178".to_owned(), Order::Application(Bytes::from_static(b"x"))),
        (
            format!("82 01 85 {HASH} 19ea60 4163 {PROOFS}"),
            Order::CreateJoinToken {
                hash: [0x11; 32],
                ttl_millis: 60_000,
                caller: b"c".to_vec(),
                verifier: [0x22; 32],
                member_key: [0x33; 32],
            },
        ),
        (format!("82 02 82 {HASH} {PEER}"), Order::ConsumeJoinToken { hash: [0x11; 32], node: peer() }),
        ("82 03 82 03 63613a31".to_owned(), Order::SetAddress { node: 3, address: "a:1".into() }),
        ("82 04 81 05".to_owned(), Order::Forget { node: 5 }),
        ("82 05 81 05".to_owned(), Order::ResetTime { to: UnixTime::from_millis(5) }),
    ];
    for (bytes, order) in orders {
        assert!(from_bytes::<Order>(&hex(&bytes)).unwrap() == order, "{bytes}");
        assert_eq!(to_bytes(&order), hex(&bytes));
    }
}

#[test]
fn entries_that_change_the_membership_load() {
    let bytes = hex(&format!("01 82 83030704 82 02 81 82 81 81 01 a1 01 {PEER}"));
    let membership = Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, peer())])).unwrap();
    let entry = LogEntry { log_id: id(4), payload: EntryPayload::Membership(membership) };
    assert_eq!(entry_from_bytes(&bytes).unwrap(), entry);
    assert_eq!(crate::encoding::entry_to_bytes(&entry), bytes);
}

#[test]
fn join_tokens_and_identities_load() {
    let row = TokenRow {
        expires_at: UnixTime::from_millis(5),
        used_by: Some(7),
        caller: b"c".to_vec(),
        verifier: [0x22; 32],
        member_key: [0x33; 32],
    };
    for (used, row) in [("07", row.clone()), ("f6", TokenRow { used_by: None, ..row })] {
        let bytes = hex(&format!("01 85 05 {used} 4163 {PROOFS}"));
        assert_eq!(unversioned::<TokenRow>(&bytes).unwrap(), row);
        assert_eq!(versioned(&row), bytes);
    }
    let bytes = hex(&format!("01 86 50 01010101010101010101010101010101 03 {HASH} 02 81 82 01 {PEER} 182a"));
    let record = Record {
        cluster: [1; 16],
        node: 3,
        pin: Pin([0x11; 32]),
        phase: Phase::Member,
        told: vec![(1, peer())],
        told_end: 42,
    };
    assert_eq!(unversioned::<Record>(&bytes).unwrap(), record);
    assert_eq!(versioned(&record), bytes);
}

#[test]
fn small_files_load() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vote");
    // A magic word, eight bytes of the SHA-256 of what follows, and that.
    let bytes = hex("7369676e6574310a d16c4bdc455daaa1 01 83 03 07 f5");
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(crate::durable::read(&path).unwrap().unwrap(), hex(VOTE_1));
    crate::durable::replace(&path, &hex(VOTE_1)).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn a_log_that_an_older_program_wrote_opens_and_goes_on_with_a_hash() {
    let dir = tempfile::tempdir().unwrap();
    {
        let db = DB::open_default(dir.path().join("log")).unwrap();
        for index in 0..4 {
            db.put(entry_key(index), crate::encoding::entry_to_bytes(&sample(index))).unwrap();
        }
    }
    crate::durable::replace(&dir.path().join("vote"), &hex("01 83 03 07 f5")).unwrap();
    let mut log = LogStore::open(dir.path()).unwrap();
    super::storage::append(&mut log, vec![sample(4)]).await;
    assert_eq!(log.try_get_log_entries(0..9).await.unwrap(), (0..5).map(sample).collect::<Vec<_>>());
    let counted =
        |upto| (0..=upto).fold(Chain::START, |chain, at| chain.next(&crate::encoding::entry_to_body(&sample(at))));
    for index in 0..5 {
        assert_eq!(log.chain_at(index).unwrap(), Some(counted(index)), "{index}");
    }
    log.purge(id(2)).await.unwrap();
    log.truncate_after(Some(id(3))).await.unwrap();
    assert_eq!(log.chain_at(1).unwrap(), None);
    assert_eq!(log.chain_at(2).unwrap(), Some(counted(2)));
    assert_eq!(log.chain_at(3).unwrap(), Some(counted(3)));
    drop(log);
    let log = LogStore::open(dir.path()).unwrap();
    assert_eq!(log.chain_at(3).unwrap(), Some(counted(3)));
    assert_eq!(log.chain_at(4).unwrap(), None);
}
