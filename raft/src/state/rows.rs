//! Row keys, the room's own rows, and scanning.
//!
//! A row key is the space's prefix and the key. Prefixes from 0xF0 are the room's own and cannot be named by a `Space`.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use rocksdb::{DB, DBRawIterator, ReadOptions};
use signet_model::rows::{Row, Space};
use signet_model::time::UnixTime;

use crate::encoding::StoredLogId;
use crate::fatal;
use crate::log::Chain;
use crate::types::PeerNode;

/// Every member this node knows, by id.
pub(crate) type Roster = BTreeMap<u64, PeerNode>;

/// What has been applied. Stored form, at [`APPLIED_KEY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct AppliedRow {
    /// The last applied entry.
    #[n(0)]
    pub id: StoredLogId,
    /// Cluster time there.
    #[n(1)]
    pub time: UnixTime,
    /// The value of the log's hash chain there. Since 2026-11-22; unknown in older states.
    #[n(2)]
    pub chain: Option<Chain>,
}

/// A join token, kept after its use so that a second one is told so. Stored form, by what names it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct TokenRow {
    /// When it ends.
    #[n(0)]
    pub expires_at: UnixTime,
    /// The node that used it.
    #[n(1)]
    pub used_by: Option<u64>,
    /// Who asked for it: stored form of the caller.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub caller: Vec<u8>,
    /// Verifies that a newcomer has the secret. Neither this nor the next lets anybody in.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub verifier: [u8; 32],
    /// With it a member proves that the cluster knows the token.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub member_key: [u8; 32],
}

/// Where [`AppliedRow`] is.
pub(crate) const APPLIED_KEY: &[u8] = &[0xF0];
/// Where the membership is.
pub(crate) const MEMBERSHIP_KEY: &[u8] = &[0xF1];
/// Before the hash of a join token's secret.
pub(crate) const TOKEN_PREFIX: u8 = 0xF2;
/// Before a member's id.
pub(crate) const NODE_PREFIX: u8 = 0xF3;
/// Where the cluster's id is.
pub(crate) const CLUSTER_KEY: &[u8] = &[0xF4];
/// Before the pin of a key whose node was removed; the row holds the node's id.
pub(crate) const REMOVED_PREFIX: u8 = 0xF8;
/// Where the highest node id is that was ever given to a newcomer.
pub(crate) const LAST_NODE_KEY: &[u8] = &[0xF5];
/// Where the feature level in force is.
pub(crate) const FEATURE_KEY: &[u8] = &[0xF9];

/// Where the clusters are that this one was made from.
pub(crate) const LINEAGE_KEY: &[u8] = &[0xFA];

/// The row key of `key` in `space`.
pub(crate) fn row_key(space: Space, key: &[u8]) -> Vec<u8> {
    prefixed(space.prefix(), key)
}

/// `key` behind `prefix`.
pub(crate) fn prefixed(prefix: u8, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.len() + 1);
    bytes.push(prefix);
    bytes.extend_from_slice(key);
    bytes
}

/// Where a scan begins.
pub(crate) fn scan_start(prefix: &[u8], after: Option<&[u8]>) -> Vec<u8> {
    match after {
        // The smallest key that is greater.
        Some(after) if after >= prefix => {
            let mut start = after.to_vec();
            start.push(0);
            start
        }
        _ => prefix.to_vec(),
    }
}

/// Read options for a scan of the rows whose whole keys begin with `prefix`.
pub(crate) fn scan_options(start: &[u8], prefix: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(start);
    if let Some(end) = prefix_end(prefix) {
        options.set_iterate_upper_bound(end);
    }
    options
}

/// The smallest key greater than every key that begins with `prefix`; `None` if there is none.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// Up to `limit` rows of `rows`, whole keys, in order.
pub(crate) fn collect(mut rows: DBRawIterator<'_>, limit: usize) -> Vec<Row> {
    let mut found = Vec::new();
    rows.seek_to_first();
    while found.len() < limit {
        let (Some(key), Some(value)) = (rows.key(), rows.value()) else { break };
        found.push((key.to_vec(), value.to_vec()));
        rows.next();
    }
    if let Err(cause) = rows.status() {
        fatal::abort("cannot read the replicated state", &cause);
    }
    found
}

/// The value at a whole key.
pub(crate) fn read(db: &DB, key: &[u8]) -> Option<Vec<u8>> {
    match db.get(key) {
        Ok(value) => value,
        Err(cause) => fatal::abort("cannot read the replicated state", &cause),
    }
}
