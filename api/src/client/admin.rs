//! A node as its operator reaches it: over the admin socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use signet_model::command::{EntryChange, EntryFields};
use signet_model::entry::{EntryId, EntrySpec};
use signet_model::refusal::Reason;
use signet_model::spiffe_id::SpiffeId;
use signet_model::svid::{JwtSvid, TrustBundle, X509Svid};
use signet_model::time::UnixTime;
use tokio::net::UnixStream;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use super::ask::Manner;
use super::{ClientError, PatientChannel};
use crate::proto::bundle::GetBundleRequest;
use crate::proto::bundle::bundle_client::BundleClient;
use crate::proto::cluster::cluster_client::ClusterClient;
use crate::proto::cluster::{CreateJoinTokenRequest, InitRequest, StatusRequest};
use crate::proto::entry::entry_client::EntryClient;
use crate::proto::entry::{
    BatchCreateEntryRequest, BatchDeleteEntryRequest, BatchUpdateEntryRequest, CountEntriesRequest, GetEntryRequest,
    ListEntriesRequest,
};
use crate::proto::policy::policy_client::PolicyClient;
use crate::proto::policy::{ApplyRequest, ShowRequest, TokenKeysRequest};
use crate::proto::svid::svid_client::SvidClient;
use crate::proto::svid::{MintJwtsvidRequest, MintX509svidRequest};
use crate::proto::types;
use crate::service::{ClusterStatus, EntryFilter, JoinToken};
use crate::wire;
use crate::wire::filter::{from_filter, to_count};

