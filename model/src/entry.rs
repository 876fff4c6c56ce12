//! Registration entries: who may get which identity.

use std::str::FromStr;

use minicbor::{Decode, Encode};

use crate::caller::Caller;
use crate::spiffe_id::{SpiffeId, TrustDomain};
use crate::time::UnixTime;

mod check;

pub use check::{check_dns_name, check_workload};

/// The name of a registration entry: 1 to 255 bytes of letters, digits, `.`, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(String);

/// The text is not an entry id; the caller corrects it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an entry id is 1 to 255 letters, digits, '.', '-' or '_'")]
pub struct EntryIdError;

impl EntryId {
    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> [&str; 1] {
        [&self.0]
    }
}

impl FromStr for EntryId {
    type Err = EntryIdError;

    fn from_str(text: &str) -> Result<Self, EntryIdError> {
        let fits = (1..=255).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        if fits && plain { Ok(Self(text.to_owned())) } else { Err(EntryIdError) }
    }
}

crate::stored::text_form!(EntryId);

/// A property of a workload or host, such as `unix:uid:1000`. The type holds no `:`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Selector {
    /// The attestor that vouches for the value, such as `unix`.
    #[n(0)]
    pub kind: String,
    /// What it vouches for, such as `uid:1000`.
    #[n(1)]
    pub value: String,
}

/// What an operator says of an identity: the parts of a [`RegistrationEntry`] that are theirs to set.
///
/// A zero lifetime means the cluster's default. Lists are without duplicates, and sorted but for the DNS names;
/// [`EntrySpec::checked`] sees to that.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct EntrySpec {
    /// The identity that the entry grants.
    #[n(0)]
    pub spiffe_id: SpiffeId,
    /// The agent, or other entry's identity, that may ask for it.
    #[n(1)]
    pub parent_id: SpiffeId,
    /// What the workload must have, at least one.
    #[n(2)]
    pub selectors: Vec<Selector>,
    /// Lifetime of X.509-SVIDs in seconds, 0 for the default.
    #[n(3)]
    pub x509_svid_ttl_secs: u32,
    /// Lifetime of JWT-SVIDs in seconds, 0 for the default.
    #[n(4)]
    pub jwt_svid_ttl_secs: u32,
    /// Foreign trust domains whose bundles the workload gets.
    #[n(5)]
    pub federates_with: Vec<TrustDomain>,
    /// DNS names for the X.509-SVID; the first is also the common name.
    #[n(6)]
    pub dns_names: Vec<String>,
    /// May call the server's administrative API.
    #[n(7)]
    pub admin: bool,
    /// May run a downstream authority.
    #[n(8)]
    pub downstream: bool,
    /// To be put into an external store by the agent.
    #[n(9)]
    pub store_svid: bool,
    /// A word for the workload to tell its identities apart.
    #[n(10)]
    pub hint: String,
    /// Seconds since the epoch after which the entry grants nothing, 0 for never.
    #[n(11)]
    pub expires_at_secs: u64,
    /// Agents do not fetch the X.509-SVID before it is asked for.
    #[n(12)]
    pub disable_x509_svid_prefetch: bool,
    /// JWT-SVIDs carry a `jti`.
    #[n(13)]
    pub jwt_svid_include_jti: bool,
}

impl EntrySpec {
    /// An entry with these and everything else at its default.
    #[must_use]
    pub const fn new(spiffe_id: SpiffeId, parent_id: SpiffeId, selectors: Vec<Selector>) -> Self {
        Self {
            spiffe_id,
            parent_id,
            selectors,
            x509_svid_ttl_secs: 0,
            jwt_svid_ttl_secs: 0,
            federates_with: Vec::new(),
            dns_names: Vec::new(),
            admin: false,
            downstream: false,
            store_svid: false,
            hint: String::new(),
            expires_at_secs: 0,
            disable_x509_svid_prefetch: false,
            jwt_svid_include_jti: false,
        }
    }
}

/// A registration entry as replicated. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RegistrationEntry {
    /// Its name.
    #[n(0)]
    pub id: EntryId,
    /// What the operator said.
    #[n(1)]
    pub spec: EntrySpec,
    /// 0 at creation, one more at each update.
    #[n(2)]
    pub revision: u64,
    /// Cluster time of the creation.
    #[n(3)]
    pub created_at: UnixTime,
    /// Who made the latest change.
    #[n(4)]
    pub changed_by: Caller,
    /// Log index of the latest change.
    #[n(5)]
    pub changed_at_index: u64,
}
