//! Connections that are kept up: one for each peer and kind of traffic, so that bulk never delays a heartbeat.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::clocks::Clocks;
use super::connect::{ConnectError, Proven, connect};
use super::directory::{Changes, Directory};
use super::proto::peer_client::PeerClient;
use super::tls::Tls;

/// A kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Heartbeats, votes, leadership.
    Control,
    /// The log.
    Log,
    /// Snapshots.
    Bulk,
    /// What the members' callers want: proposals, barriers, status.
    Calls,
}

/// A client of a peer.
pub(crate) type Client = PeerClient<Proven>;

/// All links of this node.
pub(crate) struct Links {
    tls: Arc<Tls>,
    directory: Arc<Directory>,
    clocks: Arc<Clocks>,
    runtime: Handle,
    quiet: AtomicBool,
    links: Mutex<HashMap<(u64, Lane), Link>>,
}

struct Link {
    client: watch::Receiver<Option<Client>>,
    task: AbortHandle,
}

impl Links {
    /// No links yet; they are made as they are asked for.
    pub(crate) fn new(tls: Arc<Tls>, directory: Arc<Directory>, clocks: Arc<Clocks>, runtime: Handle) -> Self {
        let (quiet, links) = (AtomicBool::new(false), Mutex::new(HashMap::new()));
        Self { tls, directory, clocks, runtime, quiet, links }
    }

    /// A client of `peer`, if it is connected now. The first call begins to connect.
    pub(crate) fn client(&self, peer: u64, lane: Lane) -> Option<Client> {
        self.watch(peer, lane).borrow().clone()
    }

    /// A client of `peer`, waiting for the connection.
    pub(crate) async fn connected(&self, peer: u64, lane: Lane, timeout: Duration) -> Option<Client> {
        let mut client = self.watch(peer, lane);
        let found = tokio::time::timeout(timeout, client.wait_for(Option::is_some)).await;
        found.ok()?.ok()?.clone()
    }

    /// For connections beside the links.
    pub(crate) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Who the members are.
    pub(crate) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// What the members' clocks say.
    pub(crate) fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// From now on heartbeats say whether the next one comes after twice the interval.
    pub(crate) fn set_quiet(&self, quiet: bool) {
        self.quiet.store(quiet, Ordering::Relaxed);
    }

    /// What heartbeats are to say.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    /// Connects to every member ahead of need: an election or a change of leader must not wait for handshakes. Links to
    /// who is a member no more are given up.
    pub(crate) fn warm(&self) {
        let roster = self.directory.roster();
        self.links.lock().unwrap_or_else(PoisonError::into_inner).retain(|(peer, _), link| {
            let known = roster.contains_key(peer);
            if !known {
                link.task.abort();
            }
            known
        });
        for peer in roster.keys().filter(|peer| **peer != self.directory.me()) {
            for lane in [Lane::Control, Lane::Log, Lane::Calls] {
                self.client(*peer, lane);
            }
        }
    }

    fn watch(&self, peer: u64, lane: Lane) -> watch::Receiver<Option<Client>> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let link = links.entry((peer, lane)).or_insert_with(|| {
            let (sender, client) = watch::channel(None);
            let (tls, directory) = (Arc::clone(&self.tls), Arc::clone(&self.directory));
            let task = self.runtime.spawn(keep(tls, directory, peer, sender)).abort_handle();
            Link { client, task }
        });
        link.client.clone()
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        for link in self.links.lock().unwrap_or_else(PoisonError::into_inner).values() {
            link.task.abort();
        }
    }
}

/// A client over `connection`; what it hears of this node's membership goes to `directory`.
pub(crate) fn client_of(connection: Proven, directory: Arc<Directory>) -> Client {
    let origin = http::Uri::from_static("https://peer.signet.internal");
    PeerClient::with_origin(connection.read_by(directory), origin)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE)
}

/// Connects, and connects again when the connection ends or the peer has moved.
async fn keep(tls: Arc<Tls>, directory: Arc<Directory>, peer: u64, client: watch::Sender<Option<Client>>) {
    let mut changes = directory.changes();
    let mut pause = FIRST_PAUSE;
    let mut reported = false;
    loop {
        changes.mark_unchanged();
        if let Some(node) = directory.peer(peer) {
            let connected = tokio::select! {
                connected = connect(&tls, &node) => connected,
                () = moved(&directory, &mut changes, peer, &node) => continue,
            };
            match connected {
                Ok((connection, driver)) => {
                    (pause, reported) = (FIRST_PAUSE, false);
                    client.send_replace(Some(client_of(connection, Arc::clone(&directory))));
                    tokio::select! {
                        () = driver => {}
                        () = moved(&directory, &mut changes, peer, &node) => {}
                    }
                    client.send_replace(None);
                    continue;
                }
                Err(error @ ConnectError::WrongKey { .. }) if !reported => {
                    reported = true;
                    tracing::warn!(peer, %error, "not connected to a peer");
                }
                Err(error) => tracing::debug!(peer, %error, "not connected to a peer"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            () = changes.changed() => pause = FIRST_PAUSE,
        }
    }
}

/// Returns when `peer` is no longer reached or recognised as `node`.
async fn moved(directory: &Directory, changes: &mut Changes, peer: u64, node: &crate::types::PeerNode) {
    loop {
        changes.changed().await;
        if directory.peer(peer).as_ref() != Some(node) {
            return;
        }
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// An append of 1 MiB and one entry more, with room.
pub(crate) const MAX_MESSAGE: usize = 8 << 20;
