//! The leader is killed again and again while clients write and have credentials issued at all three nodes.

use std::io::Write;
use std::time::Duration;

use tokio::time::Instant;

use crate::support::cluster::Cluster;
use crate::support::gaps;
use crate::support::load::{KINDS, Kind, Load, Seen};
use crate::support::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_leader_loses_no_acknowledged_entry_and_stops_nobody_for_long() {
    let mut cluster = Cluster::of_three().await;
    let load = Load::start(&cluster).await;
    let everywhere = [0, 1, 2];
    works_at(&load, &everywhere, Instant::now(), "before anything was killed").await;

    let (mut write_gaps, mut pauses) = (Vec::new(), Vec::new());
    for round in 1..=rounds() {
        let leader = cluster.leader(&everywhere).await;
        let survivors: Vec<usize> = everywhere.into_iter().filter(|position| *position != leader).collect();
        let killed = Instant::now();
        cluster.nodes[leader].kill();
        let when = format!("in round {round}, after node {} was killed", leader + 1);
        pauses.push(works_at(&load, &survivors, killed, &when).await - killed);
        write_gaps.push(load.seen.write_gap(killed, Instant::now()));

        let before = cluster.settled(&survivors).await;
        let applied = before.nodes.iter().find(|node| Some(node.id) == before.leader).and_then(|node| node.applied);
        cluster.nodes[leader].start(None);
        cluster.caught_up(leader, applied.unwrap()).await;
        cluster.nodes[leader].ready().await;
        // The killed one has to serve clients again, not only to follow.
        works_at(&load, &everywhere, Instant::now(), &format!("in round {round}, after the restart")).await;
    }
    let seen = load.stop().await;

    let acknowledged = seen.nothing_is_lost(&cluster).await;
    let counts: Vec<String> = KINDS.iter().map(|kind| format!("{kind:?} {}", seen.successes(*kind))).collect();
    let (failures, last_failure) = seen.failures();
    // Not by `println!`, which the test program keeps to itself when all is well.
    let mut out = std::io::stdout().lock();
    writeln!(out, "leader killed, write gap: {}", gaps::summary(&write_gaps)).unwrap();
    gaps::tell("kill", &write_gaps);
    writeln!(out, "leader killed, until every kind of request works at both survivors: {}", gaps::summary(&pauses))
        .unwrap();
    writeln!(
        out,
        "succeeded: {}; acknowledged entries {}, lost 0; failed {failures}, the last: {last_failure}",
        counts.join(", "),
        acknowledged
    )
    .unwrap();
}

/// Waits until every kind of request, begun after `moment`, has succeeded at each of these nodes. The moment when the
/// last of them had.
async fn works_at(load: &Load, nodes: &[usize], moment: Instant, when: &str) -> Instant {
    let mut last = moment;
    for node in nodes {
        for kind in KINDS {
            let what = format!("{kind:?} to work at node {} {when}", node + 1);
            let success = eventually(BOUND, &what, async || {
                load.seen
                    .first_begun_after(kind, *node, moment)
                    .ok_or_else(|| format!("the last failure: {:?}", load.seen.failures()))
            });
            last = last.max(success.await.answered);
        }
    }
    assert!(last - moment < BOUND, "{when} it took {:?}", last - moment);
    last
}

fn rounds() -> usize {
    std::env::var("SIGNET_TEST_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap())
}

/// The goal is under one second; this is a debug build on a machine that may do other things too.
const BOUND: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_gap_in_the_answers_is_found() {
    let seen = Seen::default();
    let start = Instant::now();
    let gap = Duration::from_millis(30);
    assert_eq!(seen.write_gap(start, start + gap), gap);
    assert!(seen.first_begun_after(Kind::Write, 0, start).is_none());
}
