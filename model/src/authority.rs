//! Authorities: the keys by which the trust domain speaks, each kind with its slots.
//!
//! Change log of the stored form:
//! - 2026-11-22: authorities with fields 0 to 7.
//! - 2026-11-22: field 8, what has happened to it. A record without it loads, as one to which nothing has.
//! - 2026-11-22: field 2 of a key in a backend, in which backend of its kind. A record without it loads.
//! - 2026-11-22: field 9, certificates of an outside CA above it. A record without it loads, as one made here.

use std::fmt;
use std::time::Duration;

use minicbor::bytes::ByteVec;
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

    /// The kinds whose keys are in every node's memory.
    pub const IN_MEMORY: &'static [Self] = &[Self::X509Issuing, Self::JwtSvid, Self::TransactionToken];

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

impl std::str::FromStr for AuthorityKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let found = Self::ALL.iter().copied().find(|kind| kind.name() == text);
        found.or((text == "jwt").then_some(Self::JwtSvid)).ok_or(UnknownKind)
    }
}

/// The text names no kind of authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a kind of authority is x509-root, x509-issuing, jwt-svid (or jwt) or transaction-token")]
pub struct UnknownKind;

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

impl Slot {
    /// The word for it, stable for scripts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Retiring => "retiring",
        }
    }
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
        /// Which of the backends of that kind, by the name of its key-encryption key. `None`: it was not noted.
        #[n(2)]
        recipient: Option<String>,
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
    /// What has happened to it since. Written by the state machine alone, but for the issuer.
    #[n(8)]
    #[cbor(default)]
    pub life: Life,
    /// For a root that comes from elsewhere, and an issuing CA under one that an outside CA signed.
    #[n(9)]
    pub outside: Option<Outside>,
}

/// What is above an authority that was not made here alone. Stored form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Outside {
    /// The certificates above its own, DER, each signed by the next; the last, which signed itself, is the trust anchor.
    /// Empty for a root that signed itself.
    #[n(0)]
    pub above: Vec<ByteVec>,
}

/// A root's key that waits for an outside CA to sign its certificate. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CertificateRequest {
    /// The key's identifier, in lower-case hex.
    #[n(0)]
    pub id: KeyId,
    /// `SubjectPublicKeyInfo`, DER.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub public_key: Vec<u8>,
    /// The private key, in a backend.
    #[n(2)]
    pub key: StoredKey,
    /// The PKCS#10 request, DER.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub request: Vec<u8>,
    /// When it was made.
    #[n(4)]
    pub made_at: UnixTime,
}

/// What has happened to an authority, in cluster time. Stored form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Life {
    /// The log index at which it was added.
    #[n(0)]
    #[cbor(default)]
    pub added_at_index: u64,
    /// Since when it stands in bundle or JWKS.
    #[n(1)]
    pub published_at: Option<UnixTime>,
    /// Since when it signs, or when it began to.
    #[n(2)]
    pub activated_at: Option<UnixTime>,
    /// When it stopped signing.
    #[n(3)]
    pub stopped_at: Option<UnixTime>,
    /// When it was marked as one not to rely on any more.
    #[n(4)]
    pub tainted_at: Option<UnixTime>,
    /// It is revoked this many seconds after it stopped signing, instead of when the last thing it signed has ended.
    #[n(5)]
    pub revoke_after_secs: Option<u32>,
    /// The nodes that have unwrapped it, in order.
    #[n(6)]
    #[cbor(default)]
    pub unwrapped_by: Vec<u64>,
    /// For an issuing CA: the root that signed its certificate. Empty where that is not known.
    #[n(7)]
    #[cbor(default)]
    pub issuer: KeyId,
}

impl Authority {
    /// Since when verifiers can know it.
    #[must_use]
    pub fn published_at(&self) -> UnixTime {
        self.life.published_at.unwrap_or(self.created_at)
    }

    /// Whether it was marked as one not to rely on any more.
    #[must_use]
    pub const fn is_tainted(&self) -> bool {
        self.life.tainted_at.is_some()
    }

    /// Whether it is a root that was signed or made elsewhere: nobody but a person replaces it.
    #[must_use]
    pub fn is_outside(&self) -> bool {
        self.kind == AuthorityKind::X509Root && self.outside.is_some()
    }

    /// The trust anchor by which verifiers know it, DER: its own certificate, or that of the outside CA.
    #[must_use]
    pub fn anchor(&self) -> &[u8] {
        let above = self.outside.as_ref().and_then(|outside| outside.above.last());
        above.map_or(&self.certificate, |anchor| anchor.as_slice())
    }

    /// The certificates that travel with what it signs, DER: its own and those between it and its trust anchor.
    #[must_use]
    pub fn presented(&self) -> Vec<Vec<u8>> {
        let above = self.outside.iter().flat_map(|outside| &outside.above).map(|one| one.to_vec());
        let mut chain: Vec<Vec<u8>> = std::iter::once(self.certificate.clone()).chain(above).collect();
        if chain.len() > 1 {
            chain.pop();
        }
        chain
    }

    /// What is above an issuing CA that this root signs.
    #[must_use]
    pub fn above_issuing(&self) -> Option<Outside> {
        let outside = self.outside.as_ref().filter(|outside| !outside.above.is_empty())?;
        let own = std::iter::once(ByteVec::from(self.certificate.clone()));
        Some(Outside { above: own.chain(outside.above.iter().cloned()).collect() })
    }

    /// From its making to its end.
    #[must_use]
    pub const fn lifetime(&self) -> Duration {
        self.not_after.since(self.created_at)
    }
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
