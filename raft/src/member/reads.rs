//! Linearizable read barriers: one round to the leader for all who wait.

use std::sync::Weak;
use std::time::Duration;

use openraft::ReadPolicy;
use signet_model::time::UnixTime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::propose::superseded;
use super::{Member, news};
use crate::error::BarrierError;
use crate::peer::{Lane, proto};

/// What must be applied before a read that sees every write acknowledged before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadPoint {
    pub(crate) index: u64,
    /// The leader's cluster time when a quorum had confirmed it.
    pub(crate) time: UnixTime,
}

/// Someone who waits for a read point that is newer than their question.
pub(crate) type Waiter = oneshot::Sender<ReadPoint>;

impl Member {
    /// Returns when the state covers every write that was acknowledged before the call.
    pub(crate) async fn barrier(&self, wait: Duration) -> Result<ReadPoint, BarrierError> {
        let deadline = Instant::now() + wait;
        let (waiter, coming) = oneshot::channel();
        self.reads.try_send(waiter).map_err(|_| BarrierError::NoQuorum)?;
        let point = match timeout_at(deadline, coming).await {
            Ok(Ok(point)) => point,
            Ok(Err(_)) => return Err(BarrierError::ShuttingDown),
            Err(_) => return Err(BarrierError::NoQuorum),
        };
        match timeout_at(deadline, self.state.progress.reached(point.index)).await {
            Ok(true) => Ok(point),
            Ok(false) => Err(BarrierError::ShuttingDown),
            Err(_) => Err(BarrierError::Behind),
        }
    }

    /// The read point, if this node leads and a quorum confirms it now.
    pub(crate) async fn read_point_here(&self) -> Option<ReadPoint> {
        timeout(ROUND, self.read_point_confirmed()).await.ok()?
    }

    async fn read_point_confirmed(&self) -> Option<ReadPoint> {
        // In this order: an index of a later leadership than the vote's is not confirmed, nor one that was overtaken.
        let vote = self.own_leadership()?;
        let linearizer = match self.raft.get_read_linearizer(ReadPolicy::LeaseRead).await {
            Ok(linearizer) => linearizer,
            // The lease has run out, as on a leader that is new or was paused.
            Err(_) => self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?,
        };
        let index = linearizer.read_log_id().index();
        self.confirmed(vote).await.then(|| ReadPoint { index, time: self.cluster_time_now() })
    }

    async fn read_point_from(&self, leader: u64) -> Option<ReadPoint> {
        let mut client = self.links.client(leader, Lane::Calls)?;
        let request = proto::ReadIndexRequest { envelope: Some(self.directory.envelope(leader)) };
        let mut leadership = self.leadership();
        let reply = tokio::select! {
            reply = timeout(ROUND, client.read_index(request)) => reply.ok()?.ok()?.into_inner(),
            () = superseded(leader, &mut leadership) => return None,
        };
        let time = UnixTime::from_millis(reply.cluster_time_millis);
        reply.confirmed.then_some(ReadPoint { index: reply.index, time })
    }
}

/// Answers waiters in rounds until the member is gone.
pub(crate) async fn serve(member: Weak<Member>, mut queue: mpsc::Receiver<Waiter>) {
    let mut waiting = Vec::new();
    loop {
        if waiting.is_empty() {
            match queue.recv().await {
                Some(waiter) => waiting.push(waiter),
                None => return,
            }
        }
        // Whoever asked before the round begins may use it; later ones must not.
        while let Ok(waiter) = queue.try_recv() {
            waiting.push(waiter);
        }
        let Some(member) = member.upgrade() else { return };
        let mut leadership = member.leadership();
        let leader = leadership.borrow_and_update().leader;
        let point = match leader {
            Some(leader) if leader == member.id => member.read_point_here().await,
            Some(leader) => member.read_point_from(leader).await,
            None => None,
        };
        drop(member);
        match point {
            Some(point) => {
                for waiter in waiting.drain(..) {
                    let _ = waiter.send(point);
                }
            }
            None => {
                news(&mut leadership, Instant::now() + RETRY).await;
                waiting.retain(|waiter| !waiter.is_closed());
            }
        }
    }
}

/// One round; a leader that takes longer is asked again.
const ROUND: Duration = Duration::from_millis(1000);
const RETRY: Duration = Duration::from_millis(20);
