//! Commands: everything that changes replicated state, and what comes of it.
//!
//! Change log of the stored form:
//! - 2026-11-22: commands 0 to 6.
//! - 2026-11-22: a proposal's field 2, command 7, outcome 5: idempotency keys.
//! - 2026-11-22: commands 20 to 25, which rotate authorities; [`Settings`] field 9. The epoch of a kind, compared by
//!   command 6 and those from 20 to 23, counts every change of the kind's authorities, not only additions.
//! - 2026-11-22: commands 26 to 30, about the recipients of wrapped keys.
//! - 2026-11-22: commands 31 and 32, about certificate requests for an outside CA.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::algorithm::KeySettings;
use crate::authority::{Authority, AuthorityKind, CertificateRequest, KeyId};
use crate::caller::Caller;
use crate::entry::{EntryId, EntrySpec, RegistrationEntry};
use crate::recipient::{BackendState, RecipientId, Rewrapped};
use crate::refusal::Refusal;
use crate::request_key::RequestKey;
use crate::spiffe_id::TrustDomain;

/// A command with the proven identity that caused it. This is what travels to the leader and lies in the log.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Proposal {
    /// Who asked, as proven at the door where they asked.
    #[n(0)]
    pub caller: Caller,
    /// What they asked for.
    #[n(1)]
    pub command: Command,
    /// What makes a retry of it recognisable, if the caller wants that.
    #[n(2)]
    pub request: Option<RequestKey>,
}

