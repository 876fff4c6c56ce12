//! Heartbeats to one peer, over a stream that stays open while all goes well.
//!
//! A call has headers, a route, a task and trailers on both sides, which was much of what an idle cluster did. When anything
//! goes wrong the stream is given up with what was asked on it, so that an answer always belongs to its question, and the
//! next heartbeat is a call of its own: its refusal says more than a broken stream does.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Response, Status, Streaming};

use super::link::Client;
use super::proto::{AppendReply, AppendRequest};

/// How the next heartbeat goes.
#[derive(Default)]
pub(crate) enum Beats {
    /// By a call of its own.
    #[default]
    Call,
    /// Over a stream to be opened: the last call was answered.
    Open,
    /// Over this one.
    Stream(Box<Stream>),
    /// By a call: the peer's program is older than streams of heartbeats.
    CallOnly,
}

/// An open stream.
pub(crate) struct Stream {
    requests: mpsc::Sender<AppendRequest>,
    replies: Streaming<AppendReply>,
}

impl Beats {
    /// Sends one heartbeat by `client`; returns how the next one goes, and the answer. Whoever drops this gives the stream
    /// up.
    pub(crate) async fn send(
        self,
        mut client: Client,
        request: AppendRequest,
    ) -> Result<Response<(Self, AppendReply)>, Status> {
        let called = |next: Self| move |reply: Response<AppendReply>| reply.map(|reply| (next, reply));
        let mut stream = match self {
            Self::Call => return client.heartbeat(request).await.map(called(Self::Open)),
            Self::CallOnly => return client.heartbeat(request).await.map(called(Self::CallOnly)),
            Self::Stream(stream) => stream,
            Self::Open => match Stream::open(&mut client).await {
                Err(status) if status.code() == Code::Unimplemented => {
                    return client.heartbeat(request).await.map(called(Self::CallOnly));
                }
                opened => opened?,
            },
        };
        let reply = stream.ask(request).await?;
        Ok(Response::new((Self::Stream(stream), reply)))
    }
}

impl Stream {
    async fn open(client: &mut Client) -> Result<Box<Self>, Status> {
        let (requests, queue) = mpsc::channel(1);
        let replies = client.heartbeats(ReceiverStream::new(queue)).await?.into_inner();
        Ok(Box::new(Self { requests, replies }))
    }

    /// Whoever drops this, or hears an error of it, must not ask again.
    async fn ask(&mut self, request: AppendRequest) -> Result<AppendReply, Status> {
        let ended = || Status::unavailable("the stream of heartbeats has ended");
        self.requests.send(request).await.map_err(|_| ended())?;
        self.replies.message().await?.ok_or_else(ended)
    }
}
