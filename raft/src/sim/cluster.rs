//! One seed: a cluster forms, a storm of faults goes over it while clients work, and then it must heal.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use signet_model::caller::Caller;

use super::checks::Looked;
use super::clients::Clients;
use super::disk::Disk;
use super::faults::Fault;
use super::net::Weather;
use super::nodes::Machine;
use super::world::World;
use crate::membership::Change;
use crate::node::Node;

/// A cluster in a storm.
pub(crate) struct Cluster<'a> {
    world: &'a World,
    root: &'a Path,
    seed: u64,
    machines: Vec<Machine>,
    pub(crate) clients: Clients,
    /// What ends when.
    lifts: Vec<(u64, Lift)>,
    next_fault: u64,
    faults: u64,
    tokens: Arc<Mutex<Vec<String>>>,
}

/// The end of a fault.
enum Lift {
    Cut(usize, usize),
    Weather,
    Clock(usize),
    Disk(usize),
}

impl<'a> Cluster<'a> {
    pub(crate) fn new(world: &'a World, root: &'a Path, seed: u64) -> Self {
        Self {
            world,
            root,
            seed,
            machines: (0..MACHINES).map(|at| Machine::new(world, root, at)).collect(),
            clients: Clients::new(5),
            lifts: Vec::new(),
            next_fault: 0,
            faults: 0,
            tokens: Arc::default(),
        }
    }

    /// Lets everybody have one millisecond.
    fn step(&mut self) {
        self.world.net.lock().unwrap().deliver(self.world);
        for machine in &mut self.machines {
            if machine.start_at.is_some_and(|at| at <= self.world.now()) {
                if machine.is_up() {
                    // It was told to stop some time ago.
                    machine.kill(self.world, false);
                }
                machine.start(self.world);
            }
            machine.tick(self.world);
        }
        self.look();
        self.world.advance();
        for at in 0..self.machines.len() {
            if self.machines[at].is_up() && self.world.aborted.lock().unwrap().contains_key(&at) {
                let power_cut = self.world.random(|random| random.percent(20));
                self.down(at, power_cut);
            }
            let gone = self.machines[at].running.as_ref().is_some_and(|(node, _)| *node.inner.removed.borrow());
            if gone {
                self.world.trace(format_args!("n{at} was removed"));
                self.machines[at].kill(self.world, false);
                self.machines[at].replace(self.world, self.root);
                let later = self.world.random(|random| random.between(50, 500));
                self.machines[at].start_at = Some(self.world.now() + later);
            }
        }
    }

    fn look(&mut self) {
        let disks: BTreeMap<u64, Arc<Disk>> =
            self.machines.iter().filter_map(|it| Some((it.known_id()?, Arc::clone(&it.disk)))).collect();
        let mut checks = self.world.checks.lock().unwrap();
        for machine in &mut self.machines {
            let Some((node, log)) = &machine.running else { continue };
            if self.world.aborted.lock().unwrap().contains_key(&machine.at) {
                continue;
            }
            if !node.inner.stop.is_cancelled()
                && let Some(cause) = node.inner.failed.borrow().as_ref()
            {
                self.world.violated(format_args!("n{}: {cause}", machine.at));
            }
            let looked = Looked { at: machine.at, incarnation: machine.incarnation, node, log, disks: &disks };
            checks.look(self.world, &looked, &mut machine.seen);
        }
    }

    /// Runs until something holds, but no longer than `millis`.
    fn until(&mut self, what: &str, millis: u64, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.world.now() + millis;
        while self.world.violation().is_none() {
            if holds(self) {
                return true;
            }
            if self.world.now() >= end {
                self.world.violated(format_args!("in vain for {millis} ms: {what}"));
            }
            self.step();
        }
        false
    }

    /// Three nodes become a cluster.
    pub(crate) fn form(&mut self) -> bool {
        for at in 0..MACHINES {
            self.machines[at].start(self.world);
        }
        if !self.until("the nodes open", 5_000, |it| it.machines.iter().all(|machine| machine.running.is_some())) {
            return false;
        }
        self.on(0, |node| async move {
            let _ = node.init().await;
        });
        if !self.until("the founder leads", 10_000, |it| it.machines[0].is_settled()) {
            return false;
        }
        for at in 1..VOTERS {
            self.make_token(0);
            if !self.until("there is a join token", 10_000, |it| !it.tokens.lock().unwrap().is_empty()) {
                return false;
            }
            self.join(at, false);
            if !self.until("a newcomer votes", 20_000, |it| it.machines[at].is_settled()) {
                return false;
            }
        }
        true
    }

