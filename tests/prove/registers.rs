//! Clients that read and write a few entries at random, at nodes chosen at random, and write down what they were told.
//! An entry is a register: its hint is the value, its revision counts the writes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use signet_api::client::{AdminClient, ClientError, Entry, EntryResult};
use signet_model::command::{EntryChange, EntryFields};
use signet_model::entry::{EntryId, EntrySpec};
use signet_model::refusal::Reason;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::around::{TIMEOUT, is_passing, was_not_done};
use crate::dice::Dice;
use crate::history::{History, Kind, Operation};
use crate::support::agent::entry;
use crate::support::cluster::Cluster;

/// The clients of one round.
pub(crate) struct Registers {
    pub(crate) history: Arc<History>,
    failures: Arc<Failures>,
    keys: Arc<Vec<EntryId>>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

/// Requests that were not answered as asked, by code.
#[derive(Debug, Default)]
struct Failures {
    counts: Mutex<BTreeMap<String, u64>>,
    /// What no client should ever be told.
    surprises: Mutex<Vec<String>>,
}

impl Registers {
    /// Starts the clients of the round `name` on keys of its own.
    pub(crate) fn start(cluster: &Cluster, name: &str, seed: u64) -> Self {
        let history = Arc::new(History::new(name));
        let keys: Arc<Vec<EntryId>> =
            Arc::new((1..=KEYS).map(|number| format!("{name}-{number}").parse().unwrap()).collect());
        let (failures, stop) = (Arc::<Failures>::default(), Arc::<AtomicBool>::default());
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let client = Client {
                number,
                dice: Dice::of(seed, number as u64),
                sockets: cluster.nodes.iter().map(|node| node.socket()).collect(),
                at: number,
                connection: None,
                keys: Arc::clone(&keys),
                history: Arc::clone(&history),
                failures: Arc::clone(&failures),
                values: 0,
            };
            clients.spawn(client.run(Arc::clone(&stop)));
        }
        Self { history, failures, keys, stop, clients }
    }

    /// Stops the clients, reads every key once at every node, and answers the history.
    pub(crate) async fn stop(mut self, cluster: &Cluster) -> (Arc<History>, BTreeMap<String, u64>) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        for (position, node) in cluster.nodes.iter().enumerate() {
            let admin = node.admin().await;
            for key in self.keys.iter() {
                let mut operation = self.history.begin(CLIENTS + position, key.as_str(), Kind::Read, String::new());
                operation.read(admin.entry(key).await).unwrap();
                self.history.answered(operation);
            }
        }
        let surprises = std::mem::take(&mut *self.failures.surprises.lock().unwrap());
        assert!(surprises.is_empty(), "no client should be told this, whatever fails: {surprises:#?}");
        let counts = self.failures.counts.lock().unwrap().clone();
        (self.history, counts)
    }
}

struct Client {
    number: usize,
    dice: Dice,
    sockets: Vec<PathBuf>,
    at: usize,
    connection: Option<AdminClient>,
    keys: Arc<Vec<EntryId>>,
    history: Arc<History>,
    failures: Arc<Failures>,
    values: u64,
}

