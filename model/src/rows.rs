//! The replicated state as the model sees it: ordered rows in named spaces. The `raft` room keeps them.

use std::collections::BTreeMap;

/// Where a row lives. The number is the first byte of its row key. Stored form: a number is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Space {
    /// Single values: settings, versions, counters.
    Meta = 1,
    /// Registration entries by id.
    Entries = 2,
    /// Entry ids by parent SPIFFE ID.
    EntriesByParent = 3,
    /// Entry ids by SPIFFE ID.
    EntriesBySpiffeId = 4,
    /// Entry id by the digest of (parent, SPIFFE ID, selectors), which is unique.
    EntriesByIdentity = 5,
    /// Authorities by kind and key id.
    Authorities = 6,
    /// The exchange policy, by version.
    Policy = 7,
    /// Batches of issuance records, by log index.
    Issuance = 8,
    /// What each node has committed of its issuance journal, by node.
    IssuanceProgress = 9,
    /// What came of requests with an idempotency key.
    Requests = 10,
}

impl Space {
    /// Every space, in the order of their numbers.
    pub const ALL: &'static [Self] = &[
        Self::Meta,
        Self::Entries,
        Self::EntriesByParent,
        Self::EntriesBySpiffeId,
        Self::EntriesByIdentity,
        Self::Authorities,
        Self::Policy,
        Self::Issuance,
        Self::IssuanceProgress,
        Self::Requests,
    ];

    /// The first byte of the row keys of this space.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        self as u8
    }
}

/// A row's key without the space's prefix, and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Reading rows. Implementations answer from one consistent view, and stop the process when the disk cannot be read.
pub trait Rows {
    /// The value at `key`.
    fn row(&self, space: Space, key: &[u8]) -> Option<Vec<u8>>;

    /// Up to `limit` rows whose keys begin with `prefix` and are greater than `after`, in key order.
    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Row>;
}

/// Changing rows, all of one command together or none.
pub trait RowsMut: Rows {
    /// Writes `value` at `key`.
    fn put(&mut self, space: Space, key: &[u8], value: Vec<u8>);

    /// Removes the row at `key`, if there is one.
    fn delete(&mut self, space: Space, key: &[u8]);
}

/// Rows in memory: the plain model that other implementations are held against.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryRows {
    rows: BTreeMap<(Space, Vec<u8>), Vec<u8>>,
}

impl Rows for MemoryRows {
    fn row(&self, space: Space, key: &[u8]) -> Option<Vec<u8>> {
        self.rows.get(&(space, key.to_vec())).cloned()
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Row> {
        self.rows
            .range((space, after.filter(|after| *after > prefix).unwrap_or(prefix).to_vec())..)
            .take_while(|((s, key), _)| *s == space && key.starts_with(prefix))
            .filter(|((_, key), _)| after.is_none_or(|after| key.as_slice() > after))
            .take(limit)
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect()
    }
}

impl RowsMut for MemoryRows {
    fn put(&mut self, space: Space, key: &[u8], value: Vec<u8>) {
        self.rows.insert((space, key.to_vec()), value);
    }

    fn delete(&mut self, space: Space, key: &[u8]) {
        self.rows.remove(&(space, key.to_vec()));
    }
}
