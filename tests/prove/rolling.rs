//! All nodes are restarted, one after the other, under clients that retry as ordinary clients do: nobody notices.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signet_api::client::{AdminClient, ClientError, EntryResult};
use signet_model::command::{EntryChange, EntryFields};
use signet_model::entry::{EntryId, EntrySpec};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::around::{Request, ask_around};
use crate::faults::restarted;
use crate::figures::{asked, say, told};
use crate::issuing::Issuing;
use crate::support::agent::entry;
use crate::support::cluster::Cluster;

/// `SIGNET_ROLLS` asks for more than one round through all nodes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute; ./prove runs it"]
async fn a_rolling_restart_under_load_fails_no_request_and_loses_no_write() {
    let mut cluster = Cluster::of_three().await;
    let (stop, mut writers) = (Arc::<AtomicBool>::default(), JoinSet::new());
    for number in 0..WRITERS {
        writers.spawn(Writer::new(&cluster, number).await.run(Arc::clone(&stop)));
    }
    let issuing = Issuing::start(&cluster).await;
    let rolls = asked("SIGNET_ROLLS", 1);
    for _ in 0..rolls {
        for position in 0..3 {
            restarted(&mut cluster.nodes[position]).await;
            let applied = cluster.settled(&[0, 1, 2]).await.nodes.iter().filter_map(|node| node.applied).max();
            cluster.caught_up(position, applied.unwrap()).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let (mut requests, mut retries, mut lost) = (0, 0, 0);
    while let Some(writer) = writers.join_next().await {
        let writer = writer.unwrap();
        assert!(writer.failed.is_empty(), "requests failed with ordinary retry: {:?}", writer.failed);
        for node in &cluster.nodes {
            let stored = node.admin().await.entry(&writer.id).await.unwrap();
            lost += u64::from(stored.spec.hint != writer.written.to_string());
        }
        requests += writer.written;
        retries += writer.retries;
    }
    let seen = issuing.stop().await;
    let issued = seen.issued.load(Ordering::Relaxed);
    say(&format!("rolling restarts: {requests} writes, {issued} SVIDs; asked again: {retries}, {:?}", seen.retried()));
    told("rolling-restarts", rolls * 3);
    told("rolling-requests", requests + issued);
    told("rolling-lost", lost);
    assert_eq!(lost, 0, "acknowledged writes are not there at every node");
    assert!(requests > rolls * FLOOR && issued > rolls * FLOOR, "too little load to prove anything: the run is void");
}

/// Counts up in one entry's hint.
struct Writer {
    id: EntryId,
    spec: EntrySpec,
    sockets: Vec<PathBuf>,
    connections: Vec<Option<AdminClient>>,
    first: usize,
    written: u64,
    retries: usize,
    failed: Vec<ClientError>,
}

impl Writer {
    async fn new(cluster: &Cluster, number: usize) -> Self {
        let id: EntryId = format!("counter-{number}").parse().unwrap();
        let spec = EntrySpec { hint: "0".to_owned(), ..entry(&format!("spiffe://example.org/{id}"), PARENT) };
        let made = cluster.nodes[0].admin().await.create_entries(vec![(Some(id.clone()), spec.clone())]).await.unwrap();
        assert!(matches!(made[..], [EntryResult::Done(_)]), "{made:?}");
        let sockets: Vec<PathBuf> = cluster.nodes.iter().map(|node| node.socket()).collect();
        let connections = sockets.iter().map(|_| None).collect();
        Self { id, spec, sockets, connections, first: number, written: 0, retries: 0, failed: Vec::new() }
    }

    async fn run(mut self, stop: Arc<AtomicBool>) -> Self {
        while !stop.load(Ordering::Relaxed) {
            let (nodes, first) = (self.sockets.len(), self.first);
            let ended = ask_around(nodes, first, PATIENCE, &mut self).await;
            let Some(node) = ended.served_by else {
                self.failed = ended.failures;
                return self;
            };
            self.first = node;
            self.written += 1;
            self.retries += ended.failures.len();
            sleep(PACE).await;
        }
        self
    }
}

impl Request for Writer {
    /// To write the same again changes nothing, so it may be repeated when nobody knows whether it was done.
    async fn ask(&mut self, node: usize) -> Result<(), ClientError> {
        if self.connections[node].is_none() {
            self.connections[node] = Some(AdminClient::connect(&self.sockets[node]).await?);
        }
        let Some(admin) = &self.connections[node] else { panic!("it was just made") };
        let spec = EntrySpec { hint: (self.written + 1).to_string(), ..self.spec.clone() };
        let change = EntryChange { id: self.id.clone(), spec, fields: EntryFields::ALL };
        match admin.update_entries(vec![change]).await?.pop() {
            Some(EntryResult::Done(_)) => Ok(()),
            Some(EntryResult::Refused(refused)) => Err(refused),
            other => panic!("the answer to an update: {other:?}"),
        }
    }

    fn forget(&mut self, node: usize) {
        self.connections[node] = None;
    }
}

const WRITERS: usize = 6;
const PARENT: &str = "spiffe://example.org/host/one";
const PACE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests of each kind that a round through all nodes must have seen. It takes three seconds where nodes restart quickly.
const FLOOR: u64 = 25;
