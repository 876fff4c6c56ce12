//! The watermark when a log is opened.

use std::path::Path;

use super::disk::{Disk, MARK_FILE};
use super::lookup::entry_and_chain;
use super::recover::Recovered;
use super::rows::MARKED_KEY;
use super::watermark::{Found, Mark, Watermark};
use crate::error::OpenError;
use crate::types::Vote;

/// The watermark of a log that is opened to recover from it, whatever it has lost, and what that is.
pub(crate) fn forgive_watermark(
    disk: &Disk,
    data_dir: &Path,
    recovered: &Recovered,
    vote: Option<Vote>,
) -> Result<(Watermark, Option<String>), OpenError> {
    let lost = match open_watermark(disk, data_dir, recovered, vote) {
        Ok(watermark) => return Ok((watermark, None)),
        Err(OpenError::Regressed { detail, .. } | OpenError::Damaged { detail, .. }) => detail,
        Err(other) => return Err(other),
    };
    let file = |cause| OpenError::File { action: "make", path: data_dir.join(MARK_FILE), cause };
    Ok((make(disk, recovered, vote).map_err(file)?, Some(lost)))
}

/// Holds what was recovered against what the disk had confirmed.
pub(crate) fn open_watermark(
    disk: &Disk,
    data_dir: &Path,
    recovered: &Recovered,
    vote: Option<Vote>,
) -> Result<Watermark, OpenError> {
    let path = data_dir.join(MARK_FILE);
    let damaged = |detail: String| OpenError::Damaged { path: path.clone(), detail };
    let file = |action, cause| OpenError::File { action, path: path.clone(), cause };
    let expected = disk.get(MARKED_KEY).map_err(|cause| damaged(cause.to_string()))?.is_some();
    let slots = disk.read_slots().map_err(|cause| file("read", cause))?;
    if slots.is_none() && expected {
        return Err(damaged(format!(
            "it is missing although the log is there; without it nobody can tell whether the disk has kept what it \
             confirmed. Restore it, or {REPLACE}"
        )));
    }
    let watermark = match slots.as_ref().and_then(Watermark::read) {
        Some(watermark) => {
            let (last, purged) = (recovered.tail.last, recovered.tail.purged);
            let missing = watermark.mark().missing(&Found { last, purged, vote }, |at| entry_and_chain(disk, at));
            if let Some(detail) = missing.map_err(|cause| damaged(cause.to_string()))? {
                return Err(OpenError::Regressed { path, detail });
            }
            watermark
        }
        None if expected => return Err(damaged(format!("both of its slots are damaged; {REPLACE}"))),
        // A new log, one that an older program wrote, or one whose making was interrupted here.
        None => make(disk, recovered, vote).map_err(|cause| file("make", cause))?,
    };
    if !expected {
        // From now on a log without a watermark is a damaged one.
        disk.put_first(MARKED_KEY, &[1]).map_err(|cause| file("write the log beside", cause))?;
    }
    Ok(watermark)
}

fn make(disk: &Disk, recovered: &Recovered, vote: Option<Vote>) -> std::io::Result<Watermark> {
    let last = recovered.tail.last.as_ref().map(Into::into);
    Watermark::make(disk, Mark { last, chain: recovered.chain, vote: vote.as_ref().map(Into::into) })
}

const REPLACE: &str =
    "remove the node from the cluster and let it join again, under a new id, with an empty data directory";
