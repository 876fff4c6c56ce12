//! What the doors need from behind them. `api` parses and answers; the implementation, in the server, drives.

mod authorities;
mod recipients;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use signet_model::caller::Caller;
use signet_model::command::{EntryChange, EntryOutcome};
use signet_model::entry::{EntryId, EntrySpec, RegistrationEntry, Selector};
use signet_model::refusal::Refusal;
use signet_model::request_key::RequestKey;
use signet_model::spiffe_id::{SpiffeId, TrustDomain};
use signet_model::svid::{JwtSvid, TrustBundle, X509Svid};

pub use authorities::{Authorities, AuthorityChange, ForeignKey};
pub use recipients::{RecipientChange, RecipientShown, RecipientsShown};

use crate::ops::Ops;

/// One call: who asked, proven by the door it came through, and how long they will wait.
#[derive(Debug, Clone)]
pub struct Call {
    /// The proven caller.
    pub caller: Caller,
    /// What is left of the caller's deadline, if there is one.
    pub timeout: Option<Duration>,
    /// How fresh what is read must be.
    pub consistency: Consistency,
    /// What makes a retry of a change recognisable, if the caller wants that.
    pub request: Option<RequestKey>,
    /// Where whoever reads for it notes what the answer covers.
    pub covers: Covers,
}

impl Call {
    /// A call by `caller`, with everything else at its default.
    #[must_use]
    pub fn new(caller: Caller) -> Self {
        Self { caller, timeout: None, consistency: Consistency::default(), request: None, covers: Covers::default() }
    }
}

/// How fresh the answer to a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// It covers every change that anybody was told of before the call.
    #[default]
    Linearizable,
    /// What the node has, at once and without asking anybody. It may be old; a node that was cut off does not know how old.
    Stale,
}

/// The log index that an answer covers, noted while it is made.
#[derive(Debug, Clone, Default)]
pub struct Covers(Arc<AtomicU64>);

impl Covers {
    /// Notes that the answer covers the log up to `index`.
    pub fn note(&self, index: u64) {
        self.0.store(index, Ordering::Relaxed);
    }

    /// What was noted.
    #[must_use]
    pub fn get(&self) -> Option<u64> {
        // The first entry of every log makes the cluster: there is nothing to read at 0.
        Some(self.0.load(Ordering::Relaxed)).filter(|index| *index > 0)
    }
}

/// Everything that can be asked of a node. Authorization that depends only on the door (admin socket or TLS port, with
/// or without an SVID) is the door's; what depends on entries and policy is the implementation's.
#[async_trait]
pub trait Service: Ops {
    /// Entries that match, in order of their ids, after `page.after`.
    async fn list_entries(&self, call: &Call, filter: &EntryFilter, page: &Page) -> Result<EntryPage, Refusal>;
    /// How many entries match.
    async fn count_entries(&self, call: &Call, filter: &EntryFilter) -> Result<u32, Refusal>;
    /// One entry.
    async fn entry(&self, call: &Call, id: &EntryId) -> Result<RegistrationEntry, Refusal>;
    /// Creates entries; those without an id get one. One outcome per entry, in order.
    async fn create_entries(
        &self,
        call: &Call,
        entries: Vec<(Option<EntryId>, EntrySpec)>,
    ) -> Result<Vec<EntryOutcome>, Refusal>;
    /// Updates entries. One outcome per change, in order.
    async fn update_entries(&self, call: &Call, changes: Vec<EntryChange>) -> Result<Vec<EntryOutcome>, Refusal>;
    /// Deletes entries. One outcome per id, in order.
    async fn delete_entries(&self, call: &Call, ids: Vec<EntryId>) -> Result<Vec<EntryOutcome>, Refusal>;

