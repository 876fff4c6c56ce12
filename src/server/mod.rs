//! One node: reads its configuration, opens its stores, binds its doors, and drives requests through ledger and keys.

mod backends;
mod backups;
mod cluster;
mod config;
mod dice;
mod disk;
mod entries;
mod entry_cache;
mod establish;
mod exchange;
mod health;
mod identity;
mod issue;
mod issuer_keys;
mod journal;
mod keyring;
mod lease;
mod ledger;
mod lending;
mod live;
mod logging;
mod members;
mod memory;
mod metrics;
mod ops;
mod recipients;
mod reporting;
mod rotation;
mod service;
mod signing;
mod upkeep;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use signet_api::connections::Limits;
use signet_api::grpc::AdminSocket;
use signet_api::health::Health;
use signet_api::service::Service;
use signet_api::tls::Tls;
use signet_api::{admin_http, grpc, https};
use signet_raft::{Node, NodeConfig, Storage};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::backends::{Backends, Calls};
use self::backups::{Backups, Schedule};
use self::cluster::Cluster;
use self::config::LimitsConfig;
pub(crate) use self::config::{Config, DiskConfig};
pub(crate) use self::disk::{Ballast, DiskWatch};
use self::exchange::Exchange;
use self::health::NodeHealth;
use self::issue::Issuer;
use self::issuer_keys::IssuerKeys;
pub(crate) use self::journal::{carry_over, unreplicated};
use self::keyring::Keys;
use self::lease::Lease;
use self::lending::Lender;
use self::live::{LiveState, Machine};
use self::metrics::Metrics;
use self::ops::Started;
pub(crate) use self::ops::show_check;
use self::rotation::{Rotation, Waiting};
use self::service::NodeService;
use crate::clock;

/// Runs one node until SIGTERM or Ctrl-C, or until it fails.
///
/// # Errors
/// The configuration cannot be used, or the node failed. The text says what to do.
pub(crate) async fn run(config_file: &Path, join_token_file: Option<&Path>) -> anyhow::Result<()> {
    let config = Config::load(config_file)?;
    logging::start(&config.log);
    let server = Server::start(config, config_file).await?;
    server.serve(join_token_file).await
}

/// The meaning of commands, for work on a data directory whose node does not run.
pub(crate) fn machine() -> Arc<dyn signet_raft::StateMachine> {
    Arc::new(Machine(LiveState::new()))
}

struct Server {
    config: Config,
    node: Node,
    service: Arc<NodeService>,
    health: Arc<NodeHealth>,
    tls: Arc<Tls>,
    doors: Doors,
}

/// What is bound.
struct Doors {
    grpc: TcpListener,
    https: TcpListener,
    admin: AdminSocket,
    admin_http: TcpListener,
    /// Of the public ones.
    limits: Limits,
}

/// `DATA_DIR/addresses.json`: where this node is reached, for whoever started it with port 0.
#[derive(Debug, Serialize)]
struct Addresses {
    peer: String,
    grpc: SocketAddr,
    https: SocketAddr,
    admin_http: SocketAddr,
}

