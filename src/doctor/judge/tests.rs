use signet_raft::NodeStatus;

use super::*;
use Verdict::{Fail, Ok as Fine, Skipped, Warn};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Whatever is found must name a fix, and what is fine must not.
#[track_caller]
fn is(check: &Check, verdict: Verdict) {
    assert_eq!(check.verdict, verdict, "{check:?}");
    let found = matches!(verdict, Warn | Fail);
    assert_eq!((!check.problem.is_empty(), !check.fix.is_empty()), (found, found), "{check:?}");
    assert!(!check.measured.is_empty() || check.name == "versions", "{check:?}");
}

#[test]
fn a_slow_flush_fails_against_the_profile_in_use() {
    let slow: Vec<_> = (0..100).map(|nth| if nth < 90 { ms(1) } else { ms(40) }).collect();
    let check = fsync(&slow, &Timings::lan());
    is(&check, Fail);
    assert!(check.fix.contains("wan") && check.measured.contains("p99 40.0 ms"), "{check:?}");
    is(&fsync(&slow, &Timings::wan()), if Timings::wan().election_min / 3 >= ms(40) { Fine } else { Fail });
    is(&fsync(&vec![ms(2); 100], &Timings::lan()), Fine);
    is(&fsync(&[], &Timings::lan()), Skipped);
}

fn probe(id: u64, trips: &[u64], ahead: Option<i64>) -> PeerProbe {
    PeerProbe {
        id,
        address: format!("10.0.0.{id}:8082"),
        round_trips: trips.iter().map(|trip| ms(*trip)).collect(),
        clock_ahead_millis: ahead,
    }
}

#[test]
fn peers_that_are_slow_or_silent_are_named() {
    is(&peers(&[], &Timings::lan()), Fine);
    is(&peers(&[probe(2, &[1, 1, 2], None), probe(3, &[1], None)], &Timings::lan()), Fine);
    let slow = peers(&[probe(2, &[1, 30], None), probe(3, &[1], None)], &Timings::lan());
    is(&slow, Fail);
    assert!(slow.measured.contains("node 2"), "{slow:?}");
    let silent = peers(&[probe(2, &[1], None), probe(3, &[], None)], &Timings::lan());
    is(&silent, Fail);
    assert!(silent.problem.contains("node 3 (10.0.0.3:8082)"), "{silent:?}");
}

#[test]
fn clocks_are_judged_by_the_furthest() {
    for (ahead, verdict) in [(0, Fine), (-249, Fine), (250, Warn), (-1999, Warn), (2000, Fail), (-9000, Fail)] {
        is(&clocks(&[probe(2, &[1], Some(1)), probe(3, &[1], Some(ahead))]), verdict);
    }
    is(&clocks(&[probe(2, &[], None)]), Skipped);
    is(&ntp(Some(true)), Fine);
    is(&ntp(Some(false)), Warn);
    is(&ntp(None), Skipped);
}

#[test]
fn what_the_machine_allows_is_held_against_what_a_node_needs() {
    for (limit, verdict) in [(None, Fine), (Some(65_536), Fine), (Some(4096), Warn), (Some(256), Fail)] {
        is(&files(limit), verdict);
    }
    is(&swap(None), Skipped);
    is(&swap(Some(&[])), Fine);
    is(&swap(Some(&["/dev/sda2".to_owned()])), Warn);
    is(&core_dumps(Some(0)), Fine);
    is(&core_dumps(Some(1 << 20)), Warn);
    is(&core_dumps(None), Warn);
    is(&permissions(0o40700, 7, 7), Fine);
    is(&permissions(0o40750, 7, 7), Fail);
    is(&permissions(0o40700, 0, 7), Fail);
}