    /// Issues an X.509-SVID for the SPIFFE ID in the CSR, without an entry. Administrators only. `ttl_secs` 0: default.
    async fn mint_x509_svid(&self, call: &Call, csr: &[u8], ttl_secs: u32) -> Result<X509Svid, Refusal>;
    /// Issues a JWT-SVID without an entry. Administrators only. `ttl_secs` 0: default.
    async fn mint_jwt_svid(
        &self,
        call: &Call,
        id: &SpiffeId,
        audience: &[String],
        ttl_secs: u32,
    ) -> Result<JwtSvid, Refusal>;
    /// Issues X.509-SVIDs of entries whose parent is the caller. One result per request, in order.
    async fn new_x509_svids(
        &self,
        call: &Call,
        requests: Vec<NewX509Svid>,
    ) -> Result<Vec<Result<X509Svid, Refusal>>, Refusal>;
    /// Issues a JWT-SVID of an entry whose parent is the caller.
    async fn new_jwt_svid(&self, call: &Call, entry: &EntryId, audience: &[String]) -> Result<JwtSvid, Refusal>;

    /// The trust domain's bundle.
    async fn bundle(&self, call: &Call) -> Result<TrustBundle, Refusal>;

    /// Exchanges a token (RFC 8693 with the transaction-token profile). `parameters` is the decoded form, in order and
    /// with duplicates; `call.caller` is the X.509-SVID's holder or `Anonymous`. The answer carries its own status.
    async fn exchange(&self, call: &Call, parameters: Vec<(String, String)>) -> TokenAnswer;
    /// The public keys of transaction tokens as a JWK Set (RFC 7517 §5).
    async fn token_jwks(&self) -> Result<Document, Refusal>;
    /// Metadata of the token endpoint (RFC 8414).
    async fn token_metadata(&self) -> Result<Document, Refusal>;
    /// The SPIFFE bundle document.
    async fn bundle_document(&self) -> Result<Document, Refusal>;

    /// Makes this node a cluster of one with a new trust domain. Refused when it belongs to a cluster.
    async fn init_cluster(&self, call: &Call) -> Result<ClusterStatus, Refusal>;
    /// What this node knows of the cluster, and whether a quorum confirmed it.
    async fn cluster_status(&self, call: &Call) -> Result<ClusterStatus, Refusal>;
    /// Changes a member's part in the cluster.
    async fn change_member(&self, call: &Call, change: MemberChange) -> Result<MembersChanged, Refusal>;
    /// Lets `to`, or the fittest other voter, lead; answers who leads then.
    async fn transfer_leader(&self, call: &Call, to: Option<u64>, how: ChangeHow) -> Result<u64, Refusal>;
    /// Makes this node give up and refuse leadership and no longer be ready, or undoes that.
    async fn drain(&self, call: &Call, undo: bool, dry_run: bool) -> Result<Drained, Refusal>;
    /// Compares the members' logs at an index, or at the last that all who answer have applied.
    async fn cluster_hash(&self, call: &Call, at: Option<u64>) -> Result<ClusterHash, Refusal>;
    /// Sets cluster time back to the median of the members' clocks.
    async fn reset_time(&self, call: &Call, dry_run: bool) -> Result<TimeReset, Refusal>;
    /// A single-use token with which a new node joins: text for a file, a secret.
    async fn create_join_token(&self, call: &Call, ttl_secs: u32) -> Result<JoinToken, Refusal>;

    /// A snapshot of the whole state, at least as new as every write that was acknowledged before the call.
    async fn save_snapshot(&self, call: &Call) -> Result<SnapshotStream, Refusal>;
    /// How this node's scheduled backups go.
    async fn backup_status(&self, call: &Call) -> Result<BackupStatus, Refusal>;

    /// Replaces the exchange policy by this YAML document, and answers its version.
    async fn apply_policy(&self, call: &Call, document: String, expected_version: Option<u64>) -> Result<u64, Refusal>;
    /// The exchange policy and its version; version 0 and an empty text when there is none.
    async fn policy(&self, call: &Call) -> Result<(u64, String), Refusal>;