impl Server {
    /// Opens everything that can fail before anything is served.
    async fn start(config: Config, config_file: &Path) -> anyhow::Result<Self> {
        let backends = Backends::new(&config.keys, Calls::new());
        backends.first_look().await;
        let disk = Arc::new(DiskWatch::start(&config.data_dir, config.disk)?);
        let doors = Doors::bind(&config).await?;
        let live = LiveState::new();
        let timings = config.raft.timings.clone();
        let started = Arc::new(Started {
            config_file: config_file.to_owned(),
            data_dir: config.data_dir.clone(),
            disk: config.disk,
            timings: timings.clone(),
            health: std::sync::OnceLock::new(),
        });
        let keys = Keys::new(backends.clone());
        let node = NodeConfig {
            data_dir: config.data_dir.clone(),
            peer_listen: config.peer.listen,
            peer_advertise: config.peer.advertise.clone(),
            contacts: config.peer.contacts.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            storage: Storage::default(),
            timings,
            clock: Arc::new(clock::now),
            answers: Lender::new(&keys),
        };
        let node = Node::open(node, Arc::new(Machine(live.clone()))).await?;
        may_start(&node, &backends)?;
        doors.write_addresses(&config.data_dir, node.peer_address()).context("cannot write addresses.json")?;
        keys.borrow_from(node.clone());
        let lease = Arc::new(Lease::default());
        let issuer = Arc::new(Issuer::new(live.clone(), keys, lease, disk, config.keys.verify_every));
        let issuer_keys = IssuerKeys::new().context("cannot set up the client that fetches issuers' keys")?;
        let metrics = Arc::new(Metrics::new(doors.limits.total.clone(), &backends.calls));
        let schedule = config.backups.clone().map(|it| Schedule::new(it, &config.data_dir, metrics.clone()));
        let schedule = schedule.transpose().map_err(anyhow::Error::msg)?;
        let rotation = Arc::new(Rotation {
            node: node.clone(),
            live: live.clone(),
            backends: backends.clone(),
            waiting: Waiting::default(),
        });
        let service = Arc::new(NodeService {
            node: node.clone(),
            issuer: issuer.clone(),
            exchange: Exchange::new(issuer.clone(), issuer_keys),
            backups: Backups::new(node.clone(), live.clone(), schedule),
            cluster: Cluster {
                node: node.clone(),
                live,
                backends: backends.clone(),
                trust_domain: config.trust_domain.clone(),
                rotation: rotation.clone(),
            },
            rotation: rotation.clone(),
            metrics: metrics.clone(),
            started: started.clone(),
        });
        let tls = Tls::new(Arc::new(clock::now));
        let health = Arc::new(NodeHealth::new(node.clone(), issuer, metrics, tls.clone(), rotation));
        // Set once: this is the only place.
        let _ = started.health.set(health.clone());
        Ok(Self { config, node, service, health, tls, doors })
    }

    /// Serves until told to stop, then stops in good order.
    async fn serve(self, join_token_file: Option<&Path>) -> anyhow::Result<()> {
        let Self { config, node, service, health, tls, doors } = self;
        let (stop, stop_upkeep) = (CancellationToken::new(), CancellationToken::new());
        let (requests, upkeep) = (TaskTracker::new(), TaskTracker::new());
        doors.open(&requests, &node, &service, &health, &tls, &stop);
        upkeep::start(&upkeep, &config, &node, &service.issuer, &tls, &stop_upkeep);
        let (backups, until) = (service.clone(), stop_upkeep.clone());
        upkeep.spawn(async move { backups.backups.keep_schedule(until).await });
        upkeep.spawn(service.rotation.clone().lead(stop_upkeep.clone()));
        let backends = service.rotation.backends.clone();
        upkeep.spawn(backends::report(
            node.clone(),
            service.issuer.live.clone(),
            backends.clone(),
            stop_upkeep.clone(),
        ));
        upkeep.spawn(backends.keep(stop_upkeep.clone()));
        health.set_started();
        tracing::info!(version = env!("CARGO_PKG_VERSION"), data_dir = %config.data_dir.display(), peer = %node.peer_address(), "started");

        let mut failed = std::pin::pin!(node.failed());
        let mut removed = std::pin::pin!(node.removed());
        let mut told = std::pin::pin!(told_to_stop()?);
        let mut joining = std::pin::pin!(upkeep::join(&node, join_token_file));
        let mut joined = false;
        let result = loop {
            tokio::select! {
                () = &mut told => break Ok(()),
                () = &mut removed => break Err(node.removal().into()),
                cause = &mut failed => break Err(anyhow::anyhow!("the replicated state failed: {cause}")),
                result = &mut joining, if !joined => match result {
                    Ok(()) => joined = true,
                    Err(cause) => break Err(cause),
                },
            }
        };
        tracing::info!("stopping");
        // Leadership goes while requests are still being answered: they are forwarded to whoever has it then.
        node.drain();
        health.set_stopping();
        stop.cancel();
        requests.close();
        if tokio::time::timeout(DRAIN, requests.wait()).await.is_err() {
            tracing::warn!("cut off requests that did not end in time");
        }
        stop_upkeep.cancel();
        upkeep.close();
        if tokio::time::timeout(DRAIN, upkeep.wait()).await.is_err() {
            tracing::warn!("cut off upkeep that did not end in time");
        }
        node.shutdown(DRAIN).await;
        tracing::info!("stopped");
        result
    }
}

