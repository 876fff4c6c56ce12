//! The two ends of a simulated connection: what hyper is on a real one.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::pin::Pin as Boxed;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use hyper::body::Body as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use tonic::body::Body;

use super::net::{Event, Frame, Incoming, open, send};
use crate::peer::{ConnectError, Connection, Driver};
use crate::types::{PeerNode, Pin};

type BodySender = UnboundedSender<Result<hyper::body::Frame<Bytes>, BoxError>>;
type BoxError = Box<dyn Error + Send + Sync>;
pub(crate) type Reply = BoxFuture<'static, Result<http::Response<Body>, BoxError>>;

/// The client's end. Clones share it.
#[derive(Clone)]
pub(crate) struct Wire {
    end: Arc<ClientEnd>,
}

struct ClientEnd {
    conn: u64,
    next: AtomicU64,
    /// `None` once the connection has ended.
    streams: Mutex<Option<BTreeMap<u64, Stream>>>,
}

struct Stream {
    head: Option<oneshot::Sender<http::response::Parts>>,
    body: Option<BodySender>,
}

/// Connects to `peer`.
pub(crate) async fn connect(me: Pin, peer: &PeerNode) -> Result<(Connection, Driver), ConnectError> {
    let unreachable =
        |kind: io::ErrorKind| ConnectError::Unreachable { address: peer.address.clone(), cause: kind.into() };
    let (sender, events) = unbounded_channel();
    let Some((conn, opened)) = open(me, &peer.address, peer.pin, sender) else {
        return Err(unreachable(io::ErrorKind::NotFound));
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, opened).await {
        Ok(Ok(Some(pin))) if pin == peer.pin => {}
        Ok(Ok(Some(_))) => return Err(ConnectError::WrongKey { address: peer.address.clone(), pins: vec![peer.pin] }),
        Ok(Ok(None) | Err(_)) => return Err(unreachable(io::ErrorKind::ConnectionRefused)),
        Err(_) => {
            send(conn, 0, Event::Broken);
            return Err(unreachable(io::ErrorKind::TimedOut));
        }
    }
    let end = Arc::new(ClientEnd { conn, next: AtomicU64::new(1), streams: Mutex::new(Some(BTreeMap::new())) });
    let driver = drive(Closing(Arc::clone(&end)), events);
    Ok((Connection::Simulated(Wire { end }), Box::pin(driver)))
}

/// Ends the connection when the driver is dropped.
struct Closing(Arc<ClientEnd>);

impl Drop for Closing {
    fn drop(&mut self) {
        send(self.0.conn, 0, Event::Broken);
        let streams = self.0.streams.lock().unwrap().take();
        for stream in streams.into_iter().flatten().map(|(_, stream)| stream) {
            if let Some(body) = stream.body {
                let _ = body.send(Err("the connection has ended".into()));
            }
        }
    }
}

async fn drive(end: Closing, mut events: UnboundedReceiver<Event>) {
    let end = &end.0;
    let mut ping = Instant::now() + KEEP_ALIVE;
    let mut deadline = None;
    loop {
        let event = tokio::select! {
            biased;
            event = events.recv() => event,
            () = sleep_until(deadline.unwrap_or(ping)) => {
                if deadline.is_some() {
                    return;
                }
                send(end.conn, 0, Event::Ping);
                deadline = Some(Instant::now() + KEEP_ALIVE_TIMEOUT);
                continue;
            }
        };
        match event {
            None | Some(Event::Broken) => return,
            Some(Event::Ping) => send(end.conn, 0, Event::Pong),
            Some(Event::Pong) => (ping, deadline) = (Instant::now() + KEEP_ALIVE, None),
            Some(Event::Frame(id, frame)) => {
                let mut streams = end.streams.lock().unwrap();
                let Some(stream) = streams.as_mut().and_then(|streams| streams.get_mut(&id)) else { continue };
                match frame {
                    Frame::Request(_) => {}
                    Frame::Reply(parts) => {
                        if let Some(head) = stream.head.take() {
                            let _ = head.send(*parts);
                        }
                    }
                    Frame::Data(data) => tell(&stream.body, Ok(hyper::body::Frame::data(data))),
                    Frame::Trailers(trailers) => tell(&stream.body, Ok(hyper::body::Frame::trailers(trailers))),
                    Frame::End => stream.body = None,
                    Frame::Reset => {
                        tell(&stream.body, Err("the stream was reset".into()));
                        (stream.head, stream.body) = (None, None);
                    }
                }
            }
        }
    }
}

fn tell(body: &Option<BodySender>, frame: Result<hyper::body::Frame<Bytes>, BoxError>) {
    if let Some(body) = body {
        let _ = body.send(frame);
    }
}

