//! Opening a node: everything that can be wrong with a data directory is found before anything runs.

use std::fs::{DirBuilder, File, TryLockError};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::config::{NodeConfig, check_address};
use crate::durable;
use crate::error::OpenError;
use crate::identity::{Phase, Record, cluster_text};
use crate::log::LogStore;
use crate::machine::StateMachine;
use crate::member::Member;
use crate::node::Inner;
use crate::peer::{Directory, Listener, PeerKey, Stranger, Tls, for_members, for_newcomers};
use crate::recover;
use crate::state::StateStore;
use crate::threads::Threads;

/// Opens everything; raft does not run yet.
pub(crate) async fn open(config: NodeConfig, machine: Arc<dyn StateMachine>) -> Result<Inner, OpenError> {
    let data_dir = config.data_dir.clone();
    let file = |action, cause| OpenError::File { action, path: data_dir.clone(), cause };
    let threads = Threads::start().map_err(|cause| file("start threads for", cause))?;
    let opening = config.clone();
    let stores = threads.handle().spawn_blocking(move || Stores::open(&opening, machine));
    let stores = stores.await.map_err(|cause| OpenError::Raft(cause.to_string()))??;
    let listener = bind(&config)?;
    let bound = listener.local_addr().map_err(|cause| bind_error(config.peer_listen, cause))?;
    let address = advertise(&config, bound)?;
    durable::replace(&data_dir.join(PORT_FILE), bound.port().to_string().as_bytes())
        .map_err(|cause| file("write to", cause))?;
    let handle = threads.handle();
    let inner = stores.into_inner(config, address, threads);
    let serving = Serving {
        listener,
        tls: Arc::clone(&inner.tls),
        member: inner.member.subscribe(),
        directory: inner.directory.subscribe(),
        stop: inner.stop.clone(),
    };
    let served = handle.spawn(async move { serving.start() }).await;
    let served = served.map_err(|cause| OpenError::Raft(cause.to_string()))?;
    served.map_err(|cause| bind_error(bound, cause))?;
    Ok(inner)
}

/// Opens everything on the caller's runtime, with a simulation in the place of the peer listener.
#[cfg(test)]
pub(crate) fn open_simulated(
    config: NodeConfig,
    machine: Arc<dyn StateMachine>,
    address: String,
) -> Result<Inner, OpenError> {
    let stores = Stores::open(&config, machine)?;
    Ok(stores.into_inner(config, address, Threads::borrowed()))
}

/// What lies in a data directory.
struct Stores {
    lock: File,
    key: PeerKey,
    record: Option<Record>,
    log: LogStore,
    state: StateStore,
}

impl Stores {
    fn open(config: &NodeConfig, machine: Arc<dyn StateMachine>) -> Result<Self, OpenError> {
        let data_dir = &config.data_dir;
        let file = |action, cause| OpenError::File { action, path: data_dir.clone(), cause };
        // What lies in it is for this user only, whatever the umask says.
        DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(|cause| file("make", cause))?;
        let lock = lock(data_dir)?;
        if recover::is_interrupted(data_dir) {
            let detail =
                "a recovery was interrupted: run `signet recover apply` on this data directory again to finish it";
            return Err(OpenError::Damaged { path: data_dir.join(recover::MARKER), detail: detail.into() });
        }
        let record = Record::load(data_dir)?;
        if let Some(record) = record.as_ref().filter(|record| record.phase == Phase::Removed) {
            return Err(record.removed(data_dir));
        }
        if record.is_some() && !PeerKey::exists(data_dir) {
            let detail = "it is missing although this node is registered with it; restore it, or remove the node and join \
                          again with an empty data directory";
            return Err(OpenError::Damaged { path: data_dir.join("peer.key"), detail: detail.into() });
        }
        let key = PeerKey::open(data_dir)?;
        let log = LogStore::open_tuned(data_dir, &config.storage)?;
        let state = StateStore::open_tuned(data_dir, machine, &config.storage)?;
        log.follow(state.anchor());
        let stores = Self { lock, key, record, log, state };
        stores.check(data_dir)?;
        Ok(stores)
    }

