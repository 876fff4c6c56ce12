//! Faulty networks between nodes of one process: a TCP proxy for each ordered pair, with a gate in each direction.
//!
//! A closed gate holds bytes back, as a network does that loses packets: connections stay open, new ones do not come up,
//! and what was held arrives when the gate opens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::cluster::Place;

/// What happens to bytes on their way in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// They pass, this much later.
    Open(Duration),
    /// They wait.
    Closed,
}

/// A proxy before one node for the connections of one other.
pub(crate) struct Proxy {
    address: String,
    /// From the one who connects.
    forth: Arc<watch::Sender<Gate>>,
    back: Arc<watch::Sender<Gate>>,
    task: tokio::task::AbortHandle,
}

impl Proxy {
    /// Stands before `target`.
    pub(crate) async fn before(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let open = || Arc::new(watch::Sender::new(Gate::Open(Duration::ZERO)));
        let (forth, back) = (open(), open());
        let gates = (Arc::clone(&forth), Arc::clone(&back));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let (target, gates) = (target.clone(), (gates.0.subscribe(), gates.1.subscribe()));
                connections.spawn(async move {
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    let _ = (near.set_nodelay(true), far.set_nodelay(true));
                    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                    tokio::join!(pass(near_in, far_out, gates.0), pass(far_in, near_out, gates.1));
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, forth, back, task: task.abort_handle() }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Passes bytes on until either side ends.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut gate: watch::Receiver<Gate>) {
    let (sender, mut queue) = mpsc::channel::<(Instant, Vec<u8>)>(64);
    let delay = gate.clone();
    let reading = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(len @ 1..) = from.read(&mut buffer).await {
            let wait = match *delay.borrow() {
                Gate::Open(wait) => wait,
                Gate::Closed => Duration::ZERO,
            };
            if sender.send((Instant::now() + wait, buffer[..len].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, bytes)) = queue.recv().await {
            sleep_until(due).await;
            if gate.wait_for(|gate| *gate != Gate::Closed).await.is_err() || to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}

/// All proxies of a cluster: `places[a]` reaches `places[b]` over the one at `(a, b)`.
pub(crate) struct Net {
    links: BTreeMap<(usize, usize), Proxy>,
}

impl Net {
    /// Has every running node of `places` reach every other over a proxy from now on.
    pub(crate) async fn between(places: &[Place]) -> Self {
        let mut links = BTreeMap::new();
        for (a, here) in places.iter().enumerate() {
            for (b, there) in places.iter().enumerate().filter(|(b, _)| *b != a) {
                let proxy = Proxy::before(there.node().peer_address()).await;
                let id = there.node().identity().unwrap().node_id;
                here.node().member().unwrap().directory.met(id, &proxy.address);
                links.insert((a, b), proxy);
            }
        }
        Self { links }
    }

    /// Lets everything pass again.
    pub(crate) fn heal(&self) {
        self.delay(Duration::ZERO);
    }

    /// Everything passes, this much later in each direction.
    pub(crate) fn delay(&self, delay: Duration) {
        for proxy in self.links.values() {
            proxy.forth.send_replace(Gate::Open(delay));
            proxy.back.send_replace(Gate::Open(delay));
        }
    }

    /// Nothing reaches `place` any more; what it says still arrives.
    pub(crate) fn deafen(&self, place: usize) {
        for ((from, to), proxy) in &self.links {
            if *from == place {
                proxy.back.send_replace(Gate::Closed);
            }
            if *to == place {
                proxy.forth.send_replace(Gate::Closed);
            }
        }
    }

    /// Nothing that `place` says arrives any more; it still hears everything.
    pub(crate) fn mute(&self, place: usize) {
        for ((from, to), proxy) in &self.links {
            if *from == place {
                proxy.forth.send_replace(Gate::Closed);
            }
            if *to == place {
                proxy.back.send_replace(Gate::Closed);
            }
        }
    }

    /// Cuts `place` off from all others.
    pub(crate) fn isolate(&self, place: usize) {
        self.deafen(place);
        self.mute(place);
    }
}