    /// Faults and clients for so long.
    pub(crate) fn storm(&mut self, millis: u64) {
        let end = self.world.now() + millis;
        self.next_fault = self.world.now() + 200;
        while self.world.now() < end && self.world.violation().is_none() {
            self.lift(false);
            if self.world.now() >= self.next_fault {
                let pause = self.world.random(|random| random.between(50, 700));
                self.next_fault = self.world.now() + pause;
                let (seed, nth) = (self.seed, self.faults);
                let fault = self.world.random(|random| Fault::draw(random, seed, nth));
                self.faults += 1;
                self.fire(fault);
            }
            self.serve();
            self.step();
        }
    }

    fn serve(&mut self) {
        let nodes: Vec<_> = self
            .machines
            .iter()
            .filter(|machine| machine.raft_id().is_some())
            .filter_map(|machine| {
                Some((machine.at, machine.running.as_ref()?.0.clone(), machine.runtime()?.handle().clone()))
            })
            .collect();
        self.clients.step(self.world, &nodes);
    }

    /// All faults end; then every member must serve again and all must agree.
    pub(crate) fn heal(&mut self) {
        self.lift(true);
        self.world.trace(format_args!("healing"));
        for machine in &mut self.machines {
            machine.paused_until = 0;
            machine.skew.store(0, Ordering::Relaxed);
            if !machine.is_up() {
                machine.start_at = Some(self.world.now());
            }
        }
        let served = Arc::new(Mutex::new(BTreeMap::new()));
        let began = self.world.now();
        let healed = self.until("after the storm every member serves", HEALING, |it| {
            it.serve();
            if (it.world.now() - began).is_multiple_of(200) {
                it.probe(&served);
            }
            let served = served.lock().unwrap();
            let members = it.members();
            !members.is_empty() && members.iter().all(|id| served.contains_key(id))
        });
        if !healed {
            return;
        }
        self.world.trace(format_args!("healed after {} ms", self.world.now() - began));
        // Nothing new: all must come to the same end.
        let mut quiet = 0;
        self.until("after the storm all agree", HEALING, |it| {
            let members = it.members();
            let ends: Vec<_> = it
                .machines
                .iter()
                .filter(|machine| machine.raft_id().is_some_and(|id| members.contains(&id)))
                .map(|machine| machine.running.as_ref().map(|(node, _)| node.inner.state.view().end()))
                .collect();
            let agree = ends.len() == members.len() && ends.iter().all(|end| end.is_some() && *end == ends[0]);
            quiet = if agree { quiet + 1 } else { 0 };
            quiet > 50
        });
        let mut checks = self.world.checks.lock().unwrap();
        for machine in &self.machines {
            if let Some((node, _)) = &machine.running {
                checks.same_state(self.world, machine.at, node);
            }
        }
    }

    /// The members as a leader sees them.
    fn members(&self) -> Vec<u64> {
        let leader =
            self.machines.iter().filter_map(|machine| machine.running.as_ref()?.0.member()).find_map(|member| {
                let metrics = member.raft.metrics();
                let metrics = metrics.borrow_watched();
                (metrics.current_leader == Some(member.id))
                    .then(|| metrics.membership_config.nodes().map(|(id, _)| *id).collect::<Vec<_>>())
            });
        leader.unwrap_or_default()
    }

    /// Every node writes and reads.
    fn probe(&self, served: &Arc<Mutex<BTreeMap<u64, ()>>>) {
        for machine in &self.machines {
            let (Some(id), served) = (machine.raft_id(), Arc::clone(served)) else { continue };
            self.on(machine.at, move |node| async move {
                let written = node.create_join_token(&caller(), TTL, PATIENCE).await;
                if written.is_ok() && node.barrier(PATIENCE).await.is_ok() {
                    served.lock().unwrap().insert(id, ());
                }
            });
        }
    }