    fn into_inner(self, config: NodeConfig, address: String, threads: Threads) -> Inner {
        Inner {
            address,
            tls: Arc::new(Tls::new(Arc::new(self.key))),
            log: Mutex::new(Some(self.log)),
            state: Arc::new(self.state),
            record: Mutex::new(self.record),
            member: watch::Sender::new(None),
            directory: watch::Sender::new(None),
            failed: watch::Sender::new(None),
            disk: Arc::default(),
            draining: watch::Sender::new(false),
            removed: watch::Sender::new(false),
            becoming: tokio::sync::Mutex::new(()),
            contact: recover::Contact::new(&config.data_dir),
            stop: CancellationToken::new(),
            threads: Mutex::new(Some(threads)),
            _lock: self.lock,
            config,
        }
    }

    /// Refuses parts that do not belong together.
    fn check(&self, data_dir: &Path) -> Result<(), OpenError> {
        let parts = [("log", self.log.cluster()), ("state", self.state.cluster())];
        let Some(record) = &self.record else {
            return match parts.into_iter().find_map(|(part, cluster)| Some((part, cluster?))) {
                Some((part, cluster)) => Err(OpenError::OtherCluster {
                    path: data_dir.to_owned(),
                    detail: format!(
                        "there is no identity, but the {part} is of cluster {}; restore the file `identity` or use an \
                         empty data directory",
                        cluster_text(&cluster)
                    ),
                }),
                None => Ok(()),
            };
        };
        for (part, cluster) in parts {
            match cluster {
                Some(cluster) if cluster != record.cluster => {
                    return Err(OpenError::OtherCluster {
                        path: data_dir.to_owned(),
                        detail: format!(
                            "the identity is of cluster {}, the {part} of cluster {}",
                            record.cluster_id(),
                            cluster_text(&cluster)
                        ),
                    });
                }
                Some(_) => {}
                // The process stopped between writing the record and marking the parts.
                None if record.phase != Phase::Member && self.log.is_empty() => match part {
                    "log" => self.log.set_cluster(&record.cluster),
                    _ => self.state.set_cluster(&record.cluster),
                },
                None => return Err(missing(&data_dir.join(part))),
            }
        }
        if record.pin != self.key.pin() {
            let detail = "it is not the key this node is registered with; restore the old one, or remove the node and join \
                          again with an empty data directory";
            return Err(OpenError::Damaged { path: data_dir.join("peer.key"), detail: detail.into() });
        }
        // A voter that starts with an empty log could vote twice, or let a founder found its cluster again.
        if record.phase == Phase::Member && (self.log.is_empty() || !self.log.has_voted()) {
            return Err(missing(&data_dir.join("log")));
        }
        if self.log.begin() > self.state.view().end() {
            return Err(missing(&data_dir.join("state")));
        }
        self.compare(data_dir)
    }

    /// Refuses a state that was not made of this log.
    fn compare(&self, data_dir: &Path) -> Result<(), OpenError> {
        let damaged = |detail: String| OpenError::Damaged { path: data_dir.to_owned(), detail };
        let Some(last) = self.state.position().last else { return Ok(()) };
        let here = self.log.chain_at(last.index).map_err(|cause| damaged(cause.to_string()))?;
        match (here, self.state.position().chain) {
            (Some(log), Some(state)) if log != state => {
                return Err(damaged(format!(
                    "log and state differ at entry {}: the log's hash is {log}, the state's {state}; remove the node from \
                     the cluster and let it join again with an empty data directory",
                    last.index
                )));
            }
            // A state that an older program wrote.
            (Some(log), None) => self.state.adopt_chain(log),
            _ => {}
        }
        Ok(())
    }
}

