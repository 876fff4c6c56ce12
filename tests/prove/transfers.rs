//! Leadership is handed over on request, again and again, under clients that write without pause.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::figures::{asked, say, told};
use crate::support::cli::run;
use crate::support::cluster::Cluster;
use crate::support::gaps;
use crate::support::load::{Kind, Load};
use crate::support::wait::eventually;

/// `SIGNET_TRANSFERS` asks for more.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; ./prove runs it"]
async fn planned_transfers_of_leadership_lose_no_write_and_stop_writes_for_a_moment_only() {
    let cluster = Cluster::of_three().await;
    let load = Load::of(&cluster, &[Kind::Write], PACE).await;
    let (mut pauses, mut between) = (Vec::new(), Vec::new());
    for round in 0..asked("SIGNET_TRANSFERS", 5) {
        let before = cluster.leader(&[0, 1, 2]).await;
        // The first is for comparison: how long it is between two answers when nothing happens.
        let quiet = Instant::now();
        writes_go_on(&load, quiet).await;
        sleep(WINDOW).await;
        between.push(load.seen.write_gap(quiet, Instant::now()));

        let begun = Instant::now();
        // From every node in turn, the leader too: who does not lead passes it on.
        let socket = cluster.nodes[usize::try_from(round).unwrap() % 3].socket();
        let said = tokio::task::spawn_blocking(move || run(Some(&socket), &["cluster", "transfer-leader"]));
        said.await.unwrap().done();
        let after = cluster.leader(&[0, 1, 2]).await;
        assert_ne!(before, after, "node {} leads as before", before + 1);
        writes_go_on(&load, Instant::now()).await;
        pauses.push(load.seen.write_gap(begun, Instant::now()));
    }
    let seen = load.stop().await;
    let acknowledged = seen.nothing_is_lost(&cluster).await;
    say(&format!("leadership transferred, write gap: {}", gaps::summary(&pauses)));
    say(&format!("for comparison, nothing happening: {}", gaps::summary(&between)));
    gaps::tell("transfer", &pauses);
    told("transfer-quiet-p99-ms", gaps::rank(&between, 99).as_millis());
    told("transfer-writes", acknowledged);
}

/// Waits until a write that was begun after `moment` has succeeded at every node.
async fn writes_go_on(load: &Load, moment: Instant) {
    for node in 0..3 {
        eventually(BOUND, "writes to go on", async || {
            let success = load.seen.first_begun_after(Kind::Write, node, moment);
            success.map(|_| ()).ok_or_else(|| format!("the last failure: {:?}", load.seen.failures()))
        })
        .await;
    }
}

const PACE: Duration = Duration::from_millis(2);
const WINDOW: Duration = Duration::from_millis(100);
const BOUND: Duration = Duration::from_secs(10);
