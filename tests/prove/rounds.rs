//! Rounds of faults: clients at work, something breaks, it heals, and what the clients were told must fit one copy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::checker::Porcupine;
use crate::dice::Dice;
use crate::faults::{FAULTS, Fault, SMALL_DISK};
use crate::figures::{asked, say, told};
use crate::history::{self, History};
use crate::issuing::Issuing;
use crate::registers::Registers;
use crate::support::cluster::Cluster;
use crate::support::gaps;
use crate::support::network::Network;
use crate::support::wait::eventually;

/// `SIGNET_ROUNDS`, `SIGNET_ROUND_OPERATIONS` and `SIGNET_SEED` ask for more, or for the same again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; ./prove runs it"]
async fn whatever_fails_between_hosts_the_clients_see_one_copy_that_forgets_nothing() {
    let Some(network) = Network::find("fault rounds", 3) else { return };
    let Some(judge) = Porcupine::find("fault rounds") else { return };
    let (rounds, floor) = (asked("SIGNET_ROUNDS", 4), asked("SIGNET_ROUND_OPERATIONS", 400));
    let seed = asked("SIGNET_SEED", 1);
    say(&format!("fault rounds: {rounds}, seed {seed}"));
    let mut hosts = network.hosts.clone();
    hosts[SMALL_DISK].disk_bytes = Some(DISK);
    let mut cluster = Cluster::of_three_on(hosts, "30s").await;
    let folder = history::folder();
    let (mut sum, mut files) = (Sum::default(), Vec::new());
    let issuing = Issuing::start(&cluster).await;
    for (round, fault) in (1..=rounds).zip(FAULTS.iter().cycle().copied()) {
        let name = format!("round-{round}");
        let mut dice = Dice::of(seed, round);
        let registers = Registers::start(&cluster, &name, seed.wrapping_add(round));
        at_work(&registers.history, floor / 4).await;
        let struck = fault.strike(&mut cluster, &network, &issuing.seen, &mut dice).await;
        heal(&cluster).await;
        let pause = registers.history.longest_pause(struck.at, struck.over.max(struck.at + SOON));
        at_work(&registers.history, floor).await;
        let (history, failures) = registers.stop(&cluster).await;
        say(&format!(
            "round {round}: {fault:?} for {} ms, longest write pause {} ms, {} operations, failures {failures:?}",
            (struck.over - struck.at).as_millis(),
            pause.as_millis(),
            history.len()
        ));
        sum.add(fault, pause, &history);
        files.push(history.save(&folder));
        nobody_panicked(&cluster);
    }
    let seen = issuing.stop().await;
    let verdict = judge.judge(&files);
    sum.tell(rounds);
    told("issued-during-faults", seen.issued.load(Ordering::Relaxed));
    say(&format!("issuance asked another node: {:?}", seen.retried()));
    told("histories", verdict.histories);
    told("operations", verdict.operations);
    assert!(verdict.linearizable, "{}\nthe histories are in {}", verdict.text, folder.display());
    assert_eq!(verdict.operations, sum.operations, "the judge has not seen everything");
    sum.is_within_bounds();
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Waits until the clients have done this many operations. A cluster that is too slow proves nothing.
async fn at_work(history: &Arc<History>, operations: u64) {
    eventually(ROUND, "enough operations for the round to count", async || {
        let done = history.len();
        if done >= operations { Ok(()) } else { Err(format!("{done} of {operations}: the run is void")) }
    })
    .await;
}

/// Everybody is ready and has everything again.
async fn heal(cluster: &Cluster) {
    cluster.all_ready().await;
    let status = cluster.settled(&[0, 1, 2]).await;
    let applied = status.nodes.iter().filter_map(|node| node.applied).max().unwrap();
    for position in 0..cluster.nodes.len() {
        cluster.caught_up(position, applied).await;
    }
}

fn nobody_panicked(cluster: &Cluster) {
    for node in &cluster.nodes {
        assert!(!node.log().contains("panicked at"), "node {} panicked: {}", node.id, node.log());
    }
}

/// What all rounds came to.
#[derive(Default)]
struct Sum {
    operations: u64,
    unknown: u64,
    struck: BTreeMap<Fault, u64>,
    pauses: BTreeMap<Fault, Vec<Duration>>,
}

impl Sum {
    fn add(&mut self, fault: Fault, pause: Duration, history: &History) {
        self.operations += history.len();
        self.unknown += history.unknown();
        *self.struck.entry(fault).or_default() += 1;
        self.pauses.entry(fault).or_default().push(pause);
    }

    fn tell(&self, rounds: u64) {
        told("fault-rounds", self.struck.values().sum::<u64>());
        told("fault-kinds", self.struck.len());
        told("unknown-outcomes", self.unknown);
        for (fault, pauses) in self.pauses.iter().filter(|(fault, _)| fault.takes_the_leader_away()) {
            say(&format!("{fault:?}, write pause: {}", gaps::summary(pauses)));
        }
        if let Some(pauses) = self.pauses.get(&Fault::LeaderInboundLost) {
            told("inbound-lost-longest-ms", gaps::rank(pauses, 100).as_millis());
        }
        let expected = FAULTS.len().min(usize::try_from(rounds).unwrap());
        assert_eq!(self.struck.len(), expected, "void: not every fault struck: {:?}", self.struck);
    }

    fn is_within_bounds(&self) {
        for (fault, pauses) in self.pauses.iter().filter(|(fault, _)| fault.takes_the_leader_away()) {
            let longest = gaps::rank(pauses, 100);
            assert!(longest < BOUND, "{fault:?}: writes paused for {longest:?}");
        }
    }
}

/// Enough for a server and its log; small enough to be filled.
const DISK: u64 = 512 << 20;
/// A leader that is lost without a sound is replaced well within this.
const SOON: Duration = Duration::from_secs(3);
/// Writes must go on within this after any fault that takes the leader.
const BOUND: Duration = Duration::from_secs(2);
const ROUND: Duration = Duration::from_secs(120);
