//! What becomes of a journal when its node becomes another one (`signet recover`).
//!
//! The records that were not replicated go on in the new node's journal, from position 0: the new node's id was never given
//! before, so the replicated state has nothing of it, and each of them is replicated once. The old journal stays as it is.

use std::path::Path;

use signet_model::state::committed_position;
use signet_raft::View;

use super::segment::Segments;

/// How many records the journal in `data_dir` of `node` holds that `view` does not.
///
/// # Errors
/// The journal or the state is damaged; the text says where.
pub(crate) fn unreplicated(data_dir: &Path, view: &View, node: u64) -> Result<u64, String> {
    Ok(waiting(data_dir, view, node)?.len() as u64)
}

/// Copies them into a new journal in `new`, and returns how many there were.
///
/// # Errors
/// As [`unreplicated`]; or the new journal could not be written.
pub(crate) fn carry_over(old: &Path, new: &Path, view: &View, node: u64) -> Result<u64, String> {
    copy(&waiting(old, view, node)?, &new.join(DIR))
}

/// Writes records into a new journal in `dir`.
pub(super) fn copy(records: &[Vec<u8>], dir: &Path) -> Result<u64, String> {
    if records.is_empty() {
        return Ok(0);
    }
    let (mut segments, _) = Segments::open(dir, 0).map_err(|cause| cause.to_string())?;
    segments.write(records.iter().map(Vec::as_slice)).map_err(|cause| format!("the new journal: {cause}"))?;
    Ok(records.len() as u64)
}

fn waiting(data_dir: &Path, view: &View, node: u64) -> Result<Vec<Vec<u8>>, String> {
    let committed = committed_position(view, node).map_err(|cause| cause.to_string())?;
    Segments::peek(&data_dir.join(DIR), committed).map_err(|cause| cause.to_string())
}

/// Where a node's journal is in its data directory.
pub(crate) const DIR: &str = "journal";