/// A change to replicated state. Whatever could differ between replicas (ids, serials, keys) is fixed by the proposer.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// Makes the trust domain with its first authorities. Refused when there is one.
    #[n(0)]
    Establish {
        /// What holds for the whole cluster.
        #[n(0)]
        settings: Settings,
        /// The first keys.
        #[n(1)]
        authorities: Vec<Authority>,
    },
    /// Creates entries, each for itself: one that cannot be made does not stop the others.
    #[n(1)]
    CreateEntries {
        /// Ids chosen by the operator or the proposer, with what is to be made.
        #[n(0)]
        entries: Vec<(EntryId, EntrySpec)>,
    },
    /// Changes entries, each for itself.
    #[n(2)]
    UpdateEntries {
        /// What to change.
        #[n(0)]
        changes: Vec<EntryChange>,
    },
    /// Deletes entries, each for itself.
    #[n(3)]
    DeleteEntries {
        /// Which.
        #[n(0)]
        ids: Vec<EntryId>,
    },
    /// Replaces the exchange policy.
    #[n(4)]
    ApplyPolicy {
        /// The YAML document, checked by the proposer.
        #[n(0)]
        document: String,
        /// The version it replaces, if the caller cares. 0 is "none yet".
        #[n(1)]
        expected_version: Option<u64>,
    },
    /// Adds a batch of a node's issuance journal. A batch that was added before is accepted again without effect.
    #[n(5)]
    RecordIssuance {
        /// The node whose journal it is.
        #[n(0)]
        node: u64,
        /// The position of the first record in that journal.
        #[n(1)]
        first: u64,
        /// Stored forms of [`IssuanceRecord`](crate::record::IssuanceRecord), in order.
        #[n(2)]
        records: Vec<minicbor::bytes::ByteVec>,
        /// The latest `not_after` among them, in seconds: when the batch may be forgotten.
        #[n(3)]
        not_after_secs: u64,
    },
    /// Adds an authority to its kind. Refused unless the kind still stands at `expected_epoch`.
    #[n(6)]
    PrepareAuthority {
        /// The new authority, in slot `Prepared`.
        #[n(0)]
        authority: Authority,
        /// The kind's epoch when the proposer looked.
        #[n(1)]
        expected_epoch: u64,
    },
    /// Changes nothing, and is answered by [`Outcome::Remembered`]: what came of a request that acts elsewhere than here
    /// is kept under its idempotency key.
    #[n(7)]
    Remember {
        /// The answer; sealed if it is a secret.
        #[n(0)]
        answer: minicbor::bytes::ByteVec,
    },
    /// Lets a prepared authority sign, in the place of the one that does. Refused unless the kind still stands at
    /// `expected_epoch`, verifiers can know the key, and nodes have unwrapped it.
    #[n(20)]
    ActivateAuthority {
        /// Which.
        #[n(0)]
        authority: AuthorityRef,
        /// The kind's epoch when the proposer looked.
        #[n(1)]
        expected_epoch: u64,
        /// The voters that were alive when the proposer looked: until the deadline each must have unwrapped it.
        #[n(2)]
        waits_for: Vec<u64>,
        /// Do not wait for verifiers' caches nor for these voters. Some verifiers will not know the key yet.
        #[n(3)]
        force: bool,
    },
    /// Marks an authority that has stopped signing, so that agents ask anew for what it signed.
    #[n(21)]
    TaintAuthority {
        /// Which.
        #[n(0)]
        authority: AuthorityRef,
        /// The kind's epoch when the proposer looked.
        #[n(1)]
        expected_epoch: u64,
    },
    /// Removes an authority that does not sign from bundle and JWKS, though what it signed may still be in use.
    #[n(22)]
    RevokeAuthority {
        /// Which.
        #[n(0)]
        authority: AuthorityRef,
        /// The kind's epoch when the proposer looked.
        #[n(1)]
        expected_epoch: u64,
        /// Do not wait until no node can still be signing with it.
        #[n(2)]
        force: bool,
    },
    /// Removes an authority of which nothing is valid any more.
    #[n(23)]
    RetireAuthority {
        /// Which.
        #[n(0)]
        authority: AuthorityRef,
        /// The kind's epoch when the proposer looked.
        #[n(1)]
        expected_epoch: u64,
    },
    /// Asks that the active authorities of these kinds be replaced as soon as it is safe. The leader does it.
    #[n(24)]
    RequestRotation {
        /// Which kinds, all at one log index.
        #[n(0)]
        kinds: Vec<AuthorityKind>,
        /// For people: why.
        #[n(1)]
        reason: String,
        /// Keys that were prepared before this are known to somebody who should not know them: make new ones.
        #[n(2)]
        emergency: bool,
        /// Revoke the replaced ones this many seconds after they stopped signing; `None`: let what they signed end.
        #[n(3)]
        revoke_after_secs: Option<u32>,
    },
    /// A node has unwrapped keys and could sign with them.
    #[n(25)]
    ReportUnwrapped {
        /// Which node.
        #[n(0)]
        node: u64,
        /// Which keys.
        #[n(1)]
        authorities: Vec<AuthorityRef>,
    },
    /// From now on every key in nodes' memory can be opened by this recipient too. Refused unless the recipients still
    /// stand at `expected_version`, and unless every key that nodes open is among `wrapped`.
    #[n(26)]
    AddRecipient {
        /// Which.
        #[n(0)]
        recipient: RecipientId,
        /// Every live key, wrapped for it.
        #[n(1)]
        wrapped: Vec<Rewrapped>,
        /// New roots are made in its backend from now on.
        #[n(2)]
        roots: bool,
        /// The version of the recipients when the proposer looked.
        #[n(3)]
        expected_version: u64,
    },
    /// From now on no key can be opened by this recipient any more. Refused where a key would be left that nobody opens.
    #[n(27)]
    RemoveRecipient {
        /// Which.
        #[n(0)]
        recipient: RecipientId,
        /// The version of the recipients when the proposer looked.
        #[n(1)]
        expected_version: u64,
        /// The voters that were alive when the proposer looked: each must be able to open every key without it.
        #[n(2)]
        voters: Vec<u64>,
        /// Be content when one of them is.
        #[n(3)]
        force: bool,
    },
    /// Wraps keys for recipients for which they are not wrapped yet, or anew. What is gone meanwhile is passed over.
    #[n(28)]
    RewrapKeys {
        /// The keys.
        #[n(0)]
        wrapped: Vec<Rewrapped>,
    },
    /// A node tells which key backends it has, and which of them it can use.
    #[n(29)]
    ReportBackends {
        /// Which node.
        #[n(0)]
        node: u64,
        /// Its backends.
        #[n(1)]
        backends: Vec<BackendState>,
    },
    /// New roots are made in the backend of this recipient from now on.
    #[n(30)]
    PlaceRoots {
        /// Which.
        #[n(0)]
        recipient: RecipientId,
        /// The version of the recipients when the proposer looked.
        #[n(1)]
        expected_version: u64,
    },
    /// Remembers a root's key until an outside CA has signed its certificate. Refused when too many wait already.
    #[n(31)]
    KeepCertificateRequest {
        /// The key and its request.
        #[n(0)]
        request: CertificateRequest,
    },
    /// Forgets a key for which no certificate will come.
    #[n(32)]
    DropCertificateRequest {
        /// Which.
        #[n(0)]
        id: KeyId,
    },
}

/// Names one authority.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct AuthorityRef {
    /// Its kind.
    #[n(0)]
    pub kind: AuthorityKind,
    /// Its name.
    #[n(1)]
    pub id: KeyId,
}

impl std::fmt::Display for AuthorityRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}

