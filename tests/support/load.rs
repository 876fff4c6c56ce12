//! Clients that never stop asking: each worker does one kind of request at one node, and writes down what succeeded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use signet_api::client::{AdminClient, AgentClient, EntryResult, TokenClient};
use signet_api::service::{EntryFilter, NewX509Svid};
use signet_model::entry::EntryId;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::agent::{Agent, entry, exchange_form, request, txn_token};
use super::cluster::Cluster;
use super::users::{AUDIENCE, Users, policy};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Write,
    X509Svid,
    JwtSvid,
    Exchange,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Write, Kind::X509Svid, Kind::JwtSvid, Kind::Exchange];

/// A request that succeeded: when it was begun and when its answer was there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Success {
    pub(crate) begun: Instant,
    pub(crate) answered: Instant,
}

/// What the workers have seen so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    successes: Mutex<BTreeMap<(Kind, usize), Vec<Success>>>,
    /// Entries whose creation was acknowledged.
    acknowledged: Mutex<Vec<EntryId>>,
    failures: AtomicU64,
    last_failure: Mutex<String>,
}

impl Seen {
    /// The first success of this kind at this node that was begun after `moment`.
    pub(crate) fn first_begun_after(&self, kind: Kind, node: usize, moment: Instant) -> Option<Success> {
        let successes = self.successes.lock().unwrap();
        successes.get(&(kind, node)).and_then(|list| list.iter().rev().take_while(|s| s.begun > moment).last().copied())
    }

    /// The longest time within this window without any answer to a write, at whichever node.
    pub(crate) fn write_gap(&self, from: Instant, until: Instant) -> Duration {
        let successes = self.successes.lock().unwrap();
        let writes = successes.iter().filter(|((kind, _), _)| *kind == Kind::Write).flat_map(|(_, list)| list);
        let mut answers: Vec<Instant> = writes.map(|s| s.answered).filter(|at| (from..=until).contains(at)).collect();
        answers.extend([from, until]);
        answers.sort();
        answers.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
    }

    /// Every node has every entry whose creation was acknowledged; so many there are.
    pub(crate) async fn nothing_is_lost(&self, cluster: &Cluster) -> usize {
        let acknowledged = self.acknowledged.lock().unwrap().clone();
        for node in &cluster.nodes {
            let stored = node.admin().await.entries(&EntryFilter::default()).await.unwrap();
            let stored: BTreeSet<&str> = stored.iter().map(|entry| entry.id.as_str()).collect();
            let missing: Vec<_> = acknowledged.iter().filter(|id| !stored.contains(id.as_str())).collect();
            let (lost, all) = (missing.len(), acknowledged.len());
            assert!(missing.is_empty(), "node {} lacks {lost} of {all} acknowledged entries: {missing:?}", node.id);
        }
        acknowledged.len()
    }

    /// How many requests of this kind succeeded, over all nodes.
    pub(crate) fn successes(&self, kind: Kind) -> usize {
        self.successes.lock().unwrap().iter().filter(|((k, _), _)| *k == kind).map(|(_, list)| list.len()).sum()
    }

    pub(crate) fn failures(&self) -> (u64, String) {
        (self.failures.load(Ordering::Relaxed), self.last_failure.lock().unwrap().clone())
    }
}

/// The workers, until they are stopped.
pub(crate) struct Load {
    pub(crate) seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    workers: JoinSet<()>,
    _users: Users,
}

impl Load {
    /// One worker for each kind of request at each node.
    pub(crate) async fn start(cluster: &Cluster) -> Self {
        Self::of(cluster, &KINDS, PACE).await
    }

    /// One worker for each of these kinds of request at each node, which rests for `pace` after each.
    pub(crate) async fn of(cluster: &Cluster, kinds: &[Kind], pace: Duration) -> Self {
        let users = Users::start().await;
        let admin = cluster.nodes[0].admin().await;
        admin.apply_policy(policy(&users.issuer, &users.jwks_uri(), AGENT), None).await.unwrap();
        let parent: EntryId = "workload".parse().unwrap();
        let made = admin.create_entries(vec![(Some(parent.clone()), entry(WORKLOAD, AGENT))]).await.unwrap();
        assert!(matches!(made[..], [EntryResult::Done(_)]), "{made:?}");
        let agent = Arc::new(Agent::minted(&cluster.nodes[0], AGENT).await);
        let token: Arc<str> = users.token_for(LONG, "alice", AUDIENCE, "orders.read").into();

        let (seen, stop, mut workers) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)), JoinSet::new());
        for (position, node) in cluster.nodes.iter().enumerate() {
            for kind in kinds.iter().copied() {
                let worker = Worker {
                    kind,
                    pace,
                    position,
                    socket: node.socket(),
                    grpc: node.grpc.clone(),
                    https: agent.https(node),
                    agent: agent.clone(),
                    token: token.clone(),
                    seen: seen.clone(),
                };
                workers.spawn(worker.run(stop.clone()));
            }
        }
        Self { seen, stop, workers, _users: users }
    }

    /// Lets the workers finish what they are at.
    pub(crate) async fn stop(mut self) -> Arc<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.workers.join_next().await {
            ended.unwrap();
        }
        self.seen
    }
}

