//! One consistent view of local state.

use std::fmt;
use std::sync::Arc;

use signet_model::rows::{Row, Rows, Space};
use signet_model::time::UnixTime;

use crate::state::ViewInner;

/// One consistent view of a node's state as it was when the view was taken. Taking and cloning it costs a counter.
#[derive(Clone)]
pub struct View {
    inner: Arc<ViewInner>,
}

impl View {
    pub(crate) fn new(inner: Arc<ViewInner>) -> Self {
        Self { inner }
    }

    /// The last log index that this view holds; 0 when nothing was applied yet.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.inner.end().saturating_sub(1)
    }

    /// Cluster time at that index: the largest of all leaders' time stamps up to there.
    #[must_use]
    pub fn cluster_time(&self) -> UnixTime {
        self.inner.cluster_time()
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("index", &self.index()).finish_non_exhaustive()
    }
}

impl Rows for View {
    fn row(&self, space: Space, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.row(space, key)
    }

    fn scan(&self, space: Space, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Row> {
        self.inner.scan(space, prefix, after, limit)
    }
}
