//! The rows of the log's database. Stored forms.
//!
//! Change log of the entry's row:
//! - 2026-11-22: version 1: the version, then the entry's body. No checksum; read for ever, no longer written.
//! - 2026-11-22: version 2: the version, flags, a CRC-32C (little endian) over the index (big endian), version, flags and
//!   all that follows, the hash chain's value (32 bytes, if bit 0 of the flags is set), the entry's body.
//!
//! Change log of the purged place: 2026-11-22 term, node, index; the same day the chain's value there, if known.

use minicbor::{Decode, Encode};

use super::chain::Chain;
use crate::encoding::EncodingError;
use crate::types::{LeaderId, LogId};

/// An entry's row, whole and undamaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryRow<'a> {
    /// The chain's value at this entry, if it was known when the row was written.
    pub(crate) chain: Option<Chain>,
    /// The entry's stored form without its version.
    pub(crate) body: &'a [u8],
}

/// Why an entry's row cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowError {
    /// Cut short or changed.
    #[error("its checksum does not match")]
    Checksum,
    /// Whole, and yet not the entry that follows the one before it.
    #[error("it does not follow the entry before it")]
    Chain,
    /// Its body is no entry, or of a newer program.
    #[error(transparent)]
    Body(#[from] EncodingError),
}

impl RowError {
    /// What to tell the operator about the entry at `index`.
    pub(crate) fn at(&self, index: u64) -> String {
        format!(
            "log entry {index} is damaged: {self}. It was neither applied nor sent to a peer. Check the disk, then remove \
             this node from the cluster and let it join again, under a new id, with an empty data directory"
        )
    }
}

/// The row of the entry at `index`.
pub(crate) fn write_entry(index: u64, chain: Option<Chain>, body: &[u8]) -> Vec<u8> {
    let hash = chain.as_ref().map_or(&[][..], |chain| &chain.0);
    let flags = if chain.is_some() { HAS_CHAIN } else { 0 };
    let mut row = Vec::with_capacity(HEADER + hash.len() + body.len());
    row.extend_from_slice(&[CHECKED, flags]);
    row.extend_from_slice(&checksum(index, flags, &[hash, body]).to_le_bytes());
    row.extend_from_slice(hash);
    row.extend_from_slice(body);
    row
}

/// What [`write_entry`] wrote, or an older program.
pub(crate) fn read_entry(index: u64, row: &[u8]) -> Result<EntryRow<'_>, RowError> {
    match row {
        [] => Err(EncodingError::Empty.into()),
        [PLAIN, body @ ..] => Ok(EntryRow { chain: None, body }),
        [CHECKED, flags, a, b, c, d, rest @ ..] => {
            if u32::from_le_bytes([*a, *b, *c, *d]) != checksum(index, *flags, &[rest]) {
                return Err(RowError::Checksum);
            }
            match rest.split_first_chunk() {
                Some((hash, body)) if flags & HAS_CHAIN != 0 => Ok(EntryRow { chain: Some(Chain(*hash)), body }),
                None if flags & HAS_CHAIN != 0 => Err(RowError::Checksum),
                Some(_) | None => Ok(EntryRow { chain: None, body: rest }),
            }
        }
        [CHECKED, ..] => Err(RowError::Checksum),
        [version, ..] => Err(EncodingError::Version(*version).into()),
    }
}

/// The chain's value at a row's entry, which must follow `before` where both are known.
pub(crate) fn follow(before: Option<Chain>, row: &EntryRow<'_>) -> Result<Option<Chain>, RowError> {
    match (before.map(|before| before.next(row.body)), row.chain) {
        (Some(counted), Some(stored)) if counted != stored => Err(RowError::Chain),
        (counted, stored) => Ok(stored.or(counted)),
    }
}

fn checksum(index: u64, flags: u8, parts: &[&[u8]]) -> u32 {
    let begin = crc32c::crc32c_append(crc32c::crc32c(&index.to_be_bytes()), &[CHECKED, flags]);
    parts.iter().fold(begin, |sum, part| crc32c::crc32c_append(sum, part))
}

/// The last entry that was removed from the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct PurgedRow {
    #[n(0)]
    term: u64,
    #[n(1)]
    node: u64,
    #[n(2)]
    index: u64,
    /// The chain's value there.
    #[n(3)]
    pub(crate) chain: Option<Chain>,
}

impl PurgedRow {
    pub(crate) fn new(id: &LogId, chain: Option<Chain>) -> Self {
        Self { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index, chain }
    }

    pub(crate) fn id(&self) -> LogId {
        LogId { leader_id: LeaderId { term: self.term, node_id: self.node }, index: self.index }
    }
}

/// The row key of the entry at `index`.
pub(crate) fn entry_key(index: u64) -> [u8; 9] {
    let [a, b, c, d, e, f, g, h] = index.to_be_bytes();
    [ENTRY_PREFIX, a, b, c, d, e, f, g, h]
}

/// The index in an entry's row key.
pub(crate) fn entry_index(key: &[u8]) -> Option<u64> {
    let (&ENTRY_PREFIX, index) = key.split_first()? else { return None };
    Some(u64::from_be_bytes(index.try_into().ok()?))
}

/// The first byte of entries' row keys.
pub(crate) const ENTRY_PREFIX: u8 = b'e';
/// Where the last purged place is kept.
pub(crate) const PURGED_KEY: &[u8] = b"m/purged";
/// Where the cluster's id is kept.
pub(crate) const CLUSTER_KEY: &[u8] = b"m/cluster";

/// Present once there is a watermark file.
pub(crate) const MARKED_KEY: &[u8] = b"m/watermark";

/// The file that holds the vote.
pub(crate) const VOTE_FILE: &str = "vote";

/// The version without a checksum.
const PLAIN: u8 = 1;
/// The version with one.
const CHECKED: u8 = 2;
const HAS_CHAIN: u8 = 1;
const HEADER: usize = 6;