/// A connection to a node's admin socket. Clones share it.
#[derive(Debug, Clone)]
pub struct AdminClient {
    channel: Channel,
    pub(super) manner: Manner,
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
    /// When it was made, in whole seconds.
    pub created_at: UnixTime,
    /// Who made the latest change, as proven at the node where they asked.
    pub changed_by: String,
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
    /// Connects to the socket at `path`. The connection is made again when it ends.
    ///
    /// # Errors
    /// `unreachable`: nobody answers there, or this user may not.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        let socket: PathBuf = path.to_owned();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        // The name plays no part; HTTP/2 wants one.
        let channel =
            tuned(Endpoint::from_static("http://admin.invalid")).connect_with_connector(connector).await.map_err(
                |e| ClientError::unreachable(&format!("cannot connect to the admin socket {}", path.display()), &e),
            )?;
        Ok(Self { channel, manner: Manner::default() })
    }

    /// Calls wait this long from now on, and the server knows it: it answers in time, and says what it waited for.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { manner: self.manner.with_timeout(timeout), ..self }
    }

    /// Changes are asked for under this key, so that a later process can ask again and the change is made once. A key
    /// belongs to one change. Without this each change gets a random key, which only this client's own retries use.
    ///
    /// # Errors
    /// `invalid_argument`: it cannot be sent.
    pub fn with_idempotency_key(self, key: &str) -> Result<Self, ClientError> {
        Ok(Self { manner: self.manner.with_key(key)?, ..self })
    }

    /// Entries and policy are read from what the node has, at once and without asking anybody.
    #[must_use]
    pub fn stale(self) -> Self {
        Self { manner: self.manner.stale(), ..self }
    }

    /// The lowest log index that the answers of a [`stale`](Self::stale) client cover so far.
    #[must_use]
    pub fn stale_index(&self) -> Option<u64> {
        self.manner.stale_index()
    }

    /// The bare connection, for calls that are not here.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(super) fn connection(&self) -> PatientChannel {
        PatientChannel(self.channel())
    }

    /// All entries that match, in order of their ids.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn entries(&self, filter: &EntryFilter) -> Result<Vec<Entry>, ClientError> {
        let mut client = self.entry_client();
        let mut found = Vec::new();
        let mut token = String::new();
        loop {
            let request = ListEntriesRequest {
                filter: Some(from_filter(filter)),
                output_mask: None,
                page_size: PAGE_SIZE,
                page_token: std::mem::take(&mut token),
            };
            let page = self.manner.noted(client.list_entries(self.manner.read(request)).await?);
            for entry in page.entries {
                found.push(Entry::read(entry)?);
            }
            if page.next_page_token.is_empty() {
                return Ok(found);
            }
            token = page.next_page_token;
        }
    }

    /// How many entries match.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn count_entries(&self, filter: &EntryFilter) -> Result<u32, ClientError> {
        let request = CountEntriesRequest { filter: Some(to_count(from_filter(filter))) };
        let answer = self.entry_client().count_entries(self.manner.read(request)).await?;
        let count = self.manner.noted(answer).count;
        u32::try_from(count).map_err(ClientError::protocol)
    }

    /// One entry.
    ///
    /// # Errors
    /// What the server answered; `not_found` when there is none.
    pub async fn entry(&self, id: &EntryId) -> Result<Entry, ClientError> {
        let request = GetEntryRequest { id: id.to_string(), output_mask: None };
        Entry::read(self.manner.noted(self.entry_client().get_entry(self.manner.read(request)).await?))
    }

    /// Creates entries; those without an id get one. One result per entry, in order.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn create_entries(
        &self,
        entries: Vec<(Option<EntryId>, EntrySpec)>,
    ) -> Result<Vec<EntryResult>, ClientError> {
        let entries = entries.into_iter().map(|(id, spec)| wire::entry::from_spec(id.as_ref(), spec));
        let request = BatchCreateEntryRequest { entries: entries.collect(), output_mask: None };
        let client = self.entry_client();
        let ask = |request| {
            let mut client = client.clone();
            async move { client.batch_create_entry(request).await }
        };
        let results = self.manner.change(request, ask).await?.results;
        results.into_iter().map(|result| EntryResult::read(result.status, result.entry)).collect()
    }

    /// Updates entries. One result per change, in order.
    ///
    /// # Errors
    /// What the server answered. `invalid_argument`: the changes of one call do not all name the same fields, which is
    /// all the wire can say.
    pub async fn update_entries(&self, changes: Vec<EntryChange>) -> Result<Vec<EntryResult>, ClientError> {
        let fields = changes.first().map_or(EntryFields::ALL, |change| change.fields);
        if changes.iter().any(|change| change.fields != fields) {
            return Err(ClientError::invalid("all changes of one call must name the same fields"));
        }
        let entries = changes.into_iter().map(|change| wire::entry::from_spec(Some(&change.id), change.spec));
        let request = BatchUpdateEntryRequest {
            entries: entries.collect(),
            input_mask: Some(wire::mask::from_fields(fields)),
            output_mask: None,
        };
        let client = self.entry_client();
        let ask = |request| {
            let mut client = client.clone();
            async move { client.batch_update_entry(request).await }
        };
        let results = self.manner.change(request, ask).await?.results;
        results.into_iter().map(|result| EntryResult::read(result.status, result.entry)).collect()
    }

    /// Deletes entries. One result per id, in order.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn delete_entries(&self, ids: Vec<EntryId>) -> Result<Vec<EntryResult>, ClientError> {
        let request = BatchDeleteEntryRequest { ids: ids.iter().map(ToString::to_string).collect() };
        let client = self.entry_client();
        let ask = |request| {
            let mut client = client.clone();
            async move { client.batch_delete_entry(request).await }
        };
        let results = self.manner.change(request, ask).await?.results;
        let read = |(result, id): (crate::proto::entry::batch_delete_entry_response::Result, EntryId)| {
            ClientError::of_item(result.status).map_or(EntryResult::Deleted(id), EntryResult::Refused)
        };
        Ok(results.into_iter().zip(ids).map(read).collect())
    }

    /// An X.509-SVID for the SPIFFE ID in the CSR (PKCS#10, DER). `ttl_secs` 0: the server's default.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn mint_x509_svid(&self, csr: Vec<u8>, ttl_secs: u32) -> Result<X509Svid, ClientError> {
        let request = MintX509svidRequest { csr, ttl: ttl(ttl_secs)? };
        let answer = SvidClient::new(self.connection()).mint_x509svid(self.ask(request)).await?.into_inner();
        wire::svid::x509(answer.svid).map_err(ClientError::protocol)
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
        let request =
            MintJwtsvidRequest { id: Some(wire::from_spiffe_id(id)), audience: audience.to_vec(), ttl: ttl(ttl_secs)? };
        let answer = SvidClient::new(self.connection()).mint_jwtsvid(self.ask(request)).await?.into_inner();
        wire::svid::jwt(answer.svid).map_err(ClientError::protocol)
    }

    /// The trust domain's bundle.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn bundle(&self) -> Result<TrustBundle, ClientError> {
        let answer =
            BundleClient::new(self.connection()).get_bundle(self.ask(GetBundleRequest { output_mask: None })).await?;
        wire::bundle::bundle(answer.into_inner()).map_err(ClientError::protocol)
    }

    /// Makes the node a cluster of one.
    ///
    /// # Errors
    /// What the server answered; `failed_precondition` when it has a cluster.
    pub async fn init_cluster(&self) -> Result<ClusterStatus, ClientError> {
        let answer = ClusterClient::new(self.connection()).init(self.ask(InitRequest {})).await?.into_inner();
        answer.status.map(wire::cluster::status).ok_or_else(|| ClientError::protocol("it holds no status"))
    }

    /// The cluster as the node sees it; `stale` without a quorum.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn cluster_status(&self) -> Result<ClusterStatus, ClientError> {
        let answer = ClusterClient::new(self.connection()).status(self.ask(StatusRequest {})).await?.into_inner();
        answer.status.map(wire::cluster::status).ok_or_else(|| ClientError::protocol("it holds no status"))
    }

    /// A single-use token for a new node. `ttl_secs` 0: an hour.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn create_join_token(&self, ttl_secs: u32) -> Result<JoinToken, ClientError> {
        let request = CreateJoinTokenRequest { ttl: ttl_secs };
        let connection = self.connection();
        let ask = |request| {
            let mut client = ClusterClient::new(connection.clone());
            async move { client.create_join_token(request).await }
        };
        let token = self.manner.change(request, ask).await?;
        Ok(JoinToken { text: token.token, expires_at_secs: token.expires_at })
    }

    /// Replaces the exchange policy and answers its version.
    ///
    /// # Errors
    /// What the server answered; `conflict` when another version than `expected_version` is in force.
    pub async fn apply_policy(&self, document: String, expected_version: Option<u64>) -> Result<u64, ClientError> {
        let request = ApplyRequest { document, expected_version };
        let connection = self.connection();
        let ask = |request| {
            let mut client = PolicyClient::new(connection.clone());
            async move { client.apply(request).await }
        };
        Ok(self.manner.change(request, ask).await?.version)
    }

    /// The exchange policy and its version; version 0 and an empty text when there is none.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn policy(&self) -> Result<(u64, String), ClientError> {
        let answer = PolicyClient::new(self.connection()).show(self.manner.read(ShowRequest {})).await?;
        let policy = self.manner.noted(answer);
        Ok((policy.version, policy.document))
    }

    /// The public keys of transaction tokens, a JWK Set.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn token_keys(&self) -> Result<Vec<u8>, ClientError> {
        let answer = PolicyClient::new(self.connection()).token_keys(self.ask(TokenKeysRequest {})).await?;
        Ok(answer.into_inner().jwks)
    }

    /// A request that says how long its sender waits.
    pub(super) fn ask<T>(&self, message: T) -> Request<T> {
        self.manner.ask(message)
    }

    fn entry_client(&self) -> EntryClient<PatientChannel> {
        EntryClient::new(self.connection()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }
}

