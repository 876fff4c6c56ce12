//! The network between simulated nodes: connections that keep their order, on links that are slow, cut or lossy.
//!
//! A connection behaves as TCP does: what is lost comes late, what is cut off waits, and what is said to a dead process is
//! answered by a reset. On it go frames as in HTTP/2.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::random::Random;
use super::world::{World, world};
use crate::types::Pin;

/// Every link and connection.
#[derive(Default)]
pub(crate) struct Net {
    pub(crate) hosts: BTreeMap<usize, Host>,
    conns: BTreeMap<u64, Conn>,
    on_the_way: BTreeMap<(u64, u64), Packet>,
    held: Vec<Packet>,
    pub(crate) cuts: BTreeSet<(usize, usize)>,
    /// In one direction of one connection nothing arrives until then.
    stalls: BTreeMap<(u64, usize), u64>,
    pub(crate) weather: Weather,
    next: u64,
    pub(crate) sent: u64,
}

/// How the links are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// Milliseconds that everything takes at least.
    pub(crate) latency: u64,
    /// And at most so many more.
    pub(crate) jitter: u64,
    /// Of a hundred packets so many are lost and sent again.
    pub(crate) loss: u64,
}

impl Default for Weather {
    fn default() -> Self {
        Self { latency: 0, jitter: 1, loss: 0 }
    }
}

/// A machine and the process on it.
#[derive(Default)]
pub(crate) struct Host {
    pub(crate) address: String,
    /// The machine answers.
    pub(crate) powered: bool,
    /// The process may speak.
    pub(crate) running: bool,
    pub(crate) pin: Option<Pin>,
    pub(crate) door: Option<UnboundedSender<Incoming>>,
}

struct Conn {
    client: usize,
    server: usize,
    expects: Pin,
    pin: Pin,
    /// Of each direction, when its last packet arrives: none may overtake.
    due: [u64; 2],
    /// It carries a snapshot, whose size RocksDB's own threads have a say in: that must not show.
    bulk: bool,
    opening: Option<oneshot::Sender<Option<Pin>>>,
    ends: [Option<UnboundedSender<Event>>; 2],
}

/// What comes in at one end of a connection.
pub(crate) enum Event {
    Frame(u64, Frame),
    Ping,
    Pong,
    Broken,
}

/// A part of a request or a reply.
pub(crate) enum Frame {
    Request(Box<http::request::Parts>),
    Reply(Box<http::response::Parts>),
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Reset,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(parts) => write!(f, "request {}", parts.uri.path()),
            Self::Reply(parts) => write!(f, "reply {}", parts.status.as_u16()),
            Self::Data(data) => write!(f, "data {}", data.len()),
            Self::Trailers(_) => f.write_str("trailers"),
            Self::End => f.write_str("end"),
            Self::Reset => f.write_str("reset"),
        }
    }
}

struct Packet {
    conn: u64,
    /// 0 for client to server.
    way: usize,
    what: What,
}

enum What {
    Open,
    Opened(Option<Pin>),
    Event(Event),
}

/// A connection that somebody opens to a node.
pub(crate) struct Incoming {
    pub(crate) conn: u64,
    pub(crate) pin: Pin,
    pub(crate) events: tokio::sync::mpsc::UnboundedReceiver<Event>,
}

impl Net {
    fn host(&self, address: &str) -> Option<usize> {
        self.hosts.iter().find(|(_, host)| host.address == address).map(|(node, _)| *node)
    }

    fn link(&self, packet: &Packet) -> Option<(usize, usize)> {
        let conn = self.conns.get(&packet.conn)?;
        Some(if packet.way == 0 { (conn.client, conn.server) } else { (conn.server, conn.client) })
    }

    fn post(&mut self, now: u64, random: &mut Random, packet: Packet) {
        let Some(link) = self.link(&packet) else { return };
        let bulk = match (&packet.what, self.conns.get_mut(&packet.conn)) {
            (What::Event(Event::Frame(_, Frame::Request(parts))), Some(conn))
                if parts.uri.path().ends_with("/Snapshot") =>
            {
                conn.bulk = true;
                false
            }
            (What::Event(Event::Frame(_, Frame::Data(_))), Some(conn)) => conn.bulk,
            _ => false,
        };
        if bulk && !self.cuts.contains(&link) {
            self.schedule(now + 2, packet);
            return;
        }
        self.sent += u64::from(!bulk);
        if self.cuts.contains(&link) || !self.hosts.get(&link.1).is_some_and(|host| host.powered) {
            self.held.push(packet);
            return;
        }
        let Weather { latency, jitter, loss } = self.weather;
        let mut due = now + 1 + latency + random.below(jitter + 1);
        if random.percent(loss) {
            due += random.between(50, 300);
        }
        self.schedule(due, packet);
    }

    fn schedule(&mut self, due: u64, packet: Packet) {
        let Some(conn) = self.conns.get_mut(&packet.conn) else { return };
        let stalled = self.stalls.get(&(packet.conn, packet.way)).copied().unwrap_or(0);
        let due = due.max(conn.due[packet.way]).max(stalled);
        conn.due[packet.way] = due;
        self.next += 1;
        self.on_the_way.insert((due, self.next), packet);
    }

