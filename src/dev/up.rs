//! `signet dev` itself: from the first line on the terminal to the last.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Up;
use super::establish::{Ids, establish, ready, say};
use super::folder::Folder;
use super::issuer::JWKS_PATH;
use super::plan::{NODES, Plan, Port};
use super::pointer::Pointer;
use super::process::Event;
use super::report::{DemoIssuerReport, NodeReport, Report, TokenReport};
use super::supervisor::{Processes, Supervisor};
use super::wait::until;
use super::{demo, welcome};
use crate::cli::Failure;

/// Runs a demo cluster until it is told to stop.
pub(super) async fn up(args: &Up) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let folder = Folder::open(args.data.as_deref())?;
    Report::remove(folder.path());
    let plan = choose_plan(&folder, args)?;
    // What ran here before may still be on its way out.
    until("the ports of this cluster are free", PORTS_FREE_WITHIN, || async { ports_are_free(&plan) }).await?;

    let (supervisor, events) = Supervisor::new()?;
    let mut cluster =
        Cluster { folder, plan, supervisor, events, processes: Processes::default(), ids: Ids::default() };
    let kept = args.data.is_some();
    let outcome = tokio::select! {
        failure = cluster.run(kept) => Err(failure),
        () = signals.next() => Ok(()),
        () = reader_gone() => Ok(()),
    };
    Report::remove(cluster.folder.path());
    say("stopping (Ctrl-C again to stop at once)");
    let Cluster { folder, supervisor, events, .. } = cluster;
    supervisor.stop(events, signals.next()).await;
    match (&outcome, kept) {
        (Ok(()), true) => {
            say(&format!("stopped; the cluster goes on with signet dev --data {}", folder.path().display()));
        }
        (Ok(()), false) => say("stopped; the data is removed"),
        (Err(_), _) => {}
    }
    outcome
}

/// Resolves when nobody reads what is printed any more, as in `signet dev | head`.
async fn reader_gone() {
    let stdout = std::io::stdout();
    loop {
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        // An end without a reader is an error on a pipe; a terminal and a file never show one.
        if poll(&mut watched, Some(&Timespec::default())).is_ok()
            && watched.iter().any(|it| it.revents().contains(PollFlags::ERR))
        {
            return;
        }
        sleep(READER_CHECK).await;
    }
}

struct Cluster {
    folder: Folder,
    plan: Plan,
    supervisor: Supervisor,
    events: mpsc::Receiver<Event>,
    processes: Processes,
    ids: Ids,
}

impl Cluster {
    /// Returns only when something went wrong.
    async fn run(&mut self, kept: bool) -> Failure {
        let _pointer = match self.start(kept).await {
            Ok(pointer) => pointer,
            Err(failure) => return failure,
        };
        self.watch().await
    }

    async fn start(&mut self, kept: bool) -> Result<Option<Pointer>, Failure> {
        say(&format!("trust domain {}, data in {}", self.plan.trust_domain, self.folder.path().display()));
        tokio::select! {
            established = establish(&self.folder, &mut self.plan, &mut self.supervisor) => self.ids = established?,
            failure = death(&mut self.events, &mut self.processes, &self.folder) => return Err(failure),
        }
        while let Ok(event) = self.events.try_recv() {
            if let Event::Started { node, pid } = event {
                self.processes.note(node, pid);
            }
        }
        let report = self.report().await?;
        let pointer = if kept { None } else { Some(Pointer::set(self.folder.path())?) };
        report.write(self.folder.path())?;
        say(&welcome::text(&self.folder, &self.plan, &report, kept));
        Ok(pointer)
    }

