//! Writes as fast as the cluster takes them: registration entries, from so many clients at once, one or many a call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Serialize;
use signet_api::client::{AdminClient, ClientError, EntryResult};
use signet_model::entry::{EntryId, EntrySpec, Selector};
use signet_model::spiffe_id::{SpiffeId, TrustDomain};
use tokio::task::JoinSet;

use crate::args::Writing;
use crate::clock::Stopwatch;
use crate::cpu;
use crate::dev::Cluster;
use crate::report::{aligned, millis};
use crate::schedule::Timeline as _;
use crate::scrape::{self, LogFigures};
use crate::tally::{Quantiles, Tally};

/// What the run showed, as `-o json` prints it. Fields are added, not renamed.
#[derive(Debug, Serialize)]
pub(crate) struct WritesReport {
    build: &'static str,
    cpus: usize,
    /// Entries in each call.
    batch: u16,
    duration_ms: u128,
    /// Entries there were before.
    entries_before: u32,
    /// One for each number of clients.
    rounds: Vec<Round>,
}

/// What a number of clients achieved.
#[derive(Debug, Serialize)]
struct Round {
    clients: u16,
    /// Acknowledged entries a second.
    entries_per_second: f64,
    /// Per call, microseconds.
    latency_us: Quantiles,
    /// Processor time of all nodes per entry, microseconds.
    cpu_us: f64,
    /// Log entries of the leader in each of its fsyncs; more than one registration entry may be in each.
    log_entries_per_fsync: f64,
    /// Registration entries acknowledged for each fsync of the leader's log.
    entries_per_fsync: f64,
    errors: BTreeMap<String, u64>,
}

/// Runs the writes; deletes what it made, unless it is to be kept.
pub(crate) async fn run(writes: &Writing, seed: u64) -> anyhow::Result<WritesReport> {
    let cluster = Cluster::read(&writes.dev)?;
    let doors = Doors::open(&cluster).await?;
    let first = doors.pick(0)?;
    let entries_before = first.count_entries(&signet_api::service::EntryFilter::default()).await?;
    let mut rounds = Vec::new();
    let mut made = Vec::new();
    for &clients in &writes.clients {
        eprintln!("loadtest: {clients} clients, {} a call, {:?}", writes.batch, writes.duration);
        let place = Place { trust_domain: cluster.trust_domain.clone(), seed, clients, batch: writes.batch };
        let (round, ids) = measure(writes, &cluster, &doors, &place).await?;
        rounds.push(round);
        made.extend(ids);
    }
    if !writes.keep {
        eprintln!("loadtest: deleting {} entries", made.len());
        delete(&doors, made).await?;
    }
    Ok(WritesReport {
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
        cpus: std::thread::available_parallelism().map_or(0, usize::from),
        batch: writes.batch,
        duration_ms: writes.duration.as_millis(),
        entries_before,
        rounds,
    })
}

/// Connections to the admin sockets of all nodes, several each, so that no single one is the limit.
struct Doors(Vec<AdminClient>);

impl Doors {
    async fn open(cluster: &Cluster) -> anyhow::Result<Self> {
        let mut doors = Vec::new();
        for _ in 0..CONNECTIONS {
            for node in &cluster.nodes {
                let admin = AdminClient::connect(&node.admin_socket).await;
                let admin = admin.with_context(|| format!("the admin socket {}", node.admin_socket.display()))?;
                doors.push(admin.with_timeout(CALL));
            }
        }
        Ok(Self(doors))
    }

    fn pick(&self, number: usize) -> anyhow::Result<AdminClient> {
        self.0.get(number % self.0.len().max(1)).cloned().context("dev.json: nodes is empty")
    }
}

/// Where the entries of one round lie, so that none is similar to another's.
struct Place {
    trust_domain: TrustDomain,
    seed: u64,
    clients: u16,
    batch: u16,
}

impl Place {
    fn specs(&self, number: u64) -> anyhow::Result<Vec<(Option<EntryId>, EntrySpec)>> {
        (0..self.batch).map(|at| Ok((None, self.spec(number * u64::from(self.batch) + u64::from(at))?))).collect()
    }

    /// As entries are: a parent for each hundred of them, two selectors.
    fn spec(&self, number: u64) -> anyhow::Result<EntrySpec> {
        let Self { trust_domain, seed, clients, batch } = self;
        let agent: SpiffeId = trust_domain.join(&format!("/loadtest/agent-{}", number / 100))?;
        let workload = trust_domain.join(&format!("/loadtest/writes/{seed}-{clients}-{batch}/{number}"))?;
        let selector = |kind: &str, value: String| Selector { kind: kind.to_owned(), value };
        let selectors =
            vec![selector("k8s", format!("sa:workload-{number}")), selector("k8s", "ns:loadtest".to_owned())];
        Ok(EntrySpec::new(workload, agent, selectors))
    }
}