    /// Sends again what was held up by what is no more.
    pub(crate) fn release(&mut self, now: u64, random: &mut Random) {
        let pause = random.between(1, 200);
        for packet in std::mem::take(&mut self.held) {
            let free = self.link(&packet).is_some_and(|link| {
                !self.cuts.contains(&link) && self.hosts.get(&link.1).is_some_and(|host| host.powered)
            });
            if free { self.schedule(now + pause, packet) } else { self.held.push(packet) }
        }
    }

    /// Nothing arrives for a while in one direction of one connection.
    pub(crate) fn stall(&mut self, now: u64, random: &mut Random) -> bool {
        let open: Vec<u64> = self.conns.iter().filter(|(_, conn)| conn.ends[1].is_some()).map(|(id, _)| *id).collect();
        let Some(conn) = random.pick(&open).copied() else { return false };
        self.stalls.insert((conn, usize::from(random.percent(50))), now + random.between(100, 1500));
        true
    }

    /// The process on `node` is gone. If the machine is too, nobody says so.
    pub(crate) fn process_ended(&mut self, now: u64, random: &mut Random, node: usize, powered: bool) {
        if let Some(host) = self.hosts.get_mut(&node) {
            (host.running, host.powered, host.door) = (false, powered, None);
        }
        let ids: Vec<u64> = self.conns.keys().copied().collect();
        for id in ids {
            let Some(conn) = self.conns.get_mut(&id) else { continue };
            let side = if conn.client == node { 0 } else { 1 };
            if conn.client != node && conn.server != node {
                continue;
            }
            conn.ends[side] = None;
            conn.opening = conn.opening.take().filter(|_| side == 1);
            if powered {
                self.post(now, random, Packet { conn: id, way: side, what: What::Event(Event::Broken) });
            }
        }
    }

    /// Hands out what has arrived.
    pub(crate) fn deliver(&mut self, world: &World) {
        let now = world.now();
        while let Some(entry) = self.on_the_way.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let packet = entry.remove();
            self.arrive(world, packet);
        }
    }

    fn arrive(&mut self, world: &World, packet: Packet) {
        let now = world.now();
        let Some((from, to)) = self.link(&packet) else { return };
        let Packet { conn: id, way, what } = packet;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let answer = match what {
            What::Open => {
                let host = self.hosts.get(&to);
                let door = host.filter(|host| host.running).and_then(|host| host.door.as_ref().zip(host.pin));
                match door {
                    Some((door, pin)) if pin == conn.expects => {
                        let (sender, events) = tokio::sync::mpsc::unbounded_channel();
                        conn.ends[1] = Some(sender);
                        let _ = door.send(Incoming { conn: id, pin: conn.pin, events });
                        Some(What::Opened(Some(pin)))
                    }
                    Some((_, pin)) => Some(What::Opened(Some(pin))),
                    None => Some(What::Opened(None)),
                }
            }
            What::Opened(pin) => {
                if let Some(opening) = conn.opening.take() {
                    let _ = opening.send(pin);
                }
                None
            }
            What::Event(event) => {
                let broken = matches!(event, Event::Broken);
                if !(conn.bulk && matches!(event, Event::Frame(_, Frame::Data(_)))) {
                    world.trace(format_args!("n{from} > n{to} c{id} {}", name(&event)));
                }
                let end = &mut conn.ends[1 - way];
                let gone = end.as_ref().is_none_or(|end| end.send(event).is_err());
                if broken {
                    *end = None;
                    if conn.ends.iter().all(Option::is_none) {
                        self.conns.remove(&id);
                    }
                    None
                } else {
                    gone.then_some(What::Event(Event::Broken))
                }
            }
        };
        if let Some(what) = answer {
            world.random(|random| self.post(now, random, Packet { conn: id, way: 1 - way, what }));
        }
    }
}

fn name(event: &Event) -> String {
    match event {
        Event::Frame(stream, frame) => format!("s{stream} {frame:?}"),
        Event::Ping => "ping".into(),
        Event::Pong => "pong".into(),
        Event::Broken => "broken".into(),
    }
}

/// Begins to connect to `address`; told the pin of who answers, or that nobody does.
pub(super) fn open(
    me: Pin,
    address: &str,
    expects: Pin,
    events: UnboundedSender<Event>,
) -> Option<(u64, oneshot::Receiver<Option<Pin>>)> {
    let world = world();
    let mut net = world.net.lock().unwrap();
    let (client, server) = (world.turn(), net.host(address)?);
    net.next += 1;
    let id = net.next;
    let (opening, opened) = oneshot::channel();
    let ends = [Some(events), None];
    net.conns
        .insert(id, Conn { client, server, expects, pin: me, due: [0; 2], bulk: false, opening: Some(opening), ends });
    world.random(|random| net.post(world.now(), random, Packet { conn: id, way: 0, what: What::Open }));
    Some((id, opened))
}

/// Sends from one end (0: the client's) of a connection. A process that has ended says nothing more.
pub(super) fn send(conn: u64, end: usize, event: Event) {
    let Some(world) = super::world::find() else { return };
    let mut net = world.net.lock().unwrap();
    let Some(open) = net.conns.get_mut(&conn) else { return };
    let from = if end == 0 { open.client } else { open.server };
    if matches!(event, Event::Broken) {
        open.ends[end] = None;
    }
    if net.hosts.get(&from).is_some_and(|host| host.running) {
        world.random(|random| net.post(world.now(), random, Packet { conn, way: end, what: What::Event(event) }));
    }
}
