//! One consistent view of local state.

use signet_model::rows::{Row, Rows, Space};
use signet_model::time::UnixTime;

/// One consistent view of a node's state as it was when the view was taken. Cheap to take, cheap to clone.
#[derive(Debug, Clone)]
pub struct View;

impl View {
    /// The last log index that this view holds.
    #[must_use]
    pub fn index(&self) -> u64 {
        todo!()
    }

    /// Cluster time at that index.
    #[must_use]
    pub fn cluster_time(&self) -> UnixTime {
        todo!()
    }
}

impl Rows for View {
    fn row(&self, _space: Space, _key: &[u8]) -> Option<Vec<u8>> {
        todo!()
    }

    fn scan(&self, _space: Space, _prefix: &[u8], _after: Option<&[u8]>, _limit: usize) -> Vec<Row> {
        todo!()
    }
}
