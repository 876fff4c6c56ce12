//! A RocksDB snapshot with the place it stands at. One is taken after each batch and shared by all who look.

use std::sync::Arc;

use rocksdb::{DB, Snapshot};
use signet_model::rows::{Row, Rows, Space};
use signet_model::time::UnixTime;

use super::generation::Generation;
use super::overlay::without_prefix;
use super::rows::{collect, row_key, scan_options, scan_start};
use crate::fatal;

/// What a [`View`](crate::View) shares.
pub(crate) struct ViewInner {
    // Dropped in this order: the snapshot is released before the database it borrows from may close.
    snapshot: Snapshot<'static>,
    _generation: Arc<Generation>,
    end: u64,
    time: UnixTime,
}

impl ViewInner {
    /// A view of `generation` as it is now, where entries below `end` are applied.
    #[expect(unsafe_code, reason = "a snapshot borrows its database; here the two are kept together")]
    pub(crate) fn new(generation: Arc<Generation>, end: u64, time: UnixTime) -> Self {
        let snapshot = generation.db.snapshot();
        // SAFETY: the snapshot borrows `generation.db`, which lives at a stable address inside the `Arc` that is kept
        // beside it and dropped after it (fields drop in the order they are declared). The snapshot never leaves this
        // struct, so nothing can use the lengthened borrow after the database is gone.
        let snapshot = unsafe { std::mem::transmute::<Snapshot<'_>, Snapshot<'static>>(snapshot) };
        Self { snapshot, _generation: generation, end, time }
    }

    /// One more than the last applied index; 0 when nothing is.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Cluster time there.
    pub(crate) fn cluster_time(&self) -> UnixTime {
        self.time
    }

    /// Up to `limit` rows whose whole keys begin with `prefix`, from `start`, in order.
    pub(crate) fn scan_whole(&self, prefix: &[u8], start: &[u8], limit: usize) -> Vec<Row> {
        collect(self.snapshot.raw_iterator_opt(scan_options(start, prefix)), limit)
    }
}

impl Rows for ViewInner {
    fn row(&self, space: Space, key: &[u8]) -> Option<Vec<u8>> {
        match self.snapshot.get(row_key(space, key)) {
            Ok(value) => value,
            Err(cause) => fatal::abort("cannot read the replicated state", &cause),
        }
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Row> {
        let start = row_key(space, &scan_start(prefix, after));
        self.scan_whole(&row_key(space, prefix), &start, limit).into_iter().map(without_prefix).collect()
    }
}

// What the lengthened borrow relies on: the type that is lengthened borrows from `DB` and nothing else.
const _: fn(&DB) -> Snapshot<'_> = DB::snapshot;
