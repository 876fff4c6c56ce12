//! The handle that the other rooms hold.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use signet_model::caller::Caller;
use signet_model::time::UnixTime;

use crate::config::NodeConfig;
use crate::error::{BarrierError, InitError, JoinError, OpenError, ProposeError};
use crate::machine::StateMachine;
use crate::status::{ClusterStatus, LocalStatus};
use crate::view::View;

/// Which node of which cluster this is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The cluster, 32 hexadecimal digits.
    pub cluster_id: String,
    /// The node; never reused in that cluster.
    pub node_id: u64,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Its place in the log.
    pub index: u64,
    /// Cluster time at which it was applied.
    pub at: UnixTime,
    /// What the state machine said.
    pub outcome: Vec<u8>,
}

/// A new join token. `Debug` leaves the text out: it holds a secret.
#[derive(Clone)]
pub struct NewJoinToken {
    /// What the newcomer needs. Secret.
    pub text: zeroize::Zeroizing<String>,
    /// When it expires, in cluster time.
    pub expires_at: UnixTime,
}

impl std::fmt::Debug for NewJoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewJoinToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// The leader's word that this node is in touch with a quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseGrant {
    /// Local state has applied at least this index.
    pub index: u64,
    /// The leader's cluster time when it granted.
    pub cluster_time: UnixTime,
}

/// A handle to this process's node. Clones are the same node.
#[derive(Debug, Clone)]
pub struct Node;

impl Node {
    /// Opens the stores and binds the peer port. A member starts raft; a newcomer waits for [`init`](Self::init) or
    /// [`join`](Self::join).
    ///
    /// # Errors
    /// See [`OpenError`]; nothing was changed.
    pub async fn open(_config: NodeConfig, _machine: Arc<dyn StateMachine>) -> Result<Self, OpenError> {
        todo!()
    }

    /// Which node this is; `None` while it belongs to no cluster.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        todo!()
    }

    /// The `host:port` by which peers reach this node.
    #[must_use]
    pub fn peer_address(&self) -> String {
        todo!()
    }

    /// Makes a new cluster with this node as its only member.
    ///
    /// # Errors
    /// [`InitError::AlreadyMember`] and [`InitError::Joining`]: nothing was changed.
    pub async fn init(&self) -> Result<Identity, InitError> {
        todo!()
    }

    /// Makes a single-use token with which one newcomer may join within `ttl`.
    ///
    /// # Errors
    /// As [`propose`](Self::propose).
    pub async fn create_join_token(
        &self,
        _caller: &Caller,
        _ttl: Duration,
        _timeout: Duration,
    ) -> Result<NewJoinToken, ProposeError> {
        todo!()
    }

    /// Joins the cluster that made the token and returns when this node votes. After an interruption the same call goes
    /// on where it stopped.
    ///
    /// # Errors
    /// See [`JoinError`]; each says what to do.
    pub async fn join(&self, _token_text: &str) -> Result<Identity, JoinError> {
        todo!()
    }

    /// Proposes a command, here or through the leader, and returns when local state has applied it.
    ///
    /// # Errors
    /// [`ProposeError::Unknown`]: the command may or may not take effect; every other error: it does not.
    pub async fn propose(&self, _command: Vec<u8>, _timeout: Duration) -> Result<Applied, ProposeError> {
        todo!()
    }

    /// Returns, with the applied index, when local state covers every write that anyone was told of before the call.
    ///
    /// # Errors
    /// No leader with a quorum, or this node lags; retry.
    pub async fn barrier(&self, _timeout: Duration) -> Result<u64, BarrierError> {
        todo!()
    }

    /// One consistent view of local state, as fresh as this node is.
    #[must_use]
    pub fn view(&self) -> View {
        todo!()
    }

    /// Asks the leader to confirm with a quorum that it leads, and waits until local state has reached its index.
    ///
    /// # Errors
    /// As [`barrier`](Self::barrier).
    pub async fn lease(&self, _timeout: Duration) -> Result<LeaseGrant, BarrierError> {
        todo!()
    }

    /// What this node knows without asking anybody.
    #[must_use]
    pub fn local_status(&self) -> LocalStatus {
        todo!()
    }

    /// Asks every member how it is.
    pub async fn cluster_status(&self, _timeout: Duration) -> ClusterStatus {
        todo!()
    }

    /// Resolves, with the cause, when the raft core has died: the process must stop. Pending for ever otherwise.
    pub fn failed(&self) -> impl Future<Output = String> + Send + 'static {
        std::future::pending()
    }

    /// Hands leadership over if this node leads, stops raft and the peer listener, and closes the stores.
    pub async fn shutdown(&self, _deadline: Duration) {
        todo!()
    }
}
