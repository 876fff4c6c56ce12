//! The handle that the other rooms hold.

mod operate;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use signet_model::caller::Caller;
use signet_model::stored::{from_bytes, to_bytes};
use signet_model::time::UnixTime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::backup::{self, Maker, SaveError, SavedSnapshot};
use crate::config::NodeConfig;
use crate::disk::Disk;
use crate::error::{BarrierError, InitError, JoinError, OpenError, ProposeError};
use crate::identity::{Phase, Record, cluster_text};
use crate::log::LogStore;
use crate::machine::StateMachine;
use crate::member::{AskError, Chores, Member, Parts, Policy, keep};
use crate::open;
use crate::peer::{Directory, Tls, Vouched};
use crate::recover::Contact;
use crate::state::StateStore;
use crate::status::{ClusterHash, ClusterStatus, LocalStatus, Role};
use crate::threads::Threads;
use crate::token::{JoinToken, Secret};
use crate::types::{Order, OrderOutcome, PeerNode};
use crate::view::View;

/// Which node of which cluster this is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The cluster, 32 hexadecimal digits.
    pub cluster_id: String,
    /// The node; never reused in that cluster.
    pub node_id: u64,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its place in the log.
    pub index: u64,
    /// Cluster time at which it was applied.
    pub at: UnixTime,
    /// What the state machine said.
    pub outcome: Vec<u8>,
}

/// A new join token. `Debug` leaves the text out: it holds a secret.
#[derive(Clone)]
pub struct NewJoinToken {
    /// What the newcomer needs. Secret.
    pub text: zeroize::Zeroizing<String>,
    /// When it expires, in cluster time.
    pub expires_at: UnixTime,
}

impl fmt::Debug for NewJoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewJoinToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// The leader's word that this node is in touch with a quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseGrant {
    /// Local state has applied at least this index.
    pub index: u64,
    /// The leader's cluster time when a quorum had confirmed it: its clock, never behind applied time stamps.
    pub cluster_time: UnixTime,
}

/// A handle to this process's node. Clones are the same node.
#[derive(Clone)]
pub struct Node {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: NodeConfig,
    pub(crate) address: String,
    pub(crate) tls: Arc<Tls>,
    // Handed to raft when it starts; afterwards raft alone has the log.
    pub(crate) log: Mutex<Option<LogStore>>,
    pub(crate) state: Arc<StateStore>,
    pub(crate) record: Mutex<Option<Record>>,
    pub(crate) member: watch::Sender<Option<Arc<Member>>>,
    pub(crate) directory: watch::Sender<Option<Arc<Directory>>>,
    pub(crate) failed: watch::Sender<Option<String>>,
    pub(crate) disk: Arc<Disk>,
    /// Whether this node is to give up leadership.
    pub(crate) draining: watch::Sender<bool>,
    /// Whether this node has learnt that it was removed.
    pub(crate) removed: watch::Sender<bool>,
    /// One attempt to become a member at a time.
    pub(crate) becoming: tokio::sync::Mutex<()>,
    /// When a quorum last confirmed that this node was not behind.
    pub(crate) contact: Arc<Contact>,
    pub(crate) stop: CancellationToken,
    /// Raft has threads of its own, so that no load of the other rooms can starve it.
    pub(crate) threads: Mutex<Option<Threads>>,
    pub(crate) _lock: std::fs::File,
}

impl Node {
    /// Opens the stores and binds the peer port. A member starts raft; a newcomer waits for [`init`](Self::init) or
    /// [`join`](Self::join).
    ///
    /// # Errors
    /// See [`OpenError`]; nothing was changed.
    pub async fn open(config: NodeConfig, machine: Arc<dyn StateMachine>) -> Result<Self, OpenError> {
        let inner = Arc::new(open::open(config, machine).await?);
        let node = Self { inner };
        node.resume().await?;
        Ok(node)
    }

    /// Starts raft if this node belongs to a cluster.
    pub(crate) async fn resume(&self) -> Result<(), OpenError> {
        let record = self.inner.record.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match record {
            Some(record) => self.start(record).await.map_err(OpenError::Raft),
            None => Ok(()),
        }
    }

