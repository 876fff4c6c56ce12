//! Changes that are not written yet, over the rows that are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use rocksdb::{DB, WriteBatch};
use signet_model::rows::{Row, Rows, RowsMut, Space};

use super::rows::{NODE_PREFIX, collect, prefix_end, prefixed, read, row_key, scan_options, scan_start};

/// The changes of one batch of commands: each sees those before it.
pub(crate) struct Overlay<'db> {
    db: &'db DB,
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    changed: BTreeSet<Space>,
}

impl<'db> Overlay<'db> {
    /// No changes yet.
    pub(crate) fn new(db: &'db DB) -> Self {
        Self { db, changes: BTreeMap::new(), changed: BTreeSet::new() }
    }

    /// The value at a whole key.
    pub(crate) fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        match self.changes.get(key) {
            Some(change) => change.clone(),
            None => read(self.db, key),
        }
    }

    /// Writes at a whole key.
    pub(crate) fn write(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.insert(key, Some(value));
    }

    /// Removes a whole key.
    pub(crate) fn remove(&mut self, key: Vec<u8>) {
        self.changes.insert(key, None);
    }

    /// Up to `limit` rows whose whole keys begin with `prefix`, from `start`, in order.
    pub(crate) fn scan_whole(&self, prefix: &[u8], start: &[u8], limit: usize) -> Vec<Row> {
        let end = prefix_end(prefix);
        if end.as_deref().is_some_and(|end| start >= end) {
            return Vec::new();
        }
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        let changes = self.changes.range::<Vec<u8>, _>((Bound::Included(start.to_vec()), end));
        let changes: Vec<_> = changes.collect();
        // So many of the stored rows at most can be hidden by changes.
        let stored_limit = limit.saturating_add(changes.len());
        let stored = collect(self.db.raw_iterator_opt(scan_options(start, prefix)), stored_limit);
        let mut merged: BTreeMap<Vec<u8>, Option<Vec<u8>>> =
            stored.into_iter().map(|(key, value)| (key, Some(value))).collect();
        for (key, change) in changes {
            merged.insert(key.clone(), change.clone());
        }
        merged.into_iter().filter_map(|(key, value)| Some((key, value?))).take(limit).collect()
    }

    /// Whether a member was added, changed or removed.
    pub(crate) fn roster_changed(&self) -> bool {
        self.changes.range(prefixed(NODE_PREFIX, &[])..prefixed(NODE_PREFIX + 1, &[])).next().is_some()
    }

    /// The changes as one batch, and the spaces they touch.
    pub(crate) fn into_batch(self) -> (WriteBatch, BTreeSet<Space>) {
        let mut batch = WriteBatch::default();
        for (key, change) in self.changes {
            match change {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        (batch, self.changed)
    }
}

impl Rows for Overlay<'_> {
    fn row(&self, space: Space, key: &[u8]) -> Option<Vec<u8>> {
        self.read(&row_key(space, key))
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Row> {
        let start = row_key(space, &scan_start(prefix, after));
        let rows = self.scan_whole(&row_key(space, prefix), &start, limit);
        rows.into_iter().map(without_prefix).collect()
    }
}

impl RowsMut for Overlay<'_> {
    fn put(&mut self, space: Space, key: &[u8], value: Vec<u8>) {
        self.changed.insert(space);
        self.write(row_key(space, key), value);
    }

    fn delete(&mut self, space: Space, key: &[u8]) {
        self.changed.insert(space);
        self.remove(row_key(space, key));
    }
}

/// A row as its space sees it.
pub(crate) fn without_prefix((mut key, value): Row) -> Row {
    key.drain(..1);
    (key, value)
}
