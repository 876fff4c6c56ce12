//! All nodes are restarted one after the other while clients work that retry as any good client does: nobody notices.
//!
//! `SIGNET_ROLLING_ROUNDS` restarts all of them so many times; once by default.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use signet_api::client::{AdminClient, EntryResult};
use signet_api::service::{EntryFilter, NewX509Svid};
use signet_model::entry::EntryId;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::support::agent::{Agent, entry, exchange_form, request, txn_token};
use crate::support::cluster::Cluster;
use crate::support::users::{AUDIENCE, Users, policy};

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_fails_no_request_and_loses_no_write() {
    let mut cluster = Cluster::of_three().await;
    let clients = Clients::start(&cluster).await;

    for _ in 0..rounds() {
        restart_each(&mut cluster).await;
    }
    let Done { answered, acknowledged, retries } = clients.stop().await;
    cluster.settled(&[0, 1, 2]).await;
    for node in &cluster.nodes {
        let stored = node.admin().await.entries(&EntryFilter::default()).await.unwrap();
        let stored: BTreeSet<&str> = stored.iter().map(|entry| entry.id.as_str()).collect();
        let missing: Vec<_> = acknowledged.iter().filter(|id: &&EntryId| !stored.contains(id.as_str())).collect();
        assert!(missing.is_empty(), "node {} lacks {missing:?} of {}", node.id, acknowledged.len());
        assert_eq!(stored.len(), acknowledged.len() + 1, "node {} has entries that nobody was told of", node.id);
    }
    println!(
        "rolling restart: {answered} requests, 0 failed, {retries} retried; {} writes, 0 lost",
        acknowledged.len()
    );
}

/// Restarts every node in good order, one after the other.
pub(crate) async fn restart_each(cluster: &mut Cluster) {
    for position in 0..cluster.nodes.len() {
        cluster.nodes[position].signal(Signal::TERM);
        let ended = cluster.nodes[position].ended(Duration::from_secs(30)).await;
        assert_eq!(ended.code(), Some(0), "{}", cluster.nodes[position].log());
        cluster.nodes[position].start(None);
        // What any orchestrator waits for before it goes on to the next.
        cluster.nodes[position].ready().await;
    }
}

/// Clients that work until they are stopped, and retry as any good client does.
pub(crate) struct Clients {
    client: Arc<Client>,
    stop: Arc<AtomicBool>,
    workers: JoinSet<(u64, Vec<EntryId>)>,
    _renewing: JoinSet<()>,
    _users: Users,
}

/// What they did.
pub(crate) struct Done {
    pub(crate) answered: u64,
    pub(crate) acknowledged: Vec<EntryId>,
    pub(crate) retries: u64,
}

