//! What is done to the servers and to the network between them. Each fault shows that it really struck.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::dice::Dice;
use crate::issuing;
use crate::support::cluster::Cluster;
use crate::support::network::Network;
use crate::support::node::Node;
use crate::support::wait::eventually;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    LeaderKilled,
    LeaderInboundLost,
    LeaderInMinority,
    LeaderPaused,
    FollowerKilled,
    LeaderOutboundLost,
    FollowersApart,
    FollowerPaused,
    AllKilled,
    RollingRestart,
    DiskFull,
    CpuHogs,
}

/// Every fault; the first few are the short form.
pub(crate) const FAULTS: [Fault; 12] = [
    Fault::LeaderKilled,
    Fault::LeaderInboundLost,
    Fault::LeaderInMinority,
    Fault::LeaderPaused,
    Fault::FollowerKilled,
    Fault::LeaderOutboundLost,
    Fault::FollowersApart,
    Fault::FollowerPaused,
    Fault::AllKilled,
    Fault::RollingRestart,
    Fault::DiskFull,
    Fault::CpuHogs,
];

/// The host whose disk is small enough to be filled.
pub(crate) const SMALL_DISK: usize = 2;

/// When it struck, and when it was over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Struck {
    pub(crate) at: Instant,
    pub(crate) over: Instant,
}

impl Fault {
    /// Strikes, holds, and makes good again. Panics when it did not strike.
    pub(crate) async fn strike(
        self,
        cluster: &mut Cluster,
        network: &Network,
        issuing: &issuing::Seen,
        dice: &mut Dice,
    ) -> Struck {
        let leader = cluster.leader(&[0, 1, 2]).await;
        let followers: Vec<usize> = (0..3).filter(|position| *position != leader).collect();
        let follower = *dice.pick(&followers);
        let hold = Duration::from_millis(*dice.pick(&[1_000, 2_000, 4_000]));
        let pause = Duration::from_millis(*dice.pick(&[100, 300, 1_000, 3_000, 10_000]));
        let at = Instant::now();
        match self {
            Self::LeaderKilled => killed(&mut cluster.nodes[leader], hold).await,
            Self::FollowerKilled => killed(&mut cluster.nodes[follower], hold).await,
            Self::AllKilled => all_killed(cluster, issuing).await,
            Self::LeaderPaused => paused(&cluster.nodes[leader], pause).await,
            Self::FollowerPaused => paused(&cluster.nodes[follower], pause).await,
            Self::LeaderInMinority => {
                network.part(&[leader], &followers);
                is_replaced(cluster, leader, &followers).await;
                sleep(hold).await;
            }
            Self::LeaderInboundLost => {
                followers.iter().for_each(|follower| network.cut(*follower, leader));
                assert!(followers.iter().all(|follower| network.is_cut(*follower, leader)), "the cut did not strike");
                is_replaced(cluster, leader, &followers).await;
                sleep(hold).await;
            }
            Self::LeaderOutboundLost => {
                followers.iter().for_each(|follower| network.cut(leader, *follower));
                assert!(followers.iter().all(|follower| network.is_cut(leader, *follower)), "the cut did not strike");
                is_replaced(cluster, leader, &followers).await;
                sleep(hold).await;
            }
            Self::FollowersApart => {
                network.part(&[followers[0]], &[followers[1]]);
                assert!(network.is_cut(followers[0], followers[1]), "the cut did not strike");
                sleep(hold).await;
            }
            Self::RollingRestart => {
                for position in 0..3 {
                    restarted(&mut cluster.nodes[position]).await;
                }
            }
            Self::DiskFull => disk_filled(&mut cluster.nodes[SMALL_DISK], hold).await,
            Self::CpuHogs => {
                let _hogs = Hogs::start();
                sleep(hold * 2).await;
            }
        }
        network.heal();
        Struck { at, over: Instant::now() }
    }

    /// Whether the cluster loses its leader by it, and with it, for a moment, the ability to write.
    pub(crate) const fn takes_the_leader_away(self) -> bool {
        matches!(self, Self::LeaderKilled | Self::LeaderInboundLost | Self::LeaderInMinority | Self::LeaderOutboundLost)
    }
}

async fn killed(node: &mut Node, hold: Duration) {
    node.kill();
    sleep(hold).await;
    node.start(None);
}

async fn all_killed(cluster: &mut Cluster, issuing: &issuing::Seen) {
    issuing.nobody_runs.store(true, Ordering::Relaxed);
    cluster.nodes.iter_mut().for_each(Node::kill);
    cluster.nodes.iter_mut().for_each(|node| node.start(None));
    cluster.all_ready().await;
    // What was asked while nobody ran may still be waiting.
    sleep(Duration::from_secs(2)).await;
    issuing.nobody_runs.store(false, Ordering::Relaxed);
}

async fn paused(node: &Node, length: Duration) {
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", node.pid().as_raw_nonzero())).unwrap();
    node.signal(Signal::STOP);
    eventually(BOUND, "the process to stop", async || {
        // The state follows the name, which is in brackets.
        let state = state();
        if state.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" T")) { Ok(()) } else { Err(state) }
    })
    .await;
    sleep(length).await;
    node.signal(Signal::CONT);
}

/// SIGTERM, the process's own end, and a new start.
pub(crate) async fn restarted(node: &mut Node) {
    node.signal(Signal::TERM);
    let ended = node.ended(BOUND).await;
    assert_eq!(ended.code(), Some(0), "it did not end in good order: {}", node.log());
    node.start(None);
    node.ready().await;
}

/// Waits until the others follow another leader.
async fn is_replaced(cluster: &Cluster, leader: usize, others: &[usize]) {
    let id = cluster.nodes[leader].id;
    eventually(BOUND, "another leader", async || {
        for other in others {
            let status = cluster.nodes[*other].status().await?;
            if status.stale || status.leader.is_none_or(|now| now == id) {
                return Err(format!("{status:?}"));
            }
        }
        Ok(())
    })
    .await;
}

/// Fills the disk to the last byte, for a while. The server may refuse, or die and say why; it comes back when there is
/// room again.
async fn disk_filled(node: &mut Node, hold: Duration) {
    let junk = node.data().join("junk");
    let is_full = fill(&junk);
    assert!(is_full, "the disk of {} did not fill up", node.data().display());
    sleep(hold).await;
    std::fs::remove_file(&junk).unwrap();
    if node.has_ended() {
        let log = node.log();
        assert!(log.contains("cannot write"), "it died of a full disk and does not say so: {log}");
        node.start(None);
    }
}

fn fill(junk: &Path) -> bool {
    let mut file = std::fs::File::create(junk).unwrap();
    for chunk in [1 << 20, 4096, 1] {
        let bytes = vec![b'j'; chunk];
        while file.write_all(&bytes).is_ok() {}
    }
    file.write_all(b"j").is_err_and(|cause| cause.kind() == std::io::ErrorKind::StorageFull)
}

/// Processes that want every core.
struct Hogs(Vec<Child>);

impl Hogs {
    fn start() -> Self {
        Self((0..4).map(|_| Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap()).collect())
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}

const BOUND: Duration = Duration::from_secs(30);
