//! A node as its operator reaches it: over the admin socket.

use std::path::Path;

use signet_model::command::EntryChange;
use signet_model::entry::{EntryId, EntrySpec};
use signet_model::spiffe_id::SpiffeId;
use signet_model::svid::{JwtSvid, TrustBundle, X509Svid};
use tonic::transport::Channel;

use super::ClientError;
use crate::service::{ClusterStatus, EntryFilter, JoinToken};

/// A connection to a node's admin socket. Clones share it.
#[derive(Debug, Clone)]
pub struct AdminClient {
    channel: Channel,
}

/// A registration entry as the wire shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub id: EntryId,
    /// What the operator said.
    pub spec: EntrySpec,
    /// 0 at creation, one more at each update.
    pub revision: u64,
    /// Seconds since the epoch.
    pub created_at_secs: u64,
}

/// What came of one entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryResult {
    /// The entry as it stands now.
    Done(Entry),
    /// It was deleted.
    Deleted(EntryId),
    /// A similar entry exists: this one. Nothing changed.
    Similar(Entry),
    /// Not done.
    Refused(ClientError),
}

impl AdminClient {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// `unreachable`: nobody answers there, or this user may not.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        todo!("{path:?}")
    }

    /// The connection, for calls that are not here.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// All entries that match, in order of their ids.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn entries(&self, filter: &EntryFilter) -> Result<Vec<Entry>, ClientError> {
        todo!("{filter:?}")
    }

    /// How many entries match.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn count_entries(&self, filter: &EntryFilter) -> Result<u32, ClientError> {
        todo!("{filter:?}")
    }

    /// One entry.
    ///
    /// # Errors
    /// What the server answered; `not_found` when there is none.
    pub async fn entry(&self, id: &EntryId) -> Result<Entry, ClientError> {
        todo!("{id}")
    }

    /// Creates entries; those without an id get one. One result per entry, in order.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn create_entries(
        &self,
        entries: Vec<(Option<EntryId>, EntrySpec)>,
    ) -> Result<Vec<EntryResult>, ClientError> {
        todo!("{entries:?}")
    }

    /// Updates entries. One result per change, in order.
    ///
    /// # Errors
    /// What the server answered. All changes of one call must name the same fields.
    pub async fn update_entries(&self, changes: Vec<EntryChange>) -> Result<Vec<EntryResult>, ClientError> {
        todo!("{changes:?}")
    }

    /// Deletes entries. One result per id, in order.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn delete_entries(&self, ids: Vec<EntryId>) -> Result<Vec<EntryResult>, ClientError> {
        todo!("{ids:?}")
    }

    /// An X.509-SVID for the SPIFFE ID in the CSR (PKCS#10, DER). `ttl_secs` 0: the server's default.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn mint_x509_svid(&self, csr: Vec<u8>, ttl_secs: u32) -> Result<X509Svid, ClientError> {
        todo!("{} {ttl_secs}", csr.len())
    }

    /// A JWT-SVID. `ttl_secs` 0: the server's default.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn mint_jwt_svid(
        &self,
        id: &SpiffeId,
        audience: &[String],
        ttl_secs: u32,
    ) -> Result<JwtSvid, ClientError> {
        todo!("{id} {audience:?} {ttl_secs}")
    }

    /// The trust domain's bundle.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn bundle(&self) -> Result<TrustBundle, ClientError> {
        todo!()
    }

    /// Makes the node a cluster of one.
    ///
    /// # Errors
    /// What the server answered; `failed_precondition` when it has a cluster.
    pub async fn init_cluster(&self) -> Result<ClusterStatus, ClientError> {
        todo!()
    }

    /// The cluster as the node sees it; `stale` without a quorum.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn cluster_status(&self) -> Result<ClusterStatus, ClientError> {
        todo!()
    }

    /// A single-use token for a new node. `ttl_secs` 0: an hour.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn create_join_token(&self, ttl_secs: u32) -> Result<JoinToken, ClientError> {
        todo!("{ttl_secs}")
    }

    /// Replaces the exchange policy and answers its version.
    ///
    /// # Errors
    /// What the server answered; `conflict` when another version than `expected_version` is in force.
    pub async fn apply_policy(&self, document: String, expected_version: Option<u64>) -> Result<u64, ClientError> {
        todo!("{document} {expected_version:?}")
    }

    /// The exchange policy and its version; version 0 and an empty text when there is none.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn policy(&self) -> Result<(u64, String), ClientError> {
        todo!()
    }
}