/// A member starts whatever its key backends do: it votes and replicates, and signs when one of them is back. A node that
/// belongs to no cluster yet can do nothing without one, and its operator is there to hear why.
fn may_start(node: &Node, backends: &Backends) -> anyhow::Result<()> {
    let Err(problem) = backends.any_usable() else { return Ok(()) };
    if node.identity().is_none() {
        anyhow::bail!("keys.backend: no key backend can be used: {problem}");
    }
    tracing::error!(
        "sealed: no key backend can be used, so this node votes and replicates, and does not sign: {problem}"
    );
    Ok(())
}

impl Doors {
    async fn bind(config: &Config) -> anyhow::Result<Self> {
        let bind = async |key: &str, address: SocketAddr| {
            TcpListener::bind(address).await.with_context(|| format!("{key}: cannot listen on {address}"))
        };
        let own_uid = rustix::process::geteuid().as_raw();
        let allowed = config.admin.allowed_uids.clone().unwrap_or_else(|| vec![own_uid]);
        Ok(Self {
            grpc: bind("grpc.listen", config.grpc.listen).await?,
            https: bind("https.listen", config.https.listen).await?,
            admin_http: bind("admin.http", config.admin.http).await?,
            admin: AdminSocket::bind(&config.admin.socket, allowed)?,
            limits: config.limits.public(),
        })
    }

    fn write_addresses(&self, data_dir: &Path, peer: String) -> anyhow::Result<()> {
        let addresses = Addresses {
            peer,
            grpc: self.grpc.local_addr()?,
            https: self.https.local_addr()?,
            admin_http: self.admin_http.local_addr()?,
        };
        let (path, new) = (data_dir.join("addresses.json"), data_dir.join("addresses.json.new"));
        std::fs::write(&new, serde_json::to_vec_pretty(&addresses)?)?;
        std::fs::rename(new, path)?;
        Ok(())
    }

    fn open(
        self,
        tasks: &TaskTracker,
        node: &Node,
        service: &Arc<NodeService>,
        health: &Arc<NodeHealth>,
        tls: &Arc<Tls>,
        stop: &CancellationToken,
    ) {
        let service: Arc<dyn Service> = service.clone();
        let health: Arc<dyn Health> = health.clone();
        let limits = Limits { drain: DRAIN / 2, ..self.limits };
        let admin_limits = Limits { drain: DRAIN / 2, ..LimitsConfig::admin() };
        let id = {
            let node = node.clone();
            Arc::new(move || node.identity().map_or(0, |identity| identity.node_id))
        };
        tasks.spawn(grpc::serve_tls(
            self.grpc,
            tls.clone(),
            service.clone(),
            health.clone(),
            limits.clone(),
            stop.clone(),
        ));
        tasks.spawn(grpc::serve_admin(
            self.admin,
            id,
            service.clone(),
            health.clone(),
            admin_limits.clone(),
            stop.clone(),
        ));
        tasks.spawn(https::serve(self.https, tls.clone(), service, limits, stop.clone()));
        let stop = stop.clone();
        tasks.spawn(async move {
            if let Err(cause) = admin_http::serve(self.admin_http, health, admin_limits, stop).await {
                tracing::error!(%cause, "health and metrics are not served");
            }
        });
    }
}

/// Resolves at SIGTERM or Ctrl-C.
fn told_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

const DRAIN: Duration = Duration::from_secs(10);