    fn on<F: Future<Output = ()> + Send + 'static>(&self, at: usize, work: impl FnOnce(Node) -> F) {
        let machine = &self.machines[at];
        if let (Some((node, _)), Some(runtime)) = (&machine.running, machine.runtime()) {
            runtime.spawn(work(node.clone()));
        }
    }

    fn make_token(&self, at: usize) {
        let tokens = Arc::clone(&self.tokens);
        self.on(at, move |node| async move {
            if let Ok(token) = node.create_join_token(&caller(), TTL, PATIENCE).await {
                tokens.lock().unwrap().push(token.text.to_string());
            }
        });
    }

    /// Lets a node join with the oldest token; with `keep` the token stays, for another to try.
    fn join(&self, at: usize, keep: bool) {
        let token = {
            let mut tokens = self.tokens.lock().unwrap();
            if tokens.is_empty() {
                return;
            }
            if keep { tokens[0].clone() } else { tokens.remove(0) }
        };
        self.on(at, move |node| async move {
            come_in(at, &node, &token).await;
        });
    }

    fn down(&mut self, at: usize, power_cut: bool) {
        self.machines[at].kill(self.world, power_cut);
        let later = self.world.random(|random| random.between(50, 1500));
        self.machines[at].start_at = Some(self.world.now() + later);
    }

    /// Ends what has lasted long enough, or everything.
    fn lift(&mut self, all: bool) {
        let now = self.world.now();
        let (over, on): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.lifts).into_iter().partition(|(until, _)| all || *until <= now);
        self.lifts = on;
        let any = !over.is_empty();
        for (_, lift) in over {
            match lift {
                Lift::Cut(from, to) => {
                    self.world.net.lock().unwrap().cuts.remove(&(from, to));
                }
                Lift::Weather => self.world.net.lock().unwrap().weather = Weather::default(),
                Lift::Clock(at) => self.machines[at].skew.store(0, Ordering::Relaxed),
                Lift::Disk(at) => {
                    self.machines[at].disk.set_faults(|faults| *faults = super::disk::DiskFaults::default())
                }
            }
        }
        if any || now.is_multiple_of(20) {
            self.world.random(|random| self.world.net.lock().unwrap().release(now, random));
        }
    }

    fn fire(&mut self, fault: Fault) {
        let now = self.world.now();
        let up: Vec<usize> = self.machines.iter().filter(|it| it.raft_id().is_some()).map(|it| it.at).collect();
        let (Some(at), until) =
            self.world.random(|random| (random.pick(&up).copied(), now + random.between(100, 1500)))
        else {
            return;
        };
        if !self.fire_at(fault, at, until, &up) {
            return;
        }
        self.world.trace(format_args!("at n{at}"));
        self.world.fired(fault.name());
    }

    fn fire_at(&mut self, fault: Fault, at: usize, until: u64, up: &[usize]) -> bool {
        let now = self.world.now();
        match fault {
            Fault::Kill => self.down(at, false),
            Fault::PowerCut => self.down(at, true),
            Fault::PowerCutOfAll => up.iter().for_each(|at| self.down(*at, true)),
            Fault::Pause => self.machines[at].paused_until = until,
            Fault::OneWayCut | Fault::Isolation => self.cut(fault, at, until),
            Fault::Loss | Fault::Delay => {
                let weather = self.world.random(|random| {
                    if fault == Fault::Loss {
                        Weather { loss: random.between(2, 30), ..Weather::default() }
                    } else {
                        Weather { latency: random.between(1, 60), jitter: random.between(1, 60), loss: 0 }
                    }
                });
                self.world.net.lock().unwrap().weather = weather;
                self.lifts.push((until, Lift::Weather));
            }
            Fault::StalledStream => {
                return self.world.random(|random| self.world.net.lock().unwrap().stall(now, random));
            }
            Fault::ClockSkew => {
                let skew = self.world.random(|random| random.between(0, 20_000)).cast_signed() - 10_000;
                self.machines[at].skew.store(skew, Ordering::Relaxed);
                self.lifts.push((until + 2_000, Lift::Clock(at)));
            }
            Fault::DiskFull => {
                self.machines[at].disk.set_faults(|faults| faults.full = true);
                self.lifts.push((until, Lift::Disk(at)));
            }
            Fault::FsyncError => self.machines[at].disk.set_faults(|faults| faults.next_sync_fails = true),
            Fault::SlowDisk => {
                let slow = self.world.random(|random| random.between(5, 400));
                self.machines[at].disk.set_faults(|faults| faults.slow = slow);
                self.lifts.push((until, Lift::Disk(at)));
            }
            Fault::Restart => {
                let restart = self.world.random(|random| random.between(200, 800));
                self.machines[at].start_at = Some(now + restart);
                self.on(at, |node| async move { node.shutdown(Duration::from_millis(500)).await });
            }
            Fault::Transfer => self.on(at, |node| async move {
                let _ = node.transfer_leadership(None, PATIENCE).await;
            }),
            Fault::Join => return self.newcomer(at),
            Fault::Remove | Fault::Demote | Fault::Promote => return self.change(fault, at),
            Fault::Snapshot => self.on(at, |node| async move {
                if let Some(member) = node.member() {
                    member.state.settle();
                    let _ = member.raft.trigger().snapshot().await;
                }
            }),
        }
        true
    }

    fn cut(&mut self, fault: Fault, at: usize, until: u64) {
        let inbound = self.world.random(|random| random.percent(50));
        let others: Vec<usize> = (0..MACHINES).filter(|other| *other != at).collect();
        // The one-way cut is either one link or all that comes in.
        let all = fault == Fault::Isolation || self.world.random(|random| random.percent(50));
        let one = self.world.random(|random| random.pick(&others).copied());
        for other in others.into_iter().filter(|other| all || Some(*other) == one) {
            let both = fault == Fault::Isolation;
            for link in [(at, other), (other, at)] {
                if both || (link.1 == at) == inbound {
                    self.world.net.lock().unwrap().cuts.insert(link);
                    self.lifts.push((until, Lift::Cut(link.0, link.1)));
                }
            }
        }
    }

    /// A node joins, now and then two with one token.
    fn newcomer(&mut self, at: usize) -> bool {
        let spare: Vec<usize> =
            self.machines.iter().filter(|it| it.running.is_some() && it.raft_id().is_none()).map(|it| it.at).collect();
        if self.tokens.lock().unwrap().is_empty() {
            self.make_token(at);
            self.next_fault = self.next_fault.min(self.world.now() + 100);
            if spare.is_empty() {
                return false;
            }
            // It joins as soon as there is a token.
            for other in spare {
                let tokens = Arc::clone(&self.tokens);
                self.on(other, move |node| async move {
                    for _ in 0..100 {
                        let token = tokens.lock().unwrap().first().cloned();
                        if let Some(token) = token {
                            come_in(other, &node, &token).await;
                            tokens.lock().unwrap().retain(|known| *known != token);
                            return;
                        }
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                });
            }
            return true;
        }
        let Some(first) = spare.first() else { return false };
        let both = spare.len() > 1 && self.world.random(|random| random.percent(50));
        self.join(*first, both);
        if both {
            self.join(spare[1], false);
        }
        true
    }

    fn change(&mut self, fault: Fault, at: usize) -> bool {
        let ids: Vec<u64> = self.machines.iter().filter_map(Machine::raft_id).collect();
        if fault == Fault::Remove && self.members().len() <= VOTERS {
            // Somebody must come before somebody can go.
            let _ = self.newcomer(at);
            return false;
        }
        let Some(id) = self.world.random(|random| random.pick(&ids).copied()) else { return false };
        let force = self.world.random(|random| random.percent(30));
        self.on(at, move |node| async move {
            let change = Change { force, ..Change::default() };
            let changed = if fault == Fault::Remove {
                node.remove(id, change, PATIENCE).await
            } else if fault == Fault::Demote {
                node.demote(id, change, PATIENCE).await
            } else {
                node.promote(id, change, PATIENCE).await
            };
            if let Some(world) = super::world::find() {
                world.trace(format_args!("{} {id}: {changed:?}", fault.name()));
            }
        });
        true
    }
}

impl Machine {
    /// Whether it votes.
    fn is_settled(&self) -> bool {
        self.running.as_ref().and_then(|(node, _)| node.member()).is_some_and(|member| member.settled_voter())
    }
}

async fn come_in(at: usize, node: &Node, token: &str) {
    let joined = node.join(token).await.map_err(|cause| cause.to_string());
    let Some(world) = super::world::find() else { return };
    world.trace(format_args!("n{at} joined: {}", joined.is_ok()));
    if let Some(identity) = node.identity() {
        world.checks.lock().unwrap().joined(&world, token, identity.node_id);
    }
}

fn caller() -> Caller {
    Caller::Local { node: 1, uid: 0, pid: 1 }
}

const MACHINES: usize = 5;
const VOTERS: usize = 3;
const PATIENCE: Duration = Duration::from_millis(2_000);
const TTL: Duration = Duration::from_secs(60);
/// So long a cluster may take after the storm.
const HEALING: u64 = 30_000;
