//! Issuance records: what was signed, written down before it leaves.

use minicbor::{Decode, Encode};

use crate::authority::KeyId;
use crate::caller::Caller;
use crate::entry::EntryId;
use crate::time::UnixTime;

/// What kind of credential was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum CredentialKind {
    /// An X.509-SVID.
    #[n(0)]
    X509Svid,
    /// A JWT-SVID.
    #[n(1)]
    JwtSvid,
    /// A transaction token.
    #[n(2)]
    TransactionToken,
}

/// One credential that a node signed. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct IssuanceRecord {
    /// What it is.
    #[n(0)]
    pub kind: CredentialKind,
    /// The serial number, or the `jti` where the credential has one, else a random id of the record's own.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub id: Vec<u8>,
    /// Whom it names.
    #[n(2)]
    pub subject: String,
    /// The registration entry it rests on, if it rests on one.
    #[n(3)]
    pub entry: Option<EntryId>,
    /// The key that signed it.
    #[n(4)]
    pub key: KeyId,
    /// SHA-256 of the bytes that were signed.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub signed_hash: [u8; 32],
    /// When it was issued, by the node's clock.
    #[n(6)]
    pub issued_at: UnixTime,
    /// When it ends.
    #[n(7)]
    pub not_after: UnixTime,
    /// Who asked.
    #[n(8)]
    pub caller: Caller,
}