/// The longest load lasts a night.
const LONG: u64 = 12 * 3600;

struct Worker {
    kind: Kind,
    pace: Duration,
    position: usize,
    socket: std::path::PathBuf,
    grpc: String,
    https: TokenClient,
    agent: Arc<Agent>,
    token: Arc<str>,
    seen: Arc<Seen>,
}

/// Connections that are kept while they work.
#[derive(Default)]
struct Connections {
    admin: Option<AdminClient>,
    agent: Option<AgentClient>,
}

impl Worker {
    async fn run(self, stop: Arc<AtomicBool>) {
        let mut connections = Connections::default();
        let mut number = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let begun = Instant::now();
            let outcome = timeout(PATIENCE, self.ask(&mut connections, number)).await;
            match outcome.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}"))) {
                Ok(()) => {
                    let success = Success { begun, answered: Instant::now() };
                    self.seen.successes.lock().unwrap().entry((self.kind, self.position)).or_default().push(success);
                }
                Err(failure) => {
                    connections = Connections::default();
                    self.seen.failures.fetch_add(1, Ordering::Relaxed);
                    *self.seen.last_failure.lock().unwrap() =
                        format!("{:?} at node {}: {failure}", self.kind, self.position + 1);
                }
            }
            // Enough to see a pause of this length, little enough to leave a small machine to the servers.
            sleep(self.pace).await;
        }
    }

    async fn ask(&self, connections: &mut Connections, number: u64) -> Result<(), String> {
        match self.kind {
            Kind::Write => {
                let id: EntryId = format!("n{}-{number}", self.position).parse().unwrap();
                let spec = entry(&format!("spiffe://example.org/written/{id}"), AGENT);
                let admin = self.admin(connections).await?;
                match admin.create_entries(vec![(Some(id.clone()), spec)]).await.map_err(|e| e.to_string())?.as_slice()
                {
                    [EntryResult::Done(_)] => self.seen.acknowledged.lock().unwrap().push(id),
                    other => return Err(format!("{other:?}")),
                }
            }
            Kind::X509Svid => {
                let (_, csr) = request(&[]);
                let request = NewX509Svid { entry: "workload".parse().unwrap(), csr };
                let answers =
                    self.agent(connections).await?.new_x509_svids(vec![request]).await.map_err(|e| e.to_string())?;
                let [Ok(svid)] = answers.as_slice() else { return Err(format!("{answers:?}")) };
                assert_eq!(svid.spiffe_id.to_string(), WORKLOAD);
            }
            Kind::JwtSvid => {
                let (id, audience) = ("workload".parse().unwrap(), ["someone".to_owned()]);
                let svid =
                    self.agent(connections).await?.new_jwt_svid(&id, &audience).await.map_err(|e| e.to_string())?;
                assert_eq!(svid.spiffe_id.to_string(), WORKLOAD);
            }
            Kind::Exchange => {
                let form = exchange_form(&self.token, "example.org", "orders.read");
                txn_token(&self.https.exchange(&form).await.map_err(|e| e.to_string())?)?;
            }
        }
        Ok(())
    }

    async fn admin<'c>(&self, connections: &'c mut Connections) -> Result<&'c AdminClient, String> {
        if connections.admin.is_none() {
            connections.admin = Some(AdminClient::connect(&self.socket).await.map_err(|e| e.to_string())?);
        }
        Ok(connections.admin.as_ref().unwrap())
    }

    async fn agent<'c>(&self, connections: &'c mut Connections) -> Result<&'c AgentClient, String> {
        if connections.agent.is_none() {
            let client = self.agent.grpc_at(&self.grpc).await.map_err(|e| e.to_string())?;
            connections.agent = Some(client);
        }
        Ok(connections.agent.as_ref().unwrap())
    }
}

const AGENT: &str = "spiffe://example.org/host/one";
const WORKLOAD: &str = "spiffe://example.org/workload";
const PACE: Duration = Duration::from_millis(15);
const PATIENCE: Duration = Duration::from_secs(5);