impl Client {
    async fn run(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            if let Err(failure) = self.step().await {
                *self.failures.counts.lock().unwrap().entry(failure.code.clone()).or_default() += 1;
                if !is_passing(&failure.code) {
                    self.failures.surprises.lock().unwrap().push(format!("{}: {}", failure.code, failure.message));
                }
                self.connection = None;
                self.at += 1;
            } else if self.dice.below(STAYS) == 0 {
                self.connection = None;
                self.at = usize::try_from(self.dice.below(self.sockets.len() as u64)).unwrap();
            }
            sleep(PACE).await;
        }
    }

    /// One operation, written down.
    async fn step(&mut self) -> Result<(), ClientError> {
        let admin = self.connect().await?;
        let key = self.dice.pick(&self.keys).clone();
        let kind = match self.dice.below(100) {
            0..50 => Kind::Read,
            50..85 => Kind::Write,
            85..96 => Kind::Create,
            _ => Kind::Delete,
        };
        self.values += 1;
        let value = match kind {
            Kind::Write | Kind::Create => format!("{}-{}", self.number, self.values),
            Kind::Read | Kind::Delete | Kind::Replace => String::new(),
        };
        let mut operation = self.history.begin(self.number, key.as_str(), kind, value);
        let asked = timeout(PATIENCE * 2, operation.ask(&admin, &key)).await;
        let slow = || Err(ClientError { code: TIMEOUT.to_owned(), message: "no answer".to_owned() });
        match asked.unwrap_or_else(|_| slow()) {
            Ok(()) => {
                self.history.answered(operation);
                Ok(())
            }
            Err(failure) => {
                if !was_not_done(&failure.code) {
                    self.history.unanswered(operation);
                }
                Err(failure)
            }
        }
    }

    async fn connect(&mut self) -> Result<AdminClient, ClientError> {
        if let Some(admin) = &self.connection {
            return Ok(admin.clone());
        }
        let socket = &self.sockets[self.at % self.sockets.len()];
        // A stopped process accepts no connection, and refuses none.
        let connected = timeout(PATIENCE, AdminClient::connect(socket)).await;
        let slow = || Err(ClientError { code: TIMEOUT.to_owned(), message: "no connection".to_owned() });
        let admin = connected.unwrap_or_else(|_| slow())?.with_timeout(PATIENCE);
        Ok(self.connection.insert(admin).clone())
    }
}

impl Operation {
    /// Asks for it, and takes down the answer.
    async fn ask(&mut self, admin: &AdminClient, key: &EntryId) -> Result<(), ClientError> {
        let spec = || EntrySpec { hint: self.value.clone(), ..entry(&format!("spiffe://example.org/{key}"), PARENT) };
        let mut results = match self.kind {
            Kind::Read => return self.read(admin.entry(key).await),
            Kind::Write => {
                let change = EntryChange { id: key.clone(), spec: spec(), fields: EntryFields::ALL };
                admin.update_entries(vec![change]).await?
            }
            Kind::Create => admin.create_entries(vec![(Some(key.clone()), spec())]).await?,
            Kind::Delete => admin.delete_entries(vec![key.clone()]).await?,
            Kind::Replace => panic!("an entry cannot be replaced on condition"),
        };
        let gone = Reason::NotFound.code();
        match (self.kind, results.pop()) {
            (Kind::Write | Kind::Create, Some(EntryResult::Done(entry))) => {
                assert_eq!(entry.spec.hint, self.value, "the answer to another write");
                (self.found, self.revision) = (true, entry.revision);
            }
            (Kind::Delete, Some(EntryResult::Deleted(_))) => self.found = true,
            (Kind::Write | Kind::Delete, Some(EntryResult::Refused(refused))) if refused.code == gone => {}
            (Kind::Create, Some(EntryResult::Similar(_))) => {}
            (_, Some(EntryResult::Refused(refused))) => return Err(refused),
            (kind, other) => panic!("the answer to {kind:?}: {other:?}"),
        }
        Ok(())
    }

    fn read(&mut self, answer: Result<Entry, ClientError>) -> Result<(), ClientError> {
        match answer {
            Ok(entry) => (self.found, self.seen, self.revision) = (true, entry.spec.hint, entry.revision),
            Err(absent) if absent.code == Reason::NotFound.code() => {}
            Err(failure) => return Err(failure),
        }
        Ok(())
    }
}

const KEYS: usize = 12;
const CLIENTS: usize = 10;
/// A client changes its node after this many operations, on average.
const STAYS: u64 = 40;
const PARENT: &str = "spiffe://example.org/host/one";
/// A bounded rate: the machine belongs to the servers.
const PACE: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_millis(1000);