    /// Tells of nodes that come and go.
    async fn watch(&mut self) -> Failure {
        let mut probes = JoinSet::new();
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(Event::Died { node, pid, how }) => {
                        say(&format!("node {} (pid {pid}) died: {how}; restarting", self.ids.of(node)));
                    }
                    Some(Event::NotStarted { node, why }) => {
                        say(&format!("node {} cannot be started: {why}; trying again", self.ids.of(node)));
                    }
                    Some(Event::Started { node, pid }) => {
                        self.processes.note(node, pid);
                        probes.spawn(probe(self.plan.clone(), node, pid));
                    }
                    None => return Failure::new("internal", "nobody watches the nodes any more"),
                },
                Some(Ok((node, pid, state))) = probes.join_next() => self.back(node, pid, state).await,
            }
        }
    }

    /// A node that was started again is there for others to use, unless it has died in the meantime.
    async fn back(&mut self, node: usize, pid: u32, state: &str) {
        if self.processes.pid(node) != Some(pid) {
            return;
        }
        say(&format!("node {} is {state} (pid {pid})", self.ids.of(node)));
        if let Err(failure) = self.renew_report().await {
            failure.print();
        }
    }

    async fn renew_report(&mut self) -> Result<(), Failure> {
        self.report().await?.write(self.folder.path())
    }

    /// What scripts may rely on, with the next generation.
    async fn report(&mut self) -> Result<Report, Failure> {
        self.plan.generation += 1;
        self.folder.keep_plan(&self.plan)?;
        let issuer = self.plan.demo_issuer();
        Ok(Report {
            generation: self.plan.generation,
            trust_domain: self.plan.trust_domain.to_string(),
            bundle: self.folder.bundle(),
            token: TokenReport {
                issuer: self.plan.token_issuer(),
                audience: self.plan.trust_domain.to_string(),
                scopes: demo::SCOPES.map(str::to_owned).to_vec(),
            },
            demo_issuer: DemoIssuerReport { jwks_uri: format!("{issuer}{JWKS_PATH}"), issuer },
            nodes: NODES.into_iter().map(|node| self.node_report(node)).collect(),
        })
    }

    fn node_report(&self, node: usize) -> NodeReport {
        NodeReport {
            id: self.ids.of(node),
            pid: self.processes.pid(node).unwrap_or_default(),
            https: self.plan.https(node),
            grpc: self.plan.address(node, Port::Grpc).to_string(),
            admin_socket: self.folder.socket(node),
            admin_http: self.plan.address(node, Port::Admin).to_string(),
        }
    }
}

/// The failure of the first node that dies while the cluster is being made.
async fn death(events: &mut mpsc::Receiver<Event>, processes: &mut Processes, folder: &Folder) -> Failure {
    loop {
        match events.recv().await {
            Some(Event::Started { node, pid }) => processes.note(node, pid),
            Some(Event::Died { node, how, .. }) => {
                let message = format!(
                    "node {node} {how} before the cluster was ready; its log ends with:\n{}",
                    log_end(folder, node)
                );
                return Failure::new("node_failed", message);
            }
            Some(Event::NotStarted { node, why }) => {
                return Failure::new("node_failed", format!("server {node} cannot be started: {why}"));
            }
            None => return Failure::new("internal", "nobody watches the nodes any more"),
        }
    }
}

fn log_end(folder: &Folder, node: usize) -> String {
    let log = std::fs::read_to_string(folder.log(node)).unwrap_or_default();
    let mut lines: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
    lines.reverse();
    lines.join("\n")
}

/// How a node that was started again is doing.
async fn probe(plan: Plan, node: usize, pid: u32) -> (usize, u32, &'static str) {
    match until("the node is ready", RESTART_WITHIN, || ready(&plan, node)).await {
        Ok(()) => (node, pid, "ready again"),
        Err(_) => (node, pid, "running again, not yet ready"),
    }
}

fn choose_plan(folder: &Folder, args: &Up) -> Result<Plan, Failure> {
    let Some(plan) = folder.plan()? else {
        let trust_domain = match &args.trust_domain {
            Some(name) => name.clone(),
            None => DEFAULT_TRUST_DOMAIN.parse().map_err(|cause| Failure::usage(format!("--trust-domain: {cause}")))?,
        };
        demo::identity(&trust_domain, demo::GATEWAY)?;
        return Plan::new(trust_domain);
    };
    match &args.trust_domain {
        Some(name) if *name != plan.trust_domain => Err(Failure::usage(format!(
            "--trust-domain {name}: the cluster in {} is that of {}; leave the flag out, or take another folder",
            folder.path().display(),
            plan.trust_domain
        ))),
        Some(_) | None => Ok(plan),
    }
}

fn ports_are_free(plan: &Plan) -> Result<(), Failure> {
    let taken = plan.taken_ports();
    if taken.is_empty() {
        return Ok(());
    }
    let taken: Vec<String> = taken.iter().map(u16::to_string).collect();
    let message = format!("ports {} are taken; stop who listens there, or take another --data", taken.join(", "));
    Err(Failure::new("io", message))
}

/// The ways to be told to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|cause| Failure::new("io", format!("cannot listen for signals: {cause}")));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

const DEFAULT_TRUST_DOMAIN: &str = "dev.local";
const PORTS_FREE_WITHIN: Duration = Duration::from_secs(15);
/// A node that takes longer is told of as it is: it may be waiting for others that are down too.
const RESTART_WITHIN: Duration = Duration::from_secs(10);
const LOG_LINES: usize = 12;
/// How soon it is noticed that nobody reads any more.
const READER_CHECK: Duration = Duration::from_millis(500);
