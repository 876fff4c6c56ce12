//! Connections: how many, how long, and how they end.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::{Request, Response};
use hyper::body::{Body, Incoming};

use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::load::Total;

/// Bounds on what callers can make a listener hold.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For a request's head, and again for its body.
    pub request: Duration,
    /// A connection is asked to end after this, so that callers look around and the load spreads.
    pub max_age: Duration,
    /// How long requests under way may take to end when the server stops or a connection is too old.
    pub drain: Duration,
    /// Requests at a time on one HTTP/2 connection.
    pub streams: u32,
    /// Requests at a time on all of this listener's connections; more are refused.
    pub requests: usize,
    /// Bytes of gRPC requests that this listener holds at a time; what goes beyond is refused.
    pub request_bytes: usize,
    /// Requests at a time on this and other listeners.
    pub total: Total,
    /// The largest gRPC message that is accepted, in bytes.
    pub message: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8192,
            handshake: Duration::from_secs(10),
            request: Duration::from_secs(15),
            // As SPIRE's servers do: its agents look up the server's name again with each connection.
            max_age: Duration::from_secs(180),
            drain: Duration::from_secs(10),
            streams: 1024,
            requests: 4096,
            request_bytes: 256 << 20,
            total: Total::new(6144),
            message: 4 << 20,
        }
    }
}

/// Where connections come from.
pub(crate) trait Accept: Send + 'static {
    /// A connection.
    type Stream: Send + 'static;

    /// Waits for the next one.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        let (stream, _) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// How one connection ends.
#[derive(Debug)]
pub(crate) struct Ending {
    /// No new requests from here on.
    stop: CancellationToken,
    /// Now, whatever is under way. Never before `stop`.
    cut: CancellationToken,
    max_age: Duration,
    drain: Duration,
    /// The caller is not believed any more.
    trust: CancellationToken,
}

impl Ending {
    /// Ends the connection when `trust` is cancelled.
    pub(crate) fn while_trusted(mut self, trust: CancellationToken) -> Self {
        self.trust = trust;
        self
    }

    /// Ends the connection when `lifetime` is over, if that is earlier than its ordinary end.
    pub(crate) fn within(mut self, lifetime: Duration) -> Self {
        self.max_age = self.max_age.min(lifetime);
        self
    }

    /// `work`, unless the server stops first or it takes longer than `limit`.
    pub(crate) async fn bounded<F: Future>(&self, limit: Duration, work: F) -> Option<F::Output> {
        tokio::select! {
            done = tokio::time::timeout(limit, work) => done.ok(),
            () = self.stop.cancelled() => None,
        }
    }
}

/// Hands connections to `handle` until `stop`, then waits for them, `limits.drain` at most, and cuts what is left.
pub(crate) async fn run<A, H, F>(listener: A, limits: &Limits, stop: &CancellationToken, handle: H)
where
    A: Accept,
    H: Fn(A::Stream, Ending) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let tasks = TaskTracker::new();
    let cut = CancellationToken::new();
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut accepted: u32 = 0;
    while let Some((stream, permit)) = next(&listener, &permits, stop).await {
        accepted = accepted.wrapping_add(1);
        let ending = Ending {
            stop: stop.clone(),
            cut: cut.clone(),
            max_age: spread(limits.max_age, accepted),
            drain: limits.drain,
            trust: CancellationToken::new(),
        };
        let work = handle(stream, ending);
        tasks.spawn(async move {
            work.await;
            drop(permit);
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(limits.drain, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "drain deadline passed: cutting the connections that are left");
        cut.cancel();
        tasks.wait().await;
    }
}

/// The next connection with its permit, or none when it is time to stop.
async fn next<A: Accept>(
    listener: &A,
    permits: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(A::Stream, tokio::sync::OwnedSemaphorePermit)> {
    let accept = async {
        loop {
            let permit = permits.clone().acquire_owned().await.ok()?;
            match listener.accept().await {
                Ok(stream) => return Some((stream, permit)),
                Err(error) => {
                    // Out of file descriptors, or a caller that hung up already: a pause, so that the first does not
                    // spin.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => None,
        next = accept => next,
    }
}

/// Up to a sixth longer, so that connections that came together do not all end together.
fn spread(age: Duration, nth: u32) -> Duration {
    age.saturating_add(age / 96 * (nth % 16))
}

/// Serves HTTP on one connection until it ends.
pub(crate) async fn serve<I, S, B>(io: I, http: &Builder<TokioExecutor>, service: S, ending: Ending)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Ending { stop, cut, max_age, drain, trust } = ending;
    let connection = http.serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    // In a set of its own, so that it is looked at when it has something to say and not at each step of the connection:
    // the tokens are shared by all connections, and so are their locks.
    let mut end: FuturesUnordered<_> = std::iter::once(async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = trust.cancelled() => {}
            () = tokio::time::sleep(max_age) => {}
        }
    })
    .collect();
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => Some(ended),
        _ = end.next() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection => Some(ended),
                () = tokio::time::sleep(drain) => None,
                () = cut.cancelled() => None,
            }
        }
    };
    if let Some(Err(error)) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// HTTP/1.1 and HTTP/2 as we speak them.
pub(crate) fn http(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.request);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_ANSWER);
    builder
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A batch of CSRs fits without waiting for the receiver.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// Finds callers that vanished without a word.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(20);
