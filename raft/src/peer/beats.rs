//! Heartbeats to one peer, over a stream that stays open while all goes well.
//!
//! A call has headers, a route, a task and trailers on both sides, which was much of what an idle cluster did. When a stream
//! breaks, the next heartbeat is a call of its own: its refusal says more.
//!
//! Whoever waits for an answer gives up after one interval. The heartbeat itself must not be taken back then: a follower
//! that is late because it is busy would never hear of its leader, and stand for election. So its answer is still waited
//! for, and passed over, since an answer belongs to its question.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
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
    /// The last call was answered, so a stream is being opened; by a call until it is there.
    Opening(JoinHandle<Result<Box<Stream>, Status>>),
    /// Over this stream.
    Stream(Box<Stream>),
    /// By a call: the peer's program is older than streams of heartbeats.
    CallOnly,
}

/// An open stream.
pub(crate) struct Stream {
    requests: mpsc::Sender<AppendRequest>,
    replies: Streaming<AppendReply>,
    /// Questions that are not answered yet. Answers come in order.
    owed: usize,
}

impl Beats {
    /// Sends one heartbeat by `client`, and returns the answer to it. Who waits may stop waiting.
    pub(crate) async fn send(
        &mut self,
        client: Client,
        request: AppendRequest,
    ) -> Result<Response<AppendReply>, Status> {
        if let Self::Opening(opening) = self
            && opening.is_finished()
        {
            *self = match opening.await {
                Ok(Ok(stream)) => Self::Stream(stream),
                Ok(Err(status)) if status.code() == Code::Unimplemented => Self::CallOnly,
                Ok(Err(_)) | Err(_) => Self::Call,
            };
        }
        if let Self::Stream(stream) = self {
            let answer = stream.ask(request).await;
            if answer.is_err() {
                *self = Self::Call;
            }
            return answer.map(Response::new);
        }
        let answer = call(client.clone(), request).await?;
        if matches!(self, Self::Call) {
            *self = Self::Opening(tokio::spawn(Stream::open(client)));
        }
        Ok(answer)
    }
}

/// A call that goes on when nobody waits for it any more.
async fn call(mut client: Client, request: AppendRequest) -> Result<Response<AppendReply>, Status> {
    let asked = tokio::spawn(async move { timeout(PATIENCE, client.heartbeat(request)).await });
    match asked.await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => Err(Status::unavailable("a heartbeat was not answered")),
    }
}

impl Stream {
    async fn open(mut client: Client) -> Result<Box<Self>, Status> {
        let (requests, queue) = mpsc::channel(MOST_OWED);
        let opened = timeout(PATIENCE, client.heartbeats(ReceiverStream::new(queue))).await;
        let replies = opened.map_err(|_| Status::unavailable("the stream of heartbeats did not open"))??.into_inner();
        Ok(Box::new(Self { requests, replies, owed: 0 }))
    }

    /// Whoever hears an error of it must not ask again; whoever stops waiting may.
    async fn ask(&mut self, request: AppendRequest) -> Result<AppendReply, Status> {
        let ended = || Status::unavailable("the stream of heartbeats has ended");
        if self.owed >= MOST_OWED {
            return Err(Status::unavailable(format!("{MOST_OWED} heartbeats were not answered")));
        }
        self.requests.try_send(request).map_err(|_| ended())?;
        self.owed += 1;
        loop {
            let reply = self.replies.message().await?.ok_or_else(ended)?;
            self.owed -= 1;
            if self.owed == 0 {
                return Ok(reply);
            }
        }
    }
}

/// A heartbeat that is not answered for so long will not be.
const PATIENCE: Duration = Duration::from_secs(1);
/// Heartbeats under way on a stream: about as long.
const MOST_OWED: usize = 32;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll};

    use bytes::{BufMut, Bytes, BytesMut};
    use http::StatusCode;
    use hyper::body::{Body, Frame};
    use prost::Message;
    use tonic_prost::ProstDecoder;

    use super::*;

    /// What the other end has answered so far.
    #[derive(Clone, Default)]
    struct Answers(Arc<Mutex<VecDeque<u64>>>);

    impl Body for Answers {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let Some(clock_millis) = self.0.lock().unwrap().pop_front() else {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            };
            let reply = AppendReply { clock_millis, ..AppendReply::default() }.encode_to_vec();
            let mut frame = BytesMut::new();
            frame.put_u8(0);
            frame.put_u32(u32::try_from(reply.len()).unwrap());
            frame.put_slice(&reply);
            Poll::Ready(Some(Ok(Frame::data(frame.freeze()))))
        }
    }

    fn stream() -> (Stream, mpsc::Receiver<AppendRequest>, Answers) {
        let (requests, queue) = mpsc::channel(MOST_OWED);
        let answers = Answers::default();
        let decoder = ProstDecoder::<AppendReply>::default();
        let replies = Streaming::new_response(decoder, answers.clone(), StatusCode::OK, None, None);
        (Stream { requests, replies, owed: 0 }, queue, answers)
    }

    async fn ask(stream: &mut Stream) -> Result<Result<u64, Status>, tokio::time::error::Elapsed> {
        let asked = stream.ask(AppendRequest::default());
        timeout(Duration::from_millis(30), asked).await.map(|answer| answer.map(|reply| reply.clock_millis))
    }

    #[tokio::test]
    async fn a_heartbeat_nobody_waits_for_is_not_taken_back_and_its_answer_is_nobody_elses() {
        let (mut stream, mut sent, answers) = stream();
        assert!(ask(&mut stream).await.is_err(), "not answered in time");
        assert!(ask(&mut stream).await.is_err(), "nor this one");
        answers.0.lock().unwrap().extend([1, 2]);
        assert!(ask(&mut stream).await.is_err(), "those were answers to the first two");
        answers.0.lock().unwrap().extend([3, 4]);
        assert_eq!(ask(&mut stream).await.unwrap().unwrap(), 4);
        for _ in 0..4 {
            sent.try_recv().unwrap();
        }
    }

    #[tokio::test]
    async fn a_stream_that_answers_nothing_any_more_is_given_up() {
        let (mut stream, _sent, _answers) = stream();
        for _ in 0..MOST_OWED {
            assert!(timeout(Duration::ZERO, stream.ask(AppendRequest::default())).await.is_err());
        }
        assert_eq!(ask(&mut stream).await.unwrap().unwrap_err().code(), Code::Unavailable);
    }
}