    /// Every authority, and what is planned.
    async fn authorities(&self, call: &Call) -> Result<Authorities, Refusal>;
    /// Changes an authority. With `dry_run` nothing is changed, and the answer is as it would be.
    async fn change_authority(
        &self,
        call: &Call,
        change: AuthorityChange,
        dry_run: bool,
    ) -> Result<Authorities, Refusal>;

    /// For whom keys are wrapped, and which node can use which.
    async fn recipients(&self, call: &Call) -> Result<RecipientsShown, Refusal>;
    /// Changes the recipients. With `dry_run` nothing is changed, and the answer is as it would be.
    async fn change_recipients(
        &self,
        call: &Call,
        change: RecipientChange,
        dry_run: bool,
    ) -> Result<RecipientsShown, Refusal>;
}

/// Which entries. What is `None` does not restrict.
#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    /// Exactly this identity.
    pub spiffe_id: Option<SpiffeId>,
    /// Exactly this parent.
    pub parent_id: Option<SpiffeId>,
    /// Selectors, compared as said.
    pub selectors: Option<(Vec<Selector>, Match)>,
    /// Foreign trust domains, compared as said.
    pub federates_with: Option<(Vec<TrustDomain>, Match)>,
    /// Exactly this hint.
    pub hint: Option<String>,
    /// Downstream or not.
    pub downstream: Option<bool>,
}

/// How a set in a filter compares with an entry's set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// Both hold the same.
    Exact,
    /// The entry's set lies within the filter's.
    Subset,
    /// The entry's set holds all of the filter's.
    Superset,
    /// They have something in common.
    Any,
}

/// Which part of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// At most this many; 0 for the server's limit.
    pub size: u32,
    /// Only entries with a greater id.
    pub after: Option<EntryId>,
}

/// A part of a list of entries.
#[derive(Debug, Clone)]
pub struct EntryPage {
    /// The entries.
    pub entries: Vec<RegistrationEntry>,
    /// Where the next page begins, if there is one.
    pub next: Option<EntryId>,
}

/// One X.509-SVID to be issued on an entry.
#[derive(Debug, Clone)]
pub struct NewX509Svid {
    /// The entry.
    pub entry: EntryId,
    /// PKCS#10, DER.
    pub csr: Vec<u8>,
}

/// An answer of the token endpoint, ready but for the wire. The body may hold a token, so this does not print it.
pub struct TokenAnswer {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: Vec<u8>,
    /// `WWW-Authenticate`, `Retry-After` and the like.
    pub headers: Vec<(&'static str, String)>,
}

impl std::fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenAnswer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// A public JSON document.
#[derive(Debug, Clone)]
pub struct Document {
    /// JSON.
    pub body: Vec<u8>,
    /// Seconds a client may cache it.
    pub max_age_secs: u32,
}

/// A snapshot on its way out.
pub struct SnapshotStream {
    /// How many bytes it has.
    pub total: u64,
    /// The bytes, in order.
    pub chunks: BoxStream<'static, Result<Bytes, Refusal>>,
}

impl std::fmt::Debug for SnapshotStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotStream").field("total", &self.total).finish_non_exhaustive()
    }
}

/// How a node's scheduled backups go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupStatus {
    /// Where they go; empty when none are configured.
    pub destination: String,
    /// Seconds between them.
    pub interval_secs: u64,
    /// This node takes them now.
    pub active: bool,
    /// The last that went well since the node started.
    pub last_success: Option<BackupDone>,
    /// The last that did not: when, in seconds since the epoch, and why.
    pub last_failure: Option<(u64, String)>,
    /// When the next is due, seconds since the epoch; 0 when this node does not take them.
    pub next_secs: u64,
}

/// A backup that went well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupDone {
    /// When it was done, seconds since the epoch.
    pub at_secs: u64,
    /// The name of its file or object.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// The last log index in it.
    pub index: u64,
}

