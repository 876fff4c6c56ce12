//! What was issued: the nodes' journals, batch by batch.

use std::time::Duration;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::{Position, load, store};
use crate::command::Outcome;
use crate::refusal::{Reason, Refusal};
use crate::rows::{Rows, RowsMut, Space};
use crate::stored::{StoredFormError, from_bytes};
use crate::time::UnixTime;

/// A batch of a node's journal as replicated. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct IssuanceBatch {
    /// The node that issued.
    #[n(0)]
    pub node: u64,
    /// The position of the first record in that node's journal.
    #[n(1)]
    pub first: u64,
    /// Stored forms of [`IssuanceRecord`](crate::record::IssuanceRecord).
    #[n(2)]
    pub records: Vec<ByteVec>,
    /// The latest `not_after` among them, seconds since the epoch.
    #[n(3)]
    pub not_after_secs: u64,
}

/// The position in `node`'s journal up to which its records are replicated: the first that is not.
///
/// # Errors
/// The row is damaged; the node must stop.
pub fn committed_position(rows: &dyn Rows, node: u64) -> Result<u64, StoredFormError> {
    Ok(load(rows, Space::IssuanceProgress, &node.to_be_bytes())?.unwrap_or(0))
}

/// Up to `limit` batches that were committed after log index `after`, with their log indexes.
///
/// # Errors
/// A row is damaged; the node must stop.
pub fn issuance_batches(
    rows: &dyn Rows,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<(u64, IssuanceBatch)>, StoredFormError> {
    let after = after.map(u64::to_be_bytes);
    rows.scan(Space::Issuance, &[], after.as_ref().map(<[u8; 8]>::as_slice), limit)
        .iter()
        .map(|(key, value)| Ok((index_of(key), from_bytes(value)?)))
        .collect()
}

pub(super) fn record(
    rows: &mut dyn RowsMut,
    position: Position,
    node: u64,
    first: u64,
    records: &[ByteVec],
    not_after_secs: u64,
) -> Result<Outcome, StoredFormError> {
    let next = committed_position(rows, node)?;
    if first > next {
        let detail =
            format!("the journal of node {node} is committed up to {next}, so a batch from {first} leaves a gap");
        return Ok(Outcome::Refused(Refusal::new(Reason::FailedPrecondition, detail)));
    }
    // A batch that was sent again, perhaps longer than the first time: only what is new counts.
    let known = usize::try_from(next - first).unwrap_or(usize::MAX);
    let new = records.get(known..).unwrap_or(&[]);
    if new.is_empty() {
        return Ok(Outcome::Recorded { next });
    }
    let batch = IssuanceBatch { node, first: next, records: new.to_vec(), not_after_secs };
    store(rows, Space::Issuance, &position.index.to_be_bytes(), &batch);
    let next = next + u64::try_from(new.len()).unwrap_or(u64::MAX);
    store(rows, Space::IssuanceProgress, &node.to_be_bytes(), &next);
    forget_expired(rows, position.at)?;
    Ok(Outcome::Recorded { next })
}

/// Drops the oldest batches once nothing in them is valid any more and the retention is over. A few at each command
/// keep the work of one command bounded and still outrun the one batch it adds.
fn forget_expired(rows: &mut dyn RowsMut, now: UnixTime) -> Result<(), StoredFormError> {
    for (key, value) in rows.scan(Space::Issuance, &[], None, FORGET_AT_ONCE) {
        let batch: IssuanceBatch = from_bytes(&value)?;
        if UnixTime::from_secs(batch.not_after_secs).after(RETENTION) >= now {
            break;
        }
        rows.delete(Space::Issuance, &key);
    }
    Ok(())
}

fn index_of(key: &[u8]) -> u64 {
    key.try_into().map_or(0, u64::from_be_bytes)
}

/// How long records are kept after the last credential of their batch ended.
const RETENTION: Duration = Duration::from_hours(24);
const FORGET_AT_ONCE: usize = 4;
