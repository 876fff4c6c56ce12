//! The listener for peers: TLS first, then by the key that was proven, as a member or at the door for newcomers.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin as Pinned;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::directory::{Changes, Directory};
use super::tls::{Channel, Tls, channel, peer_pin};
use crate::types::Pin;

/// An accepted connection with the key that it proved.
pub(crate) struct PeerStream {
    stream: TlsStream<TcpStream>,
    pin: Pin,
    channel: Channel,
    cut: Pinned<Box<WaitForCancellationFutureOwned>>,
    token: CancellationToken,
    /// Marks it as ended in the listener's list.
    _open: DropGuard,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Who is at the other end of a call.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The key that was proven.
    pub(crate) pin: Pin,
    /// What only the two ends of the connection know.
    pub(crate) channel: Channel,
    /// Ends the connection.
    pub(crate) cut: CancellationToken,
}

/// Accepts connections and sorts them.
pub(crate) struct Listener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    directory: watch::Receiver<Option<Arc<Directory>>>,
    members: mpsc::Sender<io::Result<PeerStream>>,
    newcomers: mpsc::Sender<io::Result<PeerStream>>,
    handshakes: Arc<Semaphore>,
    at_the_door: Arc<Semaphore>,
    open: Arc<Mutex<Vec<(Pin, CancellationToken)>>>,
}

/// Where sorted connections come out.
pub(crate) type Incoming = mpsc::Receiver<io::Result<PeerStream>>;

impl Listener {
    /// Listens on `address`; `directory` is there once this node is a member.
    pub(crate) fn new(
        listener: std::net::TcpListener,
        tls: &Tls,
        directory: watch::Receiver<Option<Arc<Directory>>>,
    ) -> io::Result<(Self, Incoming, Incoming)> {
        listener.set_nonblocking(true)?;
        let config = tls.server().map_err(io::Error::other)?;
        let (members, member_incoming) = mpsc::channel(16);
        let (newcomers, newcomer_incoming) = mpsc::channel(16);
        let listener = Self {
            listener: TcpListener::from_std(listener)?,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            directory,
            members,
            newcomers,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
            at_the_door: Arc::new(Semaphore::new(NEWCOMERS)),
            open: Arc::default(),
        };
        Ok((listener, member_incoming, newcomer_incoming))
    }

    /// Accepts until it is dropped.
    pub(crate) async fn run(self) {
        let this = Arc::new(self);
        let mut directory = this.directory.clone();
        let mut roster = None;
        loop {
            tokio::select! {
                accepted = this.listener.accept() => match accepted {
                    Ok((stream, from)) => Arc::clone(&this).welcome(stream, from).await,
                    Err(cause) => {
                        // Out of file descriptors, for instance: others may give some back.
                        tracing::warn!(%cause, "cannot accept a peer's connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                () = roster_changed(&mut directory, &mut roster) => this.cut_strangers(),
            }
        }
    }

    async fn welcome(self: Arc<Self>, stream: TcpStream, from: SocketAddr) {
        // Bounds what strangers can make this node compute at once.
        let Ok(permit) = Arc::clone(&self.handshakes).acquire_owned().await else { return };
        tokio::spawn(async move {
            let _permit = permit;
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, self.shake_hands(stream)).await {
                Ok(Ok(())) => {}
                Ok(Err(cause)) => tracing::debug!(%from, %cause, "a peer's connection was refused"),
                Err(_) => tracing::debug!(%from, "a peer's handshake took too long"),
            }
        });
    }

    async fn shake_hands(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let stream = self.acceptor.accept(stream).await?;
        let (pin, channel) = (peer_pin(stream.get_ref().1)?, channel(stream.get_ref().1)?);
        let token = CancellationToken::new();
        let cut = Box::pin(token.clone().cancelled_owned());
        let directory = self.directory.borrow().clone();
        let gone = |_| io::Error::other("the listener is closing");
        let peer = |token: CancellationToken, permit| PeerStream {
            stream,
            pin,
            channel,
            cut,
            token: token.clone(),
            _open: token.drop_guard(),
            _permit: permit,
        };
        if directory.as_ref().is_some_and(|directory| directory.knows(pin)) {
            self.remember(pin, token.clone());
            // Removed at this very moment: whoever looked for open connections may have missed this one.
            if directory.is_none_or(|directory| !directory.knows(pin)) {
                return Err(io::Error::other("the peer is no member any more"));
            }
            return self.members.send(Ok(peer(token, None))).await.map_err(gone);
        }
        if let Some(directory) = directory {
            directory.stranger.notify_one();
        }
        let permit = Arc::clone(&self.at_the_door).try_acquire_owned();
        let permit = permit.map_err(|_| io::Error::other("too many newcomers at the door"))?;
        self.newcomers.send(Ok(peer(token, Some(permit)))).await.map_err(gone)
    }

    fn remember(&self, pin: Pin, token: CancellationToken) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, token)| !token.is_cancelled());
        open.push((pin, token));
    }

    /// Ends the connections of those who are members no more.
    fn cut_strangers(&self) {
        let Some(directory) = self.directory.borrow().clone() else { return };
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|(pin, token)| {
            let known = directory.knows(*pin);
            if !known {
                token.cancel();
            }
            known
        });
    }
}

impl Connected for PeerStream {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        Caller { pin: self.pin, channel: self.channel, cut: self.token.clone() }
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pinned<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll_cut(context) {
            return Poll::Ready(Err(io::Error::other("the peer is no member any more")));
        }
        Pinned::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pinned<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.token.is_cancelled() {
            return Poll::Ready(Err(io::Error::other("the peer is no member any more")));
        }
        Pinned::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pinned<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pinned::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pinned<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pinned::new(&mut self.stream).poll_shutdown(context))?;
        Poll::Ready(Ok(()))
    }
}

/// Returns when this node has become a member, and then whenever the roster has changed.
async fn roster_changed(directory: &mut watch::Receiver<Option<Arc<Directory>>>, roster: &mut Option<Changes>) {
    if let Some(changes) = roster {
        return changes.changed().await;
    }
    if directory.wait_for(Option::is_some).await.is_err() {
        std::future::pending::<()>().await;
    }
    *roster = directory.borrow().as_ref().map(|directory| directory.changes());
}

trait PollCut {
    fn poll_cut(self, context: &mut Context<'_>) -> bool;
}

impl PollCut for Pinned<&mut WaitForCancellationFutureOwned> {
    fn poll_cut(self, context: &mut Context<'_>) -> bool {
        std::future::Future::poll(self, context).is_ready()
    }
}

const HANDSHAKES: usize = 64;
const NEWCOMERS: usize = 16;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