/// The cluster as one node sees it.
#[derive(Debug, Clone)]
pub struct ClusterStatus {
    /// The cluster's id, empty before `init` or join.
    pub cluster_id: String,
    /// The trust domain.
    pub trust_domain: String,
    /// The node that answers.
    pub answered_by: u64,
    /// The leader, if one is known.
    pub leader: Option<u64>,
    /// The answering node's term.
    pub term: u64,
    /// False when a quorum confirmed this just now.
    pub stale: bool,
    /// The log index of the membership in force, for [`ChangeHow::if_membership`]; 0 if it is not known.
    pub membership: u64,
    /// The members.
    pub nodes: Vec<NodeStatus>,
    /// What operators should look after although the cluster serves, each a sentence.
    pub notes: Vec<String>,
}

/// One member.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    /// Its id.
    pub id: u64,
    /// `leader`, `follower`, `learner` or `unreachable`.
    pub role: &'static str,
    /// The last log index it applied, if it is known.
    pub applied: Option<u64>,
    /// How many entries it is behind the leader's log, if known.
    pub lag: Option<u64>,
    /// Its program's version, if known.
    pub version: Option<String>,
    /// Where its peers reach it.
    pub peer_address: String,
    /// Whether it votes.
    pub voter: bool,
    /// Milliseconds since the leader last heard it, if known.
    pub last_contact_millis: Option<u64>,
    /// It gives up and refuses leadership.
    pub draining: bool,
    /// How many milliseconds its clock is ahead of the median of the members' clocks, if known.
    pub clock_ahead_millis: Option<i64>,
    /// `ok`, or how little room its disk has left, if known.
    pub disk: Option<String>,
}

/// What is to become of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberAction {
    /// It votes.
    Promote,
    /// It keeps its copy of everything and votes no more.
    Demote,
    /// It is removed for good.
    Remove {
        /// The keys it knew are not replaced.
        keep_keys: bool,
    },
}

/// How a change of the membership is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChangeHow {
    /// The membership that the caller has seen; refused if it is another one by now.
    pub if_membership: Option<u64>,
    /// Skips the checks of health, never the arithmetic of the quorum.
    pub force: bool,
    /// Only says what would happen.
    pub dry_run: bool,
}

/// A change of one member's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberChange {
    /// Which.
    pub node: u64,
    /// What is to become of it.
    pub action: MemberAction,
    /// How.
    pub how: ChangeHow,
}

/// The membership after a change, or as it would be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MembersChanged {
    /// Its log index; after a dry run that of the one before.
    pub membership: u64,
    /// Who votes.
    pub voters: Vec<u64>,
    /// Who replicates and does not vote.
    pub learners: Vec<u64>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// After a removal: the keys that the node could open.
    pub known_keys: Vec<KnownKey>,
}

/// A key that every node holds in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// What it signs.
    pub kind: String,
    /// Its name.
    pub id: String,
    /// `prepared`, `active` or `retiring`.
    pub slot: String,
    /// It is being replaced: seconds since the epoch after which no node signs with it, and after which no verifier that
    /// keeps to the refresh hint accepts what it signed.
    pub replaced_secs: Option<(u64, u64)>,
}

/// A node after it was drained, or that was undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// The node that was asked.
    pub node: u64,
    /// Whether it is drained now.
    pub drained: bool,
    /// Who leads, if known.
    pub leader: Option<u64>,
}

/// The members' logs compared at one index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterHash {
    /// Up to and including which entry.
    pub index: u64,
    /// Each member with the running hash of its log there, if it told one.
    pub nodes: Vec<(u64, Option<Vec<u8>>)>,
    /// All that told a hash told the same.
    pub agree: bool,
}

/// Cluster time before and after it was set back, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeReset {
    /// As it was.
    pub before_millis: u64,
    /// As it is; after a dry run the clock of the node that was asked.
    pub after_millis: u64,
}

/// A join token.
pub struct JoinToken {
    /// The text for the file. A secret.
    pub text: String,
    /// When it ends, seconds since the epoch.
    pub expires_at_secs: u64,
}

impl std::fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinToken").field("expires_at_secs", &self.expires_at_secs).finish_non_exhaustive()
    }
}