async fn measure(
    writes: &Writing,
    cluster: &Cluster,
    doors: &Doors,
    place: &Place,
) -> anyhow::Result<(Round, Vec<EntryId>)> {
    let pids = cluster.pids();
    let next = Arc::new(AtomicU64::new(0));
    let place = Arc::new(Place { trust_domain: place.trust_domain.clone(), ..*place });
    let (log_before, cpu_before) = (scrape::leader_log(cluster).await?, cpu::time_of(&pids)?);
    let watch = Stopwatch::starting_in(Duration::ZERO);
    let mut tasks = JoinSet::new();
    for client in 0..place.clients {
        let writer = Writer {
            door: doors.pick(usize::from(client))?,
            next: Arc::clone(&next),
            place: Arc::clone(&place),
            most: writes.entries,
        };
        tasks.spawn(writer.run(watch, writes.duration));
    }
    let (mut tally, mut made) = (Tally::new(), Vec::new());
    while let Some(written) = tasks.join_next().await {
        let (one, ids) = written.context("a client died")??;
        tally.add(&one);
        made.extend(ids);
    }
    let took = watch.elapsed();
    let (log, cpu) = (scrape::leader_log(cluster).await?, cpu::time_of(&pids)?.saturating_sub(cpu_before));
    ensure!(!made.is_empty(), "no write was acknowledged: {:?}", tally.errors());
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = made.len() as f64;
    let LogFigures { entries, fsyncs } = log.since(log_before);
    Ok((
        Round {
            clients: place.clients,
            entries_per_second: count / took.as_secs_f64(),
            latency_us: tally.quantiles(),
            cpu_us: cpu.as_secs_f64() * 1e6 / count,
            log_entries_per_fsync: entries / fsyncs.max(1.0),
            entries_per_fsync: count / fsyncs.max(1.0),
            errors: tally.errors().clone(),
        },
        made,
    ))
}

/// One client: a call, its answer, the next call.
struct Writer {
    door: AdminClient,
    next: Arc<AtomicU64>,
    place: Arc<Place>,
    /// Stop when so many entries were begun; 0 for no such end.
    most: u64,
}

impl Writer {
    async fn run(self, watch: Stopwatch, duration: Duration) -> anyhow::Result<(Tally, Vec<EntryId>)> {
        let (mut tally, mut made) = (Tally::new(), Vec::new());
        while watch.elapsed() < duration {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if self.most > 0 && number * u64::from(self.place.batch) >= self.most {
                break;
            }
            let specs = self.place.specs(number)?;
            let began = watch.elapsed();
            match self.door.create_entries(specs).await {
                Ok(results) => {
                    tally.success(watch.elapsed().saturating_sub(began));
                    for result in results {
                        match id_of(result) {
                            Ok(id) => made.push(id),
                            Err(error) => tally.failure(error.code),
                        }
                    }
                }
                Err(error) => {
                    tally.failure(error.code);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        Ok((tally, made))
    }
}

fn id_of(result: EntryResult) -> Result<EntryId, ClientError> {
    match result {
        EntryResult::Done(entry) | EntryResult::Similar(entry) => Ok(entry.id),
        EntryResult::Refused(error) => Err(error),
        EntryResult::Deleted(id) => Err(ClientError { code: "protocol".to_owned(), message: id.to_string() }),
    }
}

async fn delete(doors: &Doors, ids: Vec<EntryId>) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for (number, ids) in ids.chunks(DELETED_AT_ONCE).enumerate() {
        while tasks.len() >= DELETERS {
            tasks.join_next().await.context("a task")???;
        }
        let (door, ids) = (doors.pick(number)?, ids.to_vec());
        tasks.spawn(async move { door.delete_entries(ids).await.map(|_| ()).context("deleting the load's entries") });
    }
    while let Some(deleted) = tasks.join_next().await {
        deleted??;
    }
    Ok(())
}

impl WritesReport {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let head = ["clients", "entries/s", "errors", "p50 ms", "p99", "max", "CPU µs each", "entries/fsync"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.rounds.iter().map(|round| {
            vec![
                round.clients.to_string(),
                format!("{:.0}", round.entries_per_second),
                round.errors.values().sum::<u64>().to_string(),
                millis(round.latency_us.p50),
                millis(round.latency_us.p99),
                millis(round.latency_us.max),
                format!("{:.0}", round.cpu_us),
                format!("{:.1}", round.entries_per_fsync),
            ]
        }));
        let mut text = format!(
            "registration entries, {} a call, {} s each ({}, {} CPUs), {} entries before\n\n{}",
            self.batch,
            self.duration_ms / 1000,
            self.build,
            self.cpus,
            self.entries_before,
            aligned(&rows)
        );
        for round in &self.rounds {
            for (code, count) in &round.errors {
                text.push_str(&format!("{} clients: {count} × {code}\n", round.clients));
            }
        }
        text
    }
}

/// To each node.
const CONNECTIONS: usize = 4;
const CALL: Duration = Duration::from_secs(20);
/// After a refusal, so that an overloaded node is not asked in a tight loop.
const PAUSE: Duration = Duration::from_millis(20);
const DELETED_AT_ONCE: usize = 500;
const DELETERS: usize = 4;
