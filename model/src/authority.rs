//! Authorities: the keys by which the trust domain speaks, each kind with its slots.

use std::fmt;

use minicbor::{Decode, Encode};

use crate::time::UnixTime;

/// What a key is for. A key never serves two purposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum AuthorityKind {
    /// Signs issuing CA certificates, and is a trust anchor of the bundle. Never leaves its backend.
    #[n(0)]
    X509Root,
    /// Signs X.509-SVIDs. In every node's memory.
    #[n(1)]
    X509Issuing,
    /// Signs JWT-SVIDs. In every node's memory.
    #[n(2)]
    JwtSvid,
    /// Signs transaction tokens. In every node's memory.
    #[n(3)]
    TransactionToken,
}

impl AuthorityKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::X509Root, Self::X509Issuing, Self::JwtSvid, Self::TransactionToken];

    /// The kind's name in labels, documents and associated data.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X509Root => "x509-root",
            Self::X509Issuing => "x509-issuing",
            Self::JwtSvid => "jwt-svid",
            Self::TransactionToken => "transaction-token",
        }
    }
}

impl fmt::Display for AuthorityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a key stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Slot {
    /// Published, not yet signing.
    #[n(0)]
    Prepared,
    /// Signing. One per kind.
    #[n(1)]
    Active,
    /// No longer signing, still verifying what it signed.
    #[n(2)]
    Retiring,
}

/// The name of a key. For X.509 the lower-case hex of the SHA-1 subject key identifier, for JWT the `kid`.
pub type KeyId = String;

/// A private key as replicated: never in the clear.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum StoredKey {
    /// The key lives in a backend; `reference` is what the backend needs to find it, opaque to everybody else.
    #[n(0)]
    InBackend {
        /// Which backend, by the scheme of its URI.
        #[n(0)]
        backend: String,
        /// The backend's own name or sealed form of the key.
        #[cbor(n(1), with = "minicbor::bytes")]
        reference: Vec<u8>,
    },
    /// The key is wrapped for every recipient, each of which can open it alone.
    #[n(1)]
    Wrapped {
        /// One wrapping per recipient.
        #[n(0)]
        for_recipients: Vec<WrappedKey>,
    },
}

/// A private key (PKCS#8 DER) encrypted for one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WrappedKey {
    /// Who can open it.
    #[n(0)]
    pub recipient: String,
    /// The ciphertext.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub blob: Vec<u8>,
}

/// One authority as replicated. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Authority {
    /// What it is for.
    #[n(0)]
    pub kind: AuthorityKind,
    /// Its name.
    #[n(1)]
    pub id: KeyId,
    /// Where it stands.
    #[n(2)]
    pub slot: Slot,
    /// `SubjectPublicKeyInfo`, DER.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub public_key: Vec<u8>,
    /// The CA certificate, DER, for the X.509 kinds; empty for the others.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub certificate: Vec<u8>,
    /// The private key.
    #[n(5)]
    pub key: StoredKey,
    /// When it was made.
    #[n(6)]
    pub created_at: UnixTime,
    /// Nothing it signs is valid after this.
    #[n(7)]
    pub not_after: UnixTime,
}

/// The associated data under which an issuing key is wrapped: moved to another slot, cluster or trust domain, it does
/// not open.
#[must_use]
pub fn wrapping_context(
    trust_domain: &str,
    cluster_id: &str,
    kind: AuthorityKind,
    id: &str,
    public_key: &[u8],
) -> Vec<u8> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, public_key);
    crate::stored::to_bytes(&(
        "signet issuing key 1",
        trust_domain,
        cluster_id,
        kind.name(),
        id,
        minicbor::bytes::ByteVec::from(digest.as_ref().to_vec()),
    ))
}
