//! What operators do to a cluster's members through the handle.

use std::future::Future;
use std::sync::PoisonError;
use std::time::Duration;

use signet_model::time::UnixTime;

use super::Node;
use crate::error::OpenError;
use crate::member::{Done, Part, Wanted};
use crate::membership::{Change, ChangeError, Changed};

impl Node {
    /// Makes `node` a voter; a newcomer that is only registered becomes a learner first. From any node.
    ///
    /// # Errors
    /// See [`ChangeError`]; only after [`ChangeError::Unknown`] may it have happened.
    pub async fn promote(&self, node: u64, change: Change, timeout: Duration) -> Result<Changed, ChangeError> {
        self.change(node, Part::Voter, change, timeout).await
    }

    /// Makes `node` a learner: it keeps its copy of everything and votes no more. From any node.
    ///
    /// # Errors
    /// As [`promote`](Self::promote).
    pub async fn demote(&self, node: u64, change: Change, timeout: Duration) -> Result<Changed, ChangeError> {
        self.change(node, Part::Learner, change, timeout).await
    }

    /// Removes `node` for good and cuts it off. A leader hands over first. From any node.
    ///
    /// # Errors
    /// As [`promote`](Self::promote).
    pub async fn remove(&self, node: u64, change: Change, timeout: Duration) -> Result<Changed, ChangeError> {
        self.change(node, Part::Removed, change, timeout).await
    }

    async fn change(&self, node: u64, part: Part, change: Change, wait: Duration) -> Result<Changed, ChangeError> {
        match self.ask_for(Wanted::Part { node, part, change }, wait).await? {
            Done::Changed(changed) => Ok(changed),
            Done::Leads(_) | Done::Time(..) => Err(ChangeError::Unknown),
        }
    }

    /// Lets `to`, or the fittest other voter, lead, and returns who leads then. From any node.
    ///
    /// # Errors
    /// As [`promote`](Self::promote).
    pub async fn transfer_leadership(&self, to: Option<u64>, timeout: Duration) -> Result<u64, ChangeError> {
        match self.ask_for(Wanted::Lead { to }, timeout).await? {
            Done::Leads(leader) => Ok(leader),
            Done::Changed(_) | Done::Time(..) => Err(ChangeError::Unknown),
        }
    }

    /// Sets cluster time, which otherwise never goes back, to the median of the members' clocks, and returns it as it was
    /// and as it is. For when a wrong clock has driven it ahead: until the clocks had caught up it would stand still.
    ///
    /// What had expired by the wrong time and is still stored lives again until its end; what was deleted meanwhile stays
    /// deleted; what was given an end while the time was wrong keeps that end.
    ///
    /// # Errors
    /// [`ChangeError::NotHealthy`] if cluster time is not more than two seconds ahead; otherwise as
    /// [`promote`](Self::promote).
    pub async fn reset_cluster_time(&self, timeout: Duration) -> Result<(UnixTime, UnixTime), ChangeError> {
        match self.ask_for(Wanted::ResetTime, timeout).await? {
            Done::Time(before, now) => Ok((before, now)),
            Done::Changed(_) | Done::Leads(_) => Err(ChangeError::Unknown),
        }
    }

    async fn ask_for(&self, wanted: Wanted, wait: Duration) -> Result<Done, ChangeError> {
        if self.inner.stop.is_cancelled() {
            return Err(ChangeError::ShuttingDown);
        }
        let member = self.member().ok_or(ChangeError::NotMember)?;
        member.ask_for(wanted, wait).await
    }

    /// This node gives up leadership and refuses it until [`undrain`](Self::undrain) or a restart; returns at once. It
    /// leads all the same while nobody else can.
    pub fn drain(&self) {
        self.inner.draining.send_replace(true);
    }

    /// Undoes [`drain`](Self::drain).
    pub fn undrain(&self) {
        self.inner.draining.send_replace(false);
    }

    /// Resolves when this node has learnt that it was removed from its cluster: the process must stop. Pending for ever
    /// otherwise.
    pub fn removed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut removed = self.inner.removed.subscribe();
        async move {
            if removed.wait_for(|removed| *removed).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// What to tell the operator when [`removed`](Self::removed) has resolved.
    #[must_use]
    pub fn removal(&self) -> OpenError {
        let record = self.inner.record.lock().unwrap_or_else(PoisonError::into_inner);
        match record.as_ref() {
            Some(record) => record.removed(&self.inner.config.data_dir),
            None => OpenError::Raft("this node belongs to no cluster".into()),
        }
    }
}