impl Wire {
    pub(crate) fn call(&self, request: http::Request<Body>) -> Reply {
        let end = Arc::clone(&self.end);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let id = end.next.fetch_add(1, Ordering::Relaxed);
            let (head, reply) = oneshot::channel();
            let (sender, frames) = unbounded_channel();
            match end.streams.lock().unwrap().as_mut() {
                Some(streams) => streams.insert(id, Stream { head: Some(head), body: Some(sender) }),
                None => return Err("the connection has ended".into()),
            };
            send(end.conn, 0, Event::Frame(id, Frame::Request(Box::new(parts))));
            let pump = tokio::spawn(pump(end.conn, 0, id, body)).abort_handle();
            let open = Open { end, id, pump };
            let parts = reply.await.map_err(|_| "the connection has ended")?;
            Ok(http::Response::from_parts(parts, Body::new(Frames { frames, _open: Some(open) })))
        })
    }
}

/// A call that goes on until its reply is read or forgotten.
struct Open {
    end: Arc<ClientEnd>,
    id: u64,
    pump: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.pump.abort();
        let stream = self.end.streams.lock().unwrap().as_mut().and_then(|streams| streams.remove(&self.id));
        if stream.is_some_and(|stream| stream.body.is_some()) {
            send(self.end.conn, 0, Event::Frame(self.id, Frame::Reset));
        }
    }
}

/// A body whose frames come from the other end.
struct Frames {
    frames: UnboundedReceiver<Result<hyper::body::Frame<Bytes>, BoxError>>,
    _open: Option<Open>,
}

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Boxed<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, BoxError>>> {
        self.frames.poll_recv(context)
    }
}

/// Sends a body frame by frame.
async fn pump(conn: u64, end: usize, id: u64, mut body: Body) {
    loop {
        let frame = std::future::poll_fn(|context| Boxed::new(&mut body).poll_frame(context)).await;
        let frame = match frame {
            None => Frame::End,
            Some(Err(_)) => Frame::Reset,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Frame::Data(data),
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => Frame::Trailers(trailers),
                    Err(_) => continue,
                },
            },
        };
        let last = matches!(frame, Frame::End | Frame::Reset);
        send(conn, end, Event::Frame(id, frame));
        if last {
            return;
        }
    }
}

/// What answers requests.
pub(super) type Answer = Arc<dyn Fn(http::Request<Body>) -> BoxFuture<'static, http::Response<Body>> + Send + Sync>;

/// The server's end of a connection, until it ends or is cut.
pub(super) async fn serve(incoming: Incoming, cut: tokio_util::sync::CancellationToken, answer: Answer) {
    let Incoming { conn, mut events, .. } = incoming;
    let mut calls = Calls { conn, open: BTreeMap::new() };
    loop {
        let event = tokio::select! {
            biased;
            () = cut.cancelled() => return,
            event = events.recv() => event,
        };
        match event {
            None | Some(Event::Broken) => return,
            Some(Event::Ping) => send(conn, 1, Event::Pong),
            Some(Event::Pong) => {}
            Some(Event::Frame(id, frame)) => calls.take(id, frame, &answer),
        }
    }
}

/// The calls on one connection; they end with it.
struct Calls {
    conn: u64,
    open: BTreeMap<u64, (AbortHandle, Option<BodySender>)>,
}

impl Calls {
    fn take(&mut self, id: u64, frame: Frame, answer: &Answer) {
        let body = self.open.get_mut(&id).map(|(_, body)| body);
        match (frame, body) {
            (Frame::Request(parts), _) => {
                let (sender, frames) = unbounded_channel();
                let request = http::Request::from_parts(*parts, Body::new(Frames { frames, _open: None }));
                let (conn, path, answer) = (self.conn, request.uri().path().to_owned(), Arc::clone(answer));
                let call = tokio::spawn(async move {
                    let (parts, body) = answer(request).await.into_parts();
                    send(conn, 1, Event::Frame(id, Frame::Reply(Box::new(parts))));
                    pump(conn, 1, id, super::taps::replies(&path, body)).await;
                });
                self.open.retain(|_, (call, _)| !call.is_finished());
                self.open.insert(id, (call.abort_handle(), Some(sender)));
            }
            (Frame::Data(data), Some(body)) => tell(body, Ok(hyper::body::Frame::data(data))),
            (Frame::Trailers(trailers), Some(body)) => tell(body, Ok(hyper::body::Frame::trailers(trailers))),
            (Frame::End, Some(body)) => *body = None,
            (Frame::Reset, Some(_)) => {
                if let Some((call, _)) = self.open.remove(&id) {
                    call.abort();
                }
            }
            (Frame::Reply(_), _) | (_, None) => {}
        }
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        send(self.conn, 1, Event::Broken);
        self.open.values().for_each(|(call, _)| call.abort());
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(1);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
