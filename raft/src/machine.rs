//! What the commands mean: told by the rooms above.

use std::collections::BTreeSet;

use signet_model::rows::{Rows, RowsMut, Space};
use signet_model::time::UnixTime;

use crate::feature::FEATURE_LEVEL;

/// The meaning of the commands that a [`Node`](crate::Node) replicates.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies one command to `rows` and returns its outcome. Deterministic and total: a refusal is an outcome. What
    /// becomes of `rows` must not depend on whether the outcome is `answered`.
    ///
    /// # Errors
    /// Only for a command that this program does not know, because a newer one proposed it: the node stops rather than
    /// let its state drift from the others'.
    fn apply(&self, rows: &mut dyn RowsMut, context: ApplyContext, command: &[u8]) -> Result<Vec<u8>, UnknownCommand>;

    /// The highest feature level whose commands and rows it knows.
    fn feature_level(&self) -> u32 {
        FEATURE_LEVEL
    }

    /// Told after the commands up to `index` have become visible, with the spaces in which rows changed; at start and
    /// after a snapshot was installed with every space. For refreshing caches; runs on the apply path, so be brief.
    fn applied(&self, rows: &dyn Rows, index: u64, changed: &BTreeSet<Space>);
}

/// Where and when a command is applied; the same on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplyContext {
    /// The command's place in the log.
    pub index: u64,
    /// Cluster time: the largest of all leaders' time stamps up to here.
    pub at: UnixTime,
    /// Whether somebody at this node may wait for the outcome; if not, it need not be written out.
    pub answered: bool,
}

/// A command that this program does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown command ({detail}): this program is too old for this cluster; install the version the other nodes run"
)]
pub struct UnknownCommand {
    /// What was seen, without the command's contents.
    pub detail: String,
}