impl Clients {
    pub(crate) async fn start(cluster: &Cluster) -> Self {
        let users = Users::start().await;
        let admin = cluster.nodes[0].admin().await;
        admin.apply_policy(policy(&users.issuer, &users.jwks_uri(), AGENT), None).await.unwrap();
        let workload: EntryId = "workload".parse().unwrap();
        admin.create_entries(vec![(Some(workload), entry("spiffe://example.org/workload", AGENT))]).await.unwrap();
        let doors = cluster.nodes.iter().map(|node| (node.socket(), node.grpc.clone(), node.https.clone())).collect();
        let client = Arc::new(Client {
            agent: Mutex::new(Arc::new(Agent::minted(&cluster.nodes[0], AGENT).await)),
            token: users.token("alice", AUDIENCE, "orders.read"),
            doors,
            retries: AtomicU64::new(0),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for kind in [Kind::Write, Kind::Write, Kind::X509Svid, Kind::JwtSvid, Kind::Exchange] {
            workers.spawn(work(client.clone(), kind, workers.len(), stop.clone()));
        }

        let mut renewing = JoinSet::new();
        renewing.spawn(client.clone().renew(stop.clone()));
        Self { client, stop, workers, _renewing: renewing, _users: users }
    }

    /// None of them failed for good; what they did.
    pub(crate) async fn stop(mut self) -> Done {
        self.stop.store(true, Ordering::Relaxed);
        let (mut answered, mut acknowledged) = (0, Vec::new());
        while let Some(ended) = self.workers.join_next().await {
            let (count, ids) = ended.unwrap();
            assert!(count > 0, "a client did nothing");
            answered += count;
            acknowledged.extend(ids);
        }
        Done { answered, acknowledged, retries: self.client.retries.load(Ordering::Relaxed) }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Write,
    X509Svid,
    JwtSvid,
    Exchange,
}

/// Somebody who knows all nodes, begins with one, and goes on to the next when that does not answer.
struct Client {
    /// Renewed as often as a verifier looks for a new bundle.
    agent: Mutex<Arc<Agent>>,
    token: String,
    /// Admin socket, gRPC, HTTPS.
    doors: Vec<(std::path::PathBuf, String, String)>,
    retries: AtomicU64,
}

/// Asks until it is stopped; answers how many requests were answered, and which entries were made. A request that fails
/// for good ends the test.
async fn work(client: Arc<Client>, kind: Kind, number: usize, stop: Arc<AtomicBool>) -> (u64, Vec<EntryId>) {
    let (mut answered, mut made) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        answered += 1;
        let id: EntryId = format!("w{number}-{answered}").parse().unwrap();
        let (begun, mut at, mut last) = (Instant::now(), number, String::new());
        loop {
            assert!(begun.elapsed() < PATIENCE, "{kind:?} failed for good: {last}");
            match timeout(ATTEMPT, client.ask(kind, at % client.doors.len(), &id)).await {
                Ok(Ok(())) => break,
                Ok(Err(failure)) => last = failure,
                Err(_) => last = format!("no answer within {ATTEMPT:?}"),
            }
            client.retries.fetch_add(1, Ordering::Relaxed);
            at += 1;
            sleep(Duration::from_millis(20)).await;
        }
        if matches!(kind, Kind::Write) {
            made.push(id);
        }
        sleep(Duration::from_millis(10)).await;
    }
    (answered, made)
}

impl Client {
    fn agent(&self) -> Arc<Agent> {
        self.agent.lock().unwrap().clone()
    }

    async fn renew(self: Arc<Self>, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            sleep(RENEW).await;
            for (socket, ..) in &self.doors {
                if let Ok(agent) = Agent::minted_at(socket, AGENT, 0).await {
                    *self.agent.lock().unwrap() = Arc::new(agent);
                    break;
                }
            }
        }
    }

    async fn ask(&self, kind: Kind, at: usize, id: &EntryId) -> Result<(), String> {
        let (socket, grpc, https) = &self.doors[at];
        let text = |error: signet_api::client::ClientError| error.to_string();
        match kind {
            Kind::Write => {
                let admin = AdminClient::connect(socket).await.map_err(text)?.with_timeout(ATTEMPT);
                // The same key at every node: a reply that was lost does not make the retry a failure.
                let admin = admin.with_idempotency_key(id.as_str()).map_err(text)?;
                let spec = entry(&format!("spiffe://example.org/written/{id}"), AGENT);
                match admin.create_entries(vec![(Some(id.clone()), spec)]).await.map_err(text)?.as_slice() {
                    [EntryResult::Done(_)] => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            }
            Kind::X509Svid => {
                let wanted = NewX509Svid { entry: "workload".parse().unwrap(), csr: request(&[]).1 };
                let agent = self.agent().grpc_at(grpc).await.map_err(text)?;
                agent.new_x509_svids(vec![wanted]).await.map_err(text)?.remove(0).map(|_| ()).map_err(text)
            }
            Kind::JwtSvid => {
                let agent = self.agent().grpc_at(grpc).await.map_err(text)?;
                let entry = "workload".parse().unwrap();
                agent.new_jwt_svid(&entry, &["someone".to_owned()]).await.map(|_| ()).map_err(text)
            }
            Kind::Exchange => {
                let form = exchange_form(&self.token, "example.org", "orders.read");
                let answer = self.agent().https_at(https).exchange(&form).await.map_err(text)?;
                txn_token(&answer).map(|_| ())
            }
        }
    }
}

fn rounds() -> u32 {
    std::env::var("SIGNET_ROLLING_ROUNDS").map_or(1, |text| text.parse().unwrap())
}

const AGENT: &str = "spiffe://example.org/host/one";
/// A request that takes longer than this, retries included, has failed.
const PATIENCE: Duration = Duration::from_secs(15);
const RENEW: Duration = Duration::from_secs(1);
const ATTEMPT: Duration = Duration::from_secs(4);