#[test]
fn the_disk_is_judged_as_the_node_judges_it() {
    let note = || Some("the disk of /x is nearly full: free space there; deleting /x/ballast gives 3 MiB".to_owned());
    is(&disk(DiskState::Ample, 5, 9, None), Fine);
    is(&disk(DiskState::Low, 5, 9, note()), Warn);
    for state in [DiskState::HandOver, DiskState::Refuse, DiskState::Stop] {
        let check = disk(state, 5, 9, note());
        is(&check, Fail);
        assert!(check.fix.starts_with("free space there"), "{check:?}");
    }
    is(&ballast(10, 10), Fine);
    is(&ballast(0, 0), Fine);
    is(&ballast(0, 10), Warn);
}

fn node(id: u64, version: Option<&str>, supports: Option<u32>) -> NodeStatus {
    NodeStatus {
        id,
        role: if version.is_some() { Role::Follower } else { Role::Unreachable },
        applied: None,
        lag: None,
        version: version.map(str::to_owned),
        disk: None,
        supports,
        address: "a:1".to_owned(),
        voter: true,
        last_contact: None,
        draining: false,
        clock_ahead_millis: None,
    }
}

#[test]
fn members_of_different_versions_and_a_lost_quorum_are_told() {
    let cluster = |confirmed, versions: &[Option<&str>]| ClusterStatus {
        confirmed,
        leader: confirmed.then_some(1),
        term: 1,
        membership: 1,
        nodes: versions.iter().zip(1..).map(|(version, id)| node(id, *version, Some(1))).collect(),
    };
    is(&versions(&cluster(true, &[Some("1.0"), Some("1.0"), None])), Fine);
    let skew = versions(&cluster(true, &[Some("1.0"), Some("1.1"), Some("1.1")]));
    is(&skew, Warn);
    assert_eq!(skew.measured, "1.0 on 1; 1.1 on 2, 3");
    is(&quorum(&cluster(true, &[Some("1.0")])), Fine);
    let lost = quorum(&cluster(false, &[Some("1.0"), None, None]));
    is(&lost, Fail);
    assert_eq!(lost.measured, "no leader, 1 of 3 members answer");
}

#[test]
fn a_level_that_waits_names_what_it_waits_for() {
    let status = |in_force, nodes| FeatureStatus { confirmed: true, in_force, known: 2, nodes };
    is(&upgrade(&status(2, vec![])), Fine);
    let ready = upgrade(&status(1, vec![node(1, Some("2"), Some(2))]));
    is(&ready, Warn);
    assert!(ready.fix.contains("finalize"), "{ready:?}");
    let waits =
        upgrade(&status(1, vec![node(1, Some("2"), Some(2)), node(2, Some("1"), Some(1)), node(3, None, None)]));
    is(&waits, Warn);
    for part in ["node 2 runs version 1", "node 3 (a:1) does not answer"] {
        assert!(waits.fix.contains(part), "{waits:?}");
    }
}

#[test]
fn what_ends_first_decides() {
    let now = UnixTime::from_secs(1_000_000_000);
    let expiry = |what: &str, days: u64, notice: u64| Expiry {
        what: what.to_owned(),
        not_after: now.after(Duration::from_hours(24 * days)),
        notice: Duration::from_hours(24 * notice),
    };
    is(&authorities(&[], now), Skipped);
    let check = authorities(&[expiry("root", 3000, 365), expiry("issuing CA", 40, 30)], now);
    is(&check, Fine);
    assert_eq!(check.measured, "issuing CA ends first, in 40 d");
    is(&authorities(&[expiry("root", 300, 365), expiry("issuing CA", 40, 30)], now), Warn);
    is(&authorities(&[expiry("issuing CA", 0, 30)], now), Fail);
    is(&journal(Some(3)), Fine);
    is(&journal(Some(20_000)), Warn);
    is(&journal(None), Warn);
}

#[test]
fn percentiles_are_of_the_samples_themselves() {
    assert_eq!(percentiles(&[]), None);
    assert_eq!(percentiles(&[ms(7)]), Some((ms(7), ms(7))));
    let hundred: Vec<_> = (1..=100).rev().map(ms).collect();
    assert_eq!(percentiles(&hundred), Some((ms(50), ms(99))));
}
