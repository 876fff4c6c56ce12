//! Measurements, not tests: `cargo test --release -p signet-raft -- --ignored --nocapture measures`.

use std::time::{Duration, Instant};

use super::cluster::{WAIT, cluster};
use crate::{Node, Timings};

fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

async fn load(nodes: &[Node], clients: usize, span: Duration) {
    let (began, busy) = (Instant::now(), cpu());
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..clients {
        let node = nodes[client % nodes.len()].clone();
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while began.elapsed() < span {
                let asked = Instant::now();
                let command = format!("put {client} {:0256}", waits.len());
                node.propose(command.into_bytes(), WAIT).await.unwrap();
                waits.push(asked.elapsed());
            }
            waits
        });
    }
    let mut waits: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    waits.sort_unstable();
    let rate = waits.len() as f64 / began.elapsed().as_secs_f64();
    let each = (cpu() - busy) / u32::try_from(waits.len()).unwrap();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    println!(
        "{clients:5} clients on {} nodes: {rate:7.0}/s  p50 {:?}  p99 {:?}  CPU of all nodes {each:?} each",
        nodes.len(),
        at(50),
        at(99)
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measures_writes_reads_and_idling() {
    let places = cluster(3, Timings::lan()).await;
    let nodes: Vec<_> = places.iter().map(|place| place.node().clone()).collect();
    let leader = nodes.iter().find(|node| node.local_status().role == crate::Role::Leader).unwrap().clone();
    for clients in [1, 16, 64, 256, 1024] {
        load(std::slice::from_ref(&leader), clients, Duration::from_secs(3)).await;
        load(&nodes, clients, Duration::from_secs(3)).await;
    }
    let (began, busy) = (Instant::now(), cpu());
    let mut rounds = 0_u32;
    while began.elapsed() < Duration::from_secs(2) {
        nodes[rounds as usize % 3].barrier(WAIT).await.unwrap();
        rounds += 1;
    }
    println!("barriers one after another: {:?} each, CPU {:?} each", began.elapsed() / rounds, (cpu() - busy) / rounds);
    let (began, busy) = (Instant::now(), cpu());
    tokio::time::sleep(Duration::from_secs(5)).await;
    println!(
        "idle: {:.2} % of a core for three nodes",
        100.0 * (cpu() - busy).as_secs_f64() / began.elapsed().as_secs_f64()
    );
    println!("views: {:?} each", {
        let began = Instant::now();
        for _ in 0..1_000_000 {
            std::hint::black_box(leader.view());
        }
        began.elapsed() / 1_000_000
    });
}
