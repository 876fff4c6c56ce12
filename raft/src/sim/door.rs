//! A simulated node's listener: sorts who comes in as the real one does, and answers with the real services.

use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower_service::Service;

use super::net::Incoming;
use super::wire::{Answer, serve};
use super::world::world;
use crate::node::Inner;
use crate::peer::{Caller, Channel, Stranger, for_members, for_newcomers};
use crate::types::Pin;

type Open = Arc<Mutex<Vec<(Pin, CancellationToken)>>>;

/// Listens for as long as the runtime lives. To be called on the node's runtime.
pub(super) fn listen(inner: &Arc<Inner>, address: &str) {
    let (sender, incoming) = unbounded_channel();
    {
        let world = world();
        let mut net = world.net.lock().unwrap();
        let host = net.hosts.entry(world.turn()).or_default();
        address.clone_into(&mut host.address);
        (host.powered, host.running) = (true, true);
        (host.pin, host.door) = (Some(inner.tls.pin()), Some(sender));
    }
    let open = Open::default();
    tokio::spawn(accept(Arc::clone(inner), incoming, Arc::clone(&open)));
    tokio::spawn(cut_strangers(Arc::clone(inner), open));
}

async fn accept(inner: Arc<Inner>, mut incoming: UnboundedReceiver<Incoming>, open: Open) {
    while let Some(caller) = incoming.recv().await {
        let (pin, cut) = (caller.pin, CancellationToken::new());
        let directory = inner.directory.borrow().clone();
        let known = directory.as_ref().is_some_and(|directory| directory.knows(pin));
        if known {
            let mut open = open.lock().unwrap();
            open.retain(|(_, cut)| !cut.is_cancelled());
            open.push((pin, cut.clone()));
        } else if let Some(directory) = directory {
            directory.stranger.notify_one();
        }
        let answer = answer(&inner, known, Caller { pin, channel: Channel([0; 32]), cut: cut.clone() });
        tokio::spawn(serve(caller, cut, answer));
    }
}

fn answer(inner: &Arc<Inner>, known: bool, caller: Caller) -> Answer {
    let peers = for_members(inner.member.subscribe());
    let door = for_newcomers(inner.member.subscribe());
    let stranger = Stranger::new(inner.directory.subscribe());
    Arc::new(move |mut request: http::Request<Body>| {
        request.extensions_mut().insert(caller.clone());
        let (mut peers, mut door, mut stranger) = (peers.clone(), door.clone(), stranger.clone());
        let to_door = request.uri().path().starts_with("/signet.peer.v1.Door/");
        async move {
            let reply = match (to_door, known) {
                (true, _) => door.call(request).await,
                (false, true) => peers.call(request).await,
                (false, false) => stranger.call(request).await,
            };
            reply.unwrap_or_else(|never| match never {})
        }
        .boxed()
    })
}

async fn cut_strangers(inner: Arc<Inner>, open: Open) {
    let mut directory = inner.directory.subscribe();
    if directory.wait_for(Option::is_some).await.is_err() {
        return;
    }
    let Some(directory) = inner.directory.borrow().clone() else { return };
    let mut changes = directory.changes();
    loop {
        changes.changed().await;
        open.lock().unwrap().retain(|(pin, cut)| {
            let known = directory.knows(*pin);
            if !known {
                cut.cancel();
            }
            known
        });
    }
}