    /// Which node this is; `None` while it belongs to no cluster.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        let record = self.inner.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.as_ref().map(|record| Identity { cluster_id: record.cluster_id(), node_id: record.node })
    }

    /// The `host:port` by which peers reach this node.
    #[must_use]
    pub fn peer_address(&self) -> String {
        self.inner.address.clone()
    }

    /// Makes a new cluster with this node as its only member, and returns when it leads.
    ///
    /// # Errors
    /// [`InitError::AlreadyMember`] and [`InitError::Joining`]: nothing was changed.
    pub async fn init(&self) -> Result<Identity, InitError> {
        let _one = self.inner.becoming.lock().await;
        if let Some(record) = self.inner.record.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            let cluster_id = record.cluster_id();
            let voter = self.member().is_some_and(|member| member.settled_voter());
            return Err(match record.phase {
                Phase::Joining if !voter => InitError::Joining { cluster_id },
                Phase::Joining | Phase::Founding | Phase::Member | Phase::Removed => {
                    InitError::AlreadyMember { cluster_id, node_id: record.node }
                }
            });
        }
        let failed = |cause: &dyn fmt::Display| InitError::Failed(cause.to_string());
        let mut cluster = [0; 16];
        aws_lc_rs::rand::fill(&mut cluster).map_err(|cause| failed(&cause))?;
        let record = Record {
            cluster,
            node: FOUNDER,
            pin: self.inner.tls.pin(),
            phase: Phase::Founding,
            told: vec![(FOUNDER, self.as_peer())],
            told_end: 0,
        };
        self.become_member(record).await.map_err(|cause| failed(&cause))?;
        let member = self.member().ok_or_else(|| failed(&"the node is stopping"))?;
        member.barrier(INIT_TIMEOUT).await.map_err(|cause| failed(&cause))?;
        self.begin_with_what_is_known(INIT_TIMEOUT).await.map_err(|cause| failed(&cause))?;
        self.identity().ok_or_else(|| failed(&"the node is stopping"))
    }

    /// Makes a single-use token with which one newcomer may join within `ttl`.
    ///
    /// # Errors
    /// As [`propose`](Self::propose).
    pub async fn create_join_token(
        &self,
        caller: &Caller,
        ttl: Duration,
        timeout: Duration,
    ) -> Result<NewJoinToken, ProposeError> {
        let member = self.member().ok_or(ProposeError::NotMember)?;
        let secret = Secret::random().map_err(|_| ProposeError::Unknown)?;
        let ttl_millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let verifier = secret.verifier().map_err(|_| ProposeError::Unknown)?;
        let (hash, member_key) = (secret.id(), secret.member_key());
        let order = Order::CreateJoinToken { hash, ttl_millis, caller: to_bytes(caller), verifier, member_key };
        let placed = member.propose(order, timeout).await?;
        let Ok(OrderOutcome::TokenCreated { expires_at }) = from_bytes(&placed.outcome.body) else {
            return Err(ProposeError::Unknown);
        };
        let members = member.directory.roster().values().cloned().collect();
        let cluster = member.cluster().as_ref().try_into().map_err(|_| ProposeError::Unknown)?;
        let text = JoinToken { cluster, members, secret, expires_at }.to_text();
        Ok(NewJoinToken { text, expires_at })
    }

    /// Joins the cluster that made the token and returns when this node votes. After an interruption the same call goes
    /// on where it stopped; so does a restart by itself once the node is registered.
    ///
    /// # Errors
    /// See [`JoinError`]; each says what to do.
    pub async fn join(&self, token_text: &str) -> Result<Identity, JoinError> {
        crate::join::join(self, token_text).await
    }

    /// Proposes a command, here or through the leader, and returns when local state has applied it.
    ///
    /// # Errors
    /// [`ProposeError::Unknown`]: the command may or may not take effect; every other error: it does not.
    pub async fn propose(&self, command: Vec<u8>, timeout: Duration) -> Result<Applied, ProposeError> {
        if command.len() > COMMAND_BYTES {
            return Err(ProposeError::TooLarge { size: command.len(), limit: COMMAND_BYTES });
        }
        let member = self.member().ok_or_else(|| self.no_member())?;
        let placed = member.propose(Order::Application(Bytes::from(command)), timeout).await?;
        Ok(Applied { index: placed.index, at: placed.outcome.at, outcome: placed.outcome.body.into() })
    }

    /// Returns, with the index, when local state covers every write that anyone was told of before the call.
    ///
    /// # Errors
    /// No leader with a quorum, or this node lags; retry.
    pub async fn barrier(&self, timeout: Duration) -> Result<u64, BarrierError> {
        Ok(self.lease(timeout).await?.index)
    }

    /// Asks the member `node` what only the rooms above understand; its [`Answers`] answer.
    ///
    /// # Errors
    /// See [`AskError`]; another member may be asked.
    pub async fn ask(&self, node: u64, question: Bytes, timeout: Duration) -> Result<Bytes, AskError> {
        self.member().ok_or(AskError::NotMember)?.ask(node, question, timeout).await
    }

    /// The other voters that are connected, the leader first: whom to [`ask`](Self::ask).
    #[must_use]
    pub fn others(&self) -> Vec<u64> {
        self.member().map(|member| member.others()).unwrap_or_default()
    }

    /// Saves a snapshot of the state that covers every write which anyone was told of before the call: one file, as a
    /// stream. `label` is what the operator knows the cluster by.
    ///
    /// # Errors
    /// No leader with a quorum, or the state cannot be copied; retry, here or at another node.
    pub async fn save_snapshot(&self, label: &str, timeout: Duration) -> Result<SavedSnapshot, SaveError> {
        self.barrier(timeout).await?;
        let member = self.member().ok_or(BarrierError::NotMember)?;
        let maker = Maker {
            node: member.id,
            program: self.inner.config.version.clone(),
            label: label.to_owned(),
            made_at: (self.inner.config.clock)(),
        };
        let state = Arc::clone(&self.inner.state);
        let saved = tokio::task::spawn_blocking(move || backup::save(&state, maker)).await;
        saved.map_err(|_| BarrierError::ShuttingDown)?.map_err(SaveError::Checkpoint)
    }

    /// One consistent view of local state, as fresh as this node is.
    #[must_use]
    pub fn view(&self) -> View {
        View::new(self.inner.state.view())
    }

    /// Asks the leader to confirm with a quorum that it leads, and waits until local state has reached its index.
    ///
    /// # Errors
    /// As [`barrier`](Self::barrier).
    pub async fn lease(&self, timeout: Duration) -> Result<LeaseGrant, BarrierError> {
        if self.inner.stop.is_cancelled() {
            return Err(BarrierError::ShuttingDown);
        }
        let member = self.member().ok_or(BarrierError::NotMember)?;
        let point = member.barrier(timeout).await?;
        self.inner.contact.note(point.time, point.index);
        Ok(LeaseGrant { index: point.index, cluster_time: point.time })
    }

    /// What this node knows without asking anybody.
    #[must_use]
    pub fn local_status(&self) -> LocalStatus {
        match self.member() {
            Some(member) => member.status(),
            None => LocalStatus {
                id: self.identity().map(|identity| identity.node_id),
                cluster_id: self.identity().map(|identity| identity.cluster_id),
                role: Role::Waiting,
                term: 0,
                leader: None,
                applied: self.view().index(),
                last_log: 0,
                log_durable_entries: 0,
                log_fsyncs: 0,
                draining: *self.inner.draining.borrow(),
                clock_ahead_millis: None,
                clock_is_off: false,
                peers: Vec::new(),
            },
        }
    }

    /// Asks every member how it is.
    pub async fn cluster_status(&self, timeout: Duration) -> ClusterStatus {
        match self.member() {
            Some(member) => member.cluster_status(timeout).await,
            None => ClusterStatus { confirmed: false, leader: None, term: 0, membership: 0, nodes: Vec::new() },
        }
    }

    /// Compares the members' logs: their running hashes at index `at`, or at the last one that all have applied
    /// who are not far behind. Needs no quorum; members that do not answer in time have no hash in the result.
    ///
    /// # Errors
    /// [`BarrierError::NotMember`]; [`BarrierError::Behind`] if nothing was applied yet.
    pub async fn hash(&self, at: Option<u64>, timeout: Duration) -> Result<ClusterHash, BarrierError> {
        let member = self.member().ok_or(BarrierError::NotMember)?;
        member.cluster_hash(at, timeout).await
    }

    /// Resolves, with the cause, when the raft core has died: the process must stop. Pending for ever otherwise.
    pub fn failed(&self) -> impl Future<Output = String> + Send + 'static {
        let mut failed = self.inner.failed.subscribe();
        async move {
            loop {
                if let Some(cause) = failed.borrow_and_update().clone() {
                    return cause;
                }
                if failed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Hands leadership over if this node leads, stops raft and the peer listener, and closes the log. The state stays
    /// readable until the last handle is dropped.
    pub async fn shutdown(&self, deadline: Duration) {
        if self.inner.stop.is_cancelled() {
            return;
        }
        // Peers that ask hear that this node will not lead any more.
        self.drain();
        if let Some(member) = self.member() {
            member.hand_over(deadline).await;
        }
        self.inner.stop.cancel();
        if let Some(member) = self.member() {
            let _ = tokio::time::timeout(deadline, member.raft.shutdown()).await;
        }
        self.inner.member.send_replace(None);
        self.inner.directory.send_replace(None);
        self.inner.log.lock().unwrap_or_else(PoisonError::into_inner).take();
        let threads = self.inner.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(threads) = threads {
            threads.stop(RUNTIME_STOP).await;
        }
        self.inner.state.flush();
    }

    /// This node as its peers know it.
    pub(crate) fn as_peer(&self) -> PeerNode {
        PeerNode { address: self.inner.address.clone(), pin: self.inner.tls.pin() }
    }

    /// The member that this node is, if it is one and runs.
    pub(crate) fn member(&self) -> Option<Arc<Member>> {
        self.inner.member.borrow().clone()
    }

    fn no_member(&self) -> ProposeError {
        if self.inner.stop.is_cancelled() { ProposeError::ShuttingDown } else { ProposeError::NotMember }
    }

    /// Makes `record` last and starts raft as it says.
    pub(crate) async fn become_member(&self, record: Record) -> Result<(), String> {
        // First the record: log and state that are marked without one are refused, and rightly so.
        record.save(&self.inner.config.data_dir).map_err(|cause| cause.to_string())?;
        if let Some(log) = self.inner.log.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            log.set_cluster(&record.cluster);
        }
        self.inner.state.set_cluster(&record.cluster);
        *self.inner.record.lock().unwrap_or_else(PoisonError::into_inner) = Some(record.clone());
        self.start(record).await
    }

    async fn start(&self, record: Record) -> Result<(), String> {
        let runtime = self.inner.threads.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Threads::handle);
        let runtime = runtime.ok_or("the node is stopping")?;
        let log = self.inner.log.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or("raft runs already")?;
        let vouched = Vouched { roster: Arc::new(record.told()), end: record.told_end };
        let vouched = if record.phase == Phase::Founding { Vouched { end: 1, ..vouched } } else { vouched };
        let cluster = Bytes::copy_from_slice(&record.cluster);
        let directory = Arc::new(Directory::new(record.node, cluster, Arc::clone(&self.inner.state), vouched));
        self.inner.directory.send_replace(Some(Arc::clone(&directory)));
        let parts = Parts {
            record: record.clone(),
            log,
            state: Arc::clone(&self.inner.state),
            directory,
            tls: Arc::clone(&self.inner.tls),
            disk: Arc::clone(&self.inner.disk),
            draining: self.inner.draining.subscribe(),
        };
        let chores = Chores {
            data_dir: self.inner.config.data_dir.clone(),
            record: record.clone(),
            address: self.inner.address.clone(),
            contacts: self.inner.config.contacts.clone(),
            snapshots: Policy::new(&self.inner.config, record.node),
            failed: self.inner.failed.clone(),
            removed: self.inner.removed.clone(),
        };
        let (config, me) = (self.inner.config.clone(), self.as_peer());
        let started = runtime.spawn(async move {
            let member = Member::start(parts, &config).await?;
            if record.phase == Phase::Founding {
                member.found(me).await?;
            }
            keep(&member, chores);
            Ok::<_, String>(member)
        });
        let member = started.await.map_err(|cause| cause.to_string())??;
        tracing::info!(cluster = %cluster_text(&member.cluster()), node = member.id, "raft runs");
        self.inner.member.send_replace(Some(member));
        Ok(())
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("identity", &self.identity()).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
        self.member.send_replace(None);
    }
}

/// The id of the node that makes the cluster. Others get the index of a log entry that comes after the first.
const FOUNDER: u64 = 1;
/// The largest command; with its neighbours it fits in one message to a follower.
const COMMAND_BYTES: usize = 1 << 20;
const INIT_TIMEOUT: Duration = Duration::from_secs(10);
const RUNTIME_STOP: Duration = Duration::from_secs(2);