/// What holds for the whole cluster, set when the trust domain is made.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Settings {
    /// The trust domain.
    #[n(0)]
    pub trust_domain: TrustDomain,
    /// The id of the cluster that made the trust domain, 32 lower-case hex digits. Keys are wrapped under it, so it stays
    /// when a restore or a recovery gives the cluster itself a new id: the keys must still open.
    #[n(1)]
    pub cluster_id: String,
    /// `iss` of transaction tokens, and the issuer identifier of the token endpoint (RFC 8414 §2).
    #[n(2)]
    pub token_issuer: String,
    /// `iss` of JWT-SVIDs, or empty for none.
    #[n(3)]
    pub jwt_svid_issuer: String,
    /// X.509-SVID lifetime in seconds where the entry sets none.
    #[n(4)]
    pub x509_svid_ttl_secs: u32,
    /// JWT-SVID lifetime in seconds where the entry sets none.
    #[n(5)]
    pub jwt_svid_ttl_secs: u32,
    /// Seconds a verifier may keep bundle and JWKS.
    #[n(6)]
    pub refresh_hint_secs: u32,
    /// Seconds an issuance lease lasts.
    #[n(7)]
    pub lease_secs: u32,
    /// Made by `signet dev`: only such a cluster accepts demo issuers, and only its own.
    #[n(8)]
    pub demo: bool,
    /// How long keys live. `None` in a trust domain made before there was a choice: the defaults.
    #[n(9)]
    pub rotation: Option<RotationSettings>,
    /// What keys are. `None` in a trust domain made before there was a choice: ECDSA P-256 everywhere, in nodes' memory.
    #[n(10)]
    pub keys: Option<KeySettings>,
}

/// How long keys live, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct RotationSettings {
    /// X.509 root certificates.
    #[n(0)]
    pub x509_root_secs: u64,
    /// X.509 issuing CAs.
    #[n(1)]
    pub x509_issuing_secs: u64,
    /// Keys of JWT-SVIDs.
    #[n(2)]
    pub jwt_svid_secs: u64,
    /// Keys of transaction tokens.
    #[n(3)]
    pub transaction_token_secs: u64,
    /// How long a token key is published before it signs by schedule.
    #[n(4)]
    pub publish_secs: u64,
}

/// A change to one entry: the new spec, and which of its fields count.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EntryChange {
    /// Which entry.
    #[n(0)]
    pub id: EntryId,
    /// The new values.
    #[n(1)]
    pub spec: EntrySpec,
    /// Which of them to take.
    #[n(2)]
    pub fields: EntryFields,
}

/// Which fields of an [`EntrySpec`] an update takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[expect(clippy::struct_excessive_bools, reason = "one for each field of SPIRE's EntryMask that can be updated")]
pub struct EntryFields {
    /// `spiffe_id`
    #[n(0)]
    pub spiffe_id: bool,
    /// `parent_id`
    #[n(1)]
    pub parent_id: bool,
    /// `selectors`
    #[n(2)]
    pub selectors: bool,
    /// `x509_svid_ttl`
    #[n(3)]
    pub x509_svid_ttl: bool,
    /// `jwt_svid_ttl`
    #[n(4)]
    pub jwt_svid_ttl: bool,
    /// `federates_with`
    #[n(5)]
    pub federates_with: bool,
    /// `dns_names`
    #[n(6)]
    pub dns_names: bool,
    /// `admin`
    #[n(7)]
    pub admin: bool,
    /// `downstream`
    #[n(8)]
    pub downstream: bool,
    /// `store_svid`
    #[n(9)]
    pub store_svid: bool,
    /// `hint`
    #[n(10)]
    pub hint: bool,
    /// `expires_at`
    #[n(11)]
    pub expires_at: bool,
    /// `additional_attributes`
    #[n(12)]
    pub additional_attributes: bool,
}

impl EntryFields {
    /// Every field, which is also what a request without a mask means.
    pub const ALL: Self = Self {
        spiffe_id: true,
        parent_id: true,
        selectors: true,
        x509_svid_ttl: true,
        jwt_svid_ttl: true,
        federates_with: true,
        dns_names: true,
        admin: true,
        downstream: true,
        store_svid: true,
        hint: true,
        expires_at: true,
        additional_attributes: true,
    };
}

/// What came of a command. A refusal is an outcome too: every replica comes to the same one. Stored form, since it
/// travels from the leader to the node that asked.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// Done, with nothing more to say.
    #[n(0)]
    Done,
    /// Not done, and nothing changed.
    #[n(1)]
    Refused(#[n(0)] Refusal),
    /// What came of each entry, in the order of the command.
    #[n(2)]
    Entries(#[n(0)] Vec<EntryOutcome>),
    /// The policy now has this version.
    #[n(3)]
    Policy {
        /// The version.
        #[n(0)]
        version: u64,
    },
    /// The journal of the node is committed up to here.
    #[n(4)]
    Recorded {
        /// The position of the first record not yet committed.
        #[n(0)]
        next: u64,
    },
    /// What was remembered.
    #[n(5)]
    Remembered {
        /// As it was given.
        #[n(0)]
        answer: minicbor::bytes::ByteVec,
    },
}

/// What came of one entry of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum EntryOutcome {
    /// The entry as it stands now.
    #[n(0)]
    Done(#[n(0)] RegistrationEntry),
    /// It was deleted.
    #[n(1)]
    Deleted(#[n(0)] EntryId),
    /// A similar entry exists: this one. Nothing changed.
    #[n(2)]
    Similar(#[n(0)] RegistrationEntry),
    /// Not done.
    #[n(3)]
    Refused(#[n(0)] Refusal),
}

/// How many times the authorities of each kind have changed: what commands about one of them compare.
pub type Epochs = BTreeMap<AuthorityKind, u64>;
