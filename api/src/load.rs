//! How much callers can make a server hold at a time. What is beyond it is refused at once and with a hint when to come
//! back, so that memory is bounded and those who were let in are served.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use signet_model::refusal::{Reason, Refusal};
use tokio::time::Sleep;
use tonic::Status;

use crate::connections::Limits;
use crate::status;

/// What several listeners may hold together. Clones share it.
#[derive(Debug, Clone)]
pub struct Total {
    requests: Arc<Bound>,
    refused: Arc<AtomicU64>,
}

impl Total {
    /// So many requests at a time.
    #[must_use]
    pub fn new(requests: usize) -> Self {
        Self { requests: Arc::new(Bound::new(requests)), refused: Arc::default() }
    }

    /// Requests under way now.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.used.load(Ordering::Relaxed)
    }

    /// Requests that were refused because there were too many, since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// What one listener holds.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    requests: Arc<Bound>,
    bytes: Arc<Bound>,
    total: Total,
    /// How long a request's body may take to arrive.
    patience: Duration,
}

impl Load {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            requests: Arc::new(Bound::new(limits.requests)),
            bytes: Arc::new(Bound::new(limits.request_bytes)),
            total: limits.total.clone(),
            patience: limits.request,
        }
    }

    /// Lets one request in, until the slot is dropped.
    pub(crate) fn admit(&self) -> Result<Arc<Slot>, Refusal> {
        if !self.requests.take(1) {
            return Err(self.refuse(self.requests.limit, "this door"));
        }
        if !self.total.requests.take(1) {
            self.requests.give(1);
            return Err(self.refuse(self.total.requests.limit, "this node"));
        }
        Ok(Arc::new(Slot { load: self.clone(), bytes: AtomicUsize::new(0) }))
    }

    fn refuse(&self, limit: usize, who: &str) -> Refusal {
        self.total.refused.fetch_add(1, Ordering::Relaxed);
        let detail = format!(
            "{who} has {limit} requests under way, which is its limit; nothing was done: retry after a pause, here or at another node"
        );
        Refusal::new(Reason::ResourceExhausted, detail)
    }
}

/// The place of one request that was let in.
#[derive(Debug)]
pub(crate) struct Slot {
    load: Load,
    /// Of its body, what arrived.
    bytes: AtomicUsize,
}

impl Slot {
    /// Counts bytes of the request's body; false when the listener holds too many.
    fn hold(&self, count: usize) -> bool {
        let room = self.load.bytes.take(count);
        if room {
            self.bytes.fetch_add(count, Ordering::Relaxed);
        } else {
            self.load.total.refused.fetch_add(1, Ordering::Relaxed);
        }
        room
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.load.bytes.give(*self.bytes.get_mut());
        self.load.total.requests.give(1);
        self.load.requests.give(1);
    }
}

/// A count that does not go beyond its limit.
#[derive(Debug)]
struct Bound {
    used: AtomicUsize,
    limit: usize,
}

impl Bound {
    fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    fn take(&self, count: usize) -> bool {
        let before = self.used.fetch_add(count, Ordering::Relaxed);
        let room = before.saturating_add(count) <= self.limit;
        if !room {
            self.give(count);
        }
        room
    }

    fn give(&self, count: usize) {
        self.used.fetch_sub(count, Ordering::Relaxed);
    }
}

/// A request's body that counts what arrives and does not wait for ever.
pub(crate) struct Metered {
    body: Incoming,
    slot: Option<Arc<Slot>>,
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Metered {
    pub(crate) fn new(body: Incoming, slot: Option<Arc<Slot>>, load: &Load) -> Self {
        Self { body, slot, patience: load.patience, waiting: None }
    }
}

impl Body for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let count = frame.data_ref().map_or(0, Bytes::len);
                let room = self.slot.as_ref().is_none_or(|slot| slot.hold(count));
                Poll::Ready(Some(if room { Ok(frame) } else { Err(status::to_grpc(&too_much())) }))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Status::from_error(Box::new(error))))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => {
                let patience = self.patience;
                let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                waiting.as_mut().poll(cx).map(|()| Some(Err(status::to_grpc(&too_slow()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response's body with the slot of its request: it counts until its reader has taken it.
pub(crate) struct Held<B> {
    pub(crate) body: B,
    pub(crate) _slot: Option<Arc<Slot>>,
}

impl<B: Body + Unpin> Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn too_much() -> Refusal {
    Refusal::new(
        Reason::ResourceExhausted,
        "this door holds as many bytes of requests as it may; nothing was done: retry after a pause, here or at another node",
    )
}

fn too_slow() -> Refusal {
    Refusal::new(Reason::DeadlineExceeded, "the request's body did not arrive in time; nothing was done")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(requests: usize, total: &Total) -> Load {
        Load::new(&Limits { requests, request_bytes: 10, total: total.clone(), ..Limits::default() })
    }

    #[test]
    fn a_listener_keeps_to_its_own_limit_and_to_the_total() {
        let total = Total::new(3);
        let (one, other) = (load(2, &total), load(2, &total));
        let first = one.admit().unwrap();
        let _second = one.admit().unwrap();
        assert_eq!(one.admit().unwrap_err().reason, Reason::ResourceExhausted);
        let _third = other.admit().unwrap();
        assert!(other.admit().unwrap_err().detail.starts_with("this node has 3 requests"));
        assert_eq!((total.requests(), total.refused()), (3, 2));
        drop(first);
        let _again = other.admit().unwrap();
        assert_eq!(total.requests(), 3);
    }

    #[test]
    fn a_slot_gives_back_the_bytes_it_held() {
        let load = load(9, &Total::new(9));
        let (first, second) = (load.admit().unwrap(), load.admit().unwrap());
        assert!(first.hold(6) && second.hold(4));
        assert!(!second.hold(1));
        drop(first);
        assert!(second.hold(6));
    }
}