fn missing(path: &Path) -> OpenError {
    let detail = "what a member must have is missing from it; remove the node from the cluster and let it join again with \
                  an empty data directory";
    OpenError::Damaged { path: path.to_owned(), detail: detail.into() }
}

/// Keeps every other process out of `data_dir` for as long as the file lives.
pub(crate) fn lock(data_dir: &Path) -> Result<File, OpenError> {
    let path = data_dir.join("LOCK");
    let file = |cause| OpenError::File { action: "lock", path: path.clone(), cause };
    let lock = File::options().create(true).write(true).truncate(false).open(&path).map_err(file)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: data_dir.to_owned() }),
        Err(TryLockError::Error(cause)) => Err(file(cause)),
    }
}

/// Binds the peer port. For port 0 the port of the last time is tried first: the others know it.
fn bind(config: &NodeConfig) -> Result<TcpListener, OpenError> {
    let wanted = config.peer_listen;
    if wanted.port() == 0
        && let Ok(Some(last)) = durable::read(&config.data_dir.join(PORT_FILE))
        && let Some(port) = std::str::from_utf8(&last).ok().and_then(|port| port.parse().ok())
        && let Ok(listener) = TcpListener::bind(SocketAddr::new(wanted.ip(), port))
    {
        return Ok(listener);
    }
    TcpListener::bind(wanted).map_err(|cause| bind_error(wanted, cause))
}

fn bind_error(address: SocketAddr, cause: std::io::Error) -> OpenError {
    OpenError::Bind { address: address.to_string(), cause }
}

fn advertise(config: &NodeConfig, bound: SocketAddr) -> Result<String, OpenError> {
    match &config.peer_advertise {
        Some(address) => {
            check_address(address).map_err(|detail| OpenError::Advertise { detail })?;
            Ok(address.clone())
        }
        None if bound.ip().is_unspecified() => Err(OpenError::Advertise {
            detail: format!(
                "is missing, and `peer.listen` is {bound}: write the `host:port` by which peers reach this node"
            ),
        }),
        None => Ok(bound.to_string()),
    }
}

/// What the peer listener needs.
struct Serving {
    listener: TcpListener,
    tls: Arc<Tls>,
    member: watch::Receiver<Option<Arc<Member>>>,
    directory: watch::Receiver<Option<Arc<Directory>>>,
    stop: CancellationToken,
}

impl Serving {
    /// To be called on the raft runtime.
    fn start(self) -> std::io::Result<()> {
        let (listener, members, newcomers) = Listener::new(self.listener, &self.tls, self.directory.clone())?;
        let stop = self.stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(listener.run()).await });
        // A newcomer that was registered already, and asks again because the answer was lost, comes in as a member.
        let (peers, late) = (for_members(self.member.clone()), for_newcomers(self.member.clone()));
        let stop = self.stop.clone();
        tokio::spawn(async move {
            let server = tonic::transport::Server::builder()
                .initial_stream_window_size(4 << 20)
                .initial_connection_window_size(4 << 20)
                .max_frame_size(64 << 10)
                .http2_keepalive_interval(Some(Duration::from_secs(5)))
                .add_service(peers)
                .add_service(late);
            let incoming = ReceiverStream::new(members);
            report(server.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await);
        });
        let (stop, door, stranger) = (self.stop, for_newcomers(self.member), Stranger::new(self.directory));
        tokio::spawn(async move {
            let server = tonic::transport::Server::builder()
                .max_concurrent_streams(Some(4))
                .timeout(Duration::from_secs(30))
                .add_service(door)
                .add_service(stranger);
            let incoming = ReceiverStream::new(newcomers);
            report(server.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await);
        });
        Ok(())
    }
}

fn report(ended: Result<(), tonic::transport::Error>) {
    if let Err(cause) = ended {
        tracing::error!(%cause, "the peer listener ended");
    }
}

/// Where the last bound port is kept.
const PORT_FILE: &str = "peer.port";
