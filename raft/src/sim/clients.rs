//! Clients that write, swap, take tokens and read on any node, and remember what they were told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use signet_model::rows::{Rows as _, Space};

use super::machine::Command;
use super::random::Random;
use super::world::World;
use crate::ProposeError;
use crate::node::Node;

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Do(Command),
    /// A linearizable read of a key.
    Read(String),
    /// A read of what the node has.
    Stale(String),
}

/// What it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Done {
        index: u64,
        at: u64,
        outcome: String,
    },
    Value {
        index: u64,
        time: u64,
        value: Option<String>,
    },
    /// It certainly did not happen.
    Refused(String),
    /// Nothing certain.
    Unknown,
}

/// One operation. Times are places in the order of everything.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) ask: Ask,
    pub(crate) begun: u64,
    pub(crate) ended: Option<(u64, Told)>,
}

pub(crate) type History = Arc<Mutex<Vec<Operation>>>;

/// The clients of one simulation.
pub(crate) struct Clients {
    pub(crate) history: History,
    clients: Vec<Client>,
    keys: Vec<String>,
    tokens: u64,
    /// What a swap may find: values that were written.
    values: Vec<String>,
}

#[derive(Clone, Copy, Default)]
struct Client {
    operation: Option<usize>,
    gives_up: u64,
    next: u64,
}

impl Clients {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            history: History::default(),
            clients: vec![Client::default(); count],
            keys: (0..4).map(|at| format!("k{at}")).collect(),
            tokens: 0,
            values: Vec::new(),
        }
    }

    /// Lets idle clients begin something on one of `nodes`.
    pub(crate) fn step(&mut self, world: &World, nodes: &[(usize, Node, tokio::runtime::Handle)]) {
        for at in 0..self.clients.len() {
            let now = world.now();
            let client = self.clients[at];
            if let Some(operation) = client.operation {
                let ended = self.history.lock().unwrap()[operation].ended.is_some();
                if !ended && now < client.gives_up {
                    continue;
                }
                // Whatever is not answered by now stays open for ever.
                self.clients[at].operation = None;
                self.clients[at].next = now + world.random(|random| random.between(1, 40));
                continue;
            }
            if now < client.next {
                continue;
            }
            let Some((node, handle, runtime)) = world.random(|random| random.pick(nodes).cloned()) else { continue };
            let id = self.history.lock().unwrap().len();
            let ask = world.random(|random| self.draw(random, id));
            world.trace(format_args!("client {at} op {id} n{node} {ask:?}"));
            let operation = Operation { ask: ask.clone(), begun: world.stamp(), ended: None };
            self.history.lock().unwrap().push(operation);
            self.clients[at] = Client { operation: Some(id), gives_up: now + 1000, next: 0 };
            runtime.spawn(carry_out(handle, ask, id, Arc::clone(&self.history)));
        }
    }

    fn draw(&mut self, random: &mut Random, id: usize) -> Ask {
        let key = random.pick(&self.keys).unwrap().clone();
        match random.below(100) {
            0..35 => {
                let value = format!("v{id}");
                self.values.push(value.clone());
                Ask::Do(Command::Write { key, value })
            }
            35..50 => {
                // Swaps have keys of their own, so that reads and writes alone tell about the others.
                let recent = self.values.iter().rev().take(3).cloned().chain(["-".to_owned()]).collect::<Vec<_>>();
                let old = random.pick(&recent).unwrap().clone();
                let new = format!("v{id}");
                self.values.push(new.clone());
                Ask::Do(Command::Swap { key: format!("c{}", random.below(2)), old, new })
            }
            50..60 => {
                if random.percent(50) {
                    self.tokens += 1;
                }
                Ask::Do(Command::Take { token: format!("t{}", self.tokens) })
            }
            60..90 => Ask::Read(key),
            _ => Ask::Stale(key),
        }
    }
}

async fn carry_out(node: Node, ask: Ask, id: usize, history: History) {
    let told = match ask {
        Ask::Do(command) => match node.propose(command.to_text(id as u64).into_bytes(), PATIENCE).await {
            Ok(applied) => Told::Done {
                index: applied.index,
                at: applied.at.millis(),
                outcome: String::from_utf8(applied.outcome).unwrap(),
            },
            Err(ProposeError::Unknown) => Told::Unknown,
            Err(error) => Told::Refused(error.to_string()),
        },
        Ask::Read(key) => match node.lease(PATIENCE).await {
            Ok(grant) => look(&node, &key, grant.cluster_time.millis()),
            Err(_) => Told::Unknown,
        },
        Ask::Stale(key) => look(&node, &key, 0),
    };
    let Some(world) = super::world::find() else { return };
    // A process that has ended itself answers nobody.
    if world.aborted.lock().unwrap().contains_key(&world.turn()) {
        return;
    }
    world.trace(format_args!("op {id} {told:?}"));
    history.lock().unwrap()[id].ended = Some((world.stamp(), told));
}

fn look(node: &Node, key: &str, time: u64) -> Told {
    let view = node.view();
    let value = view.row(Space::Meta, key.as_bytes()).map(|value| String::from_utf8(value).unwrap());
    Told::Value { index: view.index(), time: time.max(view.cluster_time().millis()), value }
}

const PATIENCE: Duration = Duration::from_millis(800);
