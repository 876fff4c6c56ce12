//! One node.

use std::path::Path;

/// Runs one node until it is told to stop.
///
/// # Errors
/// The configuration cannot be used, or the node failed. The text says what to do.
pub(crate) async fn run(config: &Path, join_token_file: Option<&Path>) -> anyhow::Result<()> {
    let _ = (config, join_token_file);
    todo!()
}