impl Entry {
    fn read(entry: types::Entry) -> Result<Self, ClientError> {
        let changed_by = entry.signet_changed_by.clone();
        let (id, spec, revision, created_at) = wire::entry::read(entry).map_err(|e| ClientError::protocol(e.detail))?;
        Ok(Self { id, spec, revision, created_at, changed_by })
    }
}

impl EntryResult {
    fn read(status: Option<types::Status>, entry: Option<types::Entry>) -> Result<Self, ClientError> {
        match (ClientError::of_item(status), entry) {
            (None, Some(entry)) => Entry::read(entry).map(Self::Done),
            (None, None) => Err(ClientError::protocol("a result without an entry")),
            (Some(refused), Some(entry)) if refused.reason() == Some(Reason::AlreadyExists) => {
                Entry::read(entry).map(Self::Similar)
            }
            (Some(refused), _) => Ok(Self::Refused(refused)),
        }
    }
}

fn ttl(secs: u32) -> Result<i32, ClientError> {
    i32::try_from(secs).map_err(|_| ClientError::invalid("the TTL is too long"))
}

/// Settings that suit many small calls over one connection.
pub(super) fn tuned(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(super::connector::CONNECT_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_while_idle(true)
}

const PAGE_SIZE: i32 = 500;
const MAX_ANSWER_BYTES: usize = 64 << 20;
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
