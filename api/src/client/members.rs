//! The members of a cluster, as their operator changes and compares them.

use crate::proto::cluster as wire;
use crate::proto::cluster::cluster_client::ClusterClient;
use crate::service::{ChangeHow, ClusterHash, Drained, MemberAction, MemberChange, MembersChanged, TimeReset};
use crate::wire::members;

use super::{AdminClient, ClientError};

impl AdminClient {
    /// Changes a member's part.
    ///
    /// # Errors
    /// What the server answered; `conflict` when the membership is not the one named any more, `failed_precondition` when
    /// the quorum would be lost or a node is not healthy.
    pub async fn change_member(&self, change: MemberChange) -> Result<MembersChanged, ClientError> {
        let (node, how, client) = (change.node, Some(members::from_how(change.how)), self.cluster_client());
        let answer = match change.action {
            MemberAction::Promote => {
                let ask = |request| {
                    let mut client = client.clone();
                    async move { client.promote(request).await }
                };
                self.manner.change(wire::PromoteRequest { node, change: how }, ask).await
            }
            MemberAction::Demote => {
                let ask = |request| {
                    let mut client = client.clone();
                    async move { client.demote(request).await }
                };
                self.manner.change(wire::DemoteRequest { node, change: how }, ask).await
            }
            MemberAction::Remove { keep_keys } => {
                let ask = |request| {
                    let mut client = client.clone();
                    async move { client.remove(request).await }
                };
                self.manner.change(wire::RemoveRequest { node, change: how, keep_keys }, ask).await
            }
        };
        Ok(members::changed(answer?))
    }

    /// Lets `to`, or the fittest other voter, lead; answers who leads then.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn transfer_leader(&self, to: Option<u64>, how: ChangeHow) -> Result<u64, ClientError> {
        let request = wire::TransferLeaderRequest { to, change: Some(members::from_how(how)) };
        Ok(self.cluster_client().transfer_leader(self.ask(request)).await?.into_inner().leader)
    }

    /// Drains the node that this client talks to, or undoes that.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn drain(&self, undo: bool, dry_run: bool) -> Result<Drained, ClientError> {
        let answer = self.cluster_client().drain(self.ask(wire::DrainRequest { undo, dry_run })).await?.into_inner();
        Ok(Drained { node: answer.node, drained: answer.drained, leader: answer.leader })
    }

    /// Compares the members' logs at an index, or at the last that all who answer have applied.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn cluster_hash(&self, at: Option<u64>) -> Result<ClusterHash, ClientError> {
        Ok(members::hash(self.cluster_client().hash(self.ask(wire::HashRequest { at })).await?.into_inner()))
    }

    /// Sets cluster time back to the median of the members' clocks.
    ///
    /// # Errors
    /// What the server answered; `failed_precondition` when it is not ahead.
    pub async fn reset_time(&self, dry_run: bool) -> Result<TimeReset, ClientError> {
        let answer = self.cluster_client().reset_time(self.ask(wire::ResetTimeRequest { dry_run })).await?.into_inner();
        Ok(TimeReset { before_millis: answer.before, after_millis: answer.after })
    }

    fn cluster_client(&self) -> ClusterClient<super::PatientChannel> {
        ClusterClient::new(self.connection())
    }
}
