//! Workloads that have SVIDs issued without pause. Whatever fails, some node issues.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use signet_api::client::{AgentClient, ClientError, EntryResult};
use signet_api::service::NewX509Svid;
use signet_model::entry::EntryId;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::around::{Request, ask_around, is_passing};
use crate::support::agent::{Agent, entry, request};
use crate::support::cluster::Cluster;

/// The workloads, until they are stopped.
pub(crate) struct Issuing {
    pub(crate) seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    workloads: JoinSet<()>,
}

/// What they saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) issued: AtomicU64,
    /// Set while no node runs, when nobody can issue.
    pub(crate) nobody_runs: AtomicBool,
    /// Attempts that another node had to make good, by code.
    retried: Mutex<BTreeMap<String, u64>>,
    failures: Mutex<Vec<String>>,
}

impl Issuing {
    pub(crate) async fn start(cluster: &Cluster) -> Self {
        let admin = cluster.nodes[0].admin().await;
        let id: EntryId = "issued".parse().unwrap();
        let made = admin.create_entries(vec![(Some(id.clone()), entry(WORKLOAD, AGENT))]).await.unwrap();
        assert!(matches!(made[..], [EntryResult::Done(_)]), "{made:?}");
        let agent = Arc::new(Agent::minted(&cluster.nodes[0], AGENT).await);
        let (seen, stop, mut workloads) = (Arc::<Seen>::default(), Arc::<AtomicBool>::default(), JoinSet::new());
        for (first, is_x509) in [(0, true), (1, false)] {
            let workload = Workload {
                agent: Arc::clone(&agent),
                doors: cluster.nodes.iter().map(|node| node.grpc.clone()).collect(),
                connections: cluster.nodes.iter().map(|_| None).collect(),
                entry: id.clone(),
                first,
                is_x509,
                seen: Arc::clone(&seen),
            };
            workloads.spawn(workload.run(Arc::clone(&stop)));
        }
        Self { seen, stop, workloads }
    }

    /// Ends them. Panics unless every request was served in time.
    pub(crate) async fn stop(mut self) -> Arc<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.workloads.join_next().await {
            ended.unwrap();
        }
        let failures = self.seen.failures.lock().unwrap().clone();
        assert!(failures.is_empty(), "issuance failed: {failures:#?}");
        self.seen
    }
}

impl Seen {
    pub(crate) fn retried(&self) -> BTreeMap<String, u64> {
        self.retried.lock().unwrap().clone()
    }
}

struct Workload {
    agent: Arc<Agent>,
    doors: Vec<String>,
    connections: Vec<Option<AgentClient>>,
    entry: EntryId,
    first: usize,
    is_x509: bool,
    seen: Arc<Seen>,
}

impl Workload {
    async fn run(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            self.first += 1;
            let (nodes, first) = (self.doors.len(), self.first);
            let ended = ask_around(nodes, first, PATIENCE, &mut self).await;
            if ended.served_by.is_some() {
                self.seen.issued.fetch_add(1, Ordering::Relaxed);
            } else if !self.seen.nobody_runs.load(Ordering::Relaxed) {
                self.seen.failures.lock().unwrap().push(format!("by no node: {:?}", ended.failures));
            }
            for failure in ended.failures {
                if !is_passing(&failure.code) {
                    self.seen.failures.lock().unwrap().push(format!("{}: {}", failure.code, failure.message));
                }
                *self.seen.retried.lock().unwrap().entry(failure.code).or_default() += 1;
            }
            sleep(PACE).await;
        }
    }
}

impl Request for Workload {
    async fn ask(&mut self, node: usize) -> Result<(), ClientError> {
        if self.connections[node].is_none() {
            self.connections[node] = Some(self.agent.grpc_at(&self.doors[node]).await?);
        }
        let Some(client) = &self.connections[node] else { panic!("it was just made") };
        if self.is_x509 {
            let (_, csr) = request(&[]);
            let mut answers = client.new_x509_svids(vec![NewX509Svid { entry: self.entry.clone(), csr }]).await?;
            let svid = answers.pop().unwrap()?;
            assert_eq!(svid.spiffe_id.to_string(), WORKLOAD);
        } else {
            let svid = client.new_jwt_svid(&self.entry, &["someone".to_owned()]).await?;
            assert_eq!(svid.spiffe_id.to_string(), WORKLOAD);
        }
        Ok(())
    }

    fn forget(&mut self, node: usize) {
        self.connections[node] = None;
    }
}

const AGENT: &str = "spiffe://example.org/host/one";
const WORKLOAD: &str = "spiffe://example.org/issued";
const PACE: Duration = Duration::from_millis(30);
/// Three attempts at nodes that hang, and a good one.
const PATIENCE: Duration = Duration::from_secs(5);
