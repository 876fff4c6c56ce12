//! What a log's database holds when it is opened.

use std::collections::VecDeque;

use super::chain::Chain;
use super::disk::Disk;
use super::rows::{ENTRY_PREFIX, PURGED_KEY, PurgedRow, RowError, entry_index, entry_key, follow, read_entry};
use super::tail::{KEPT_ENTRIES, Tail};
use crate::encoding::{entry_from_body, unversioned};
use crate::types::LogEntry;

/// What was found.
pub(crate) struct Recovered {
    pub(crate) tail: Tail,
    /// The chain's value at the last entry; `None` if it is not known where the log began.
    pub(crate) chain: Option<Chain>,
}

/// Reads where the log begins and ends, holds it against holes and damage, and loads its last entries.
pub(crate) fn recover(disk: &Disk) -> Result<Recovered, String> {
    let purged = match disk.get(PURGED_KEY).map_err(|cause| cause.to_string())? {
        Some(bytes) => Some(unversioned::<PurgedRow>(&bytes).map_err(|cause| format!("the purged place: {cause}"))?),
        None => None,
    };
    let mut chain = purged.map_or(Some(Chain::START), |purged| purged.chain);
    let purged = purged.map(|purged| purged.id());
    let begin = purged.map_or(0, |id| id.index + 1);
    let mut recent = VecDeque::new();
    for (next, row) in (begin..).zip(disk.range(&entry_key(begin), &[ENTRY_PREFIX + 1])) {
        let (key, value) = row.map_err(|cause| cause.to_string())?;
        let index = entry_index(&key).ok_or("a row key is not an entry's")?;
        if index != next {
            return Err(format!("entry {next} is missing although entry {index} is there"));
        }
        let row = read_entry(index, &value).map_err(|cause| cause.at(index))?;
        chain = follow(chain, &row).map_err(|cause| cause.at(index))?;
        recent.push_back((index, row.body.to_vec()));
        if recent.len() > KEPT_ENTRIES / 4 {
            recent.pop_front();
        }
    }
    let entries: Result<VecDeque<_>, String> = recent.iter().map(|(index, body)| entry_at(*index, body)).collect();
    Ok(Recovered { tail: Tail::recovered(purged, entries?), chain })
}

fn entry_at(index: u64, body: &[u8]) -> Result<LogEntry, String> {
    match entry_from_body(body) {
        Ok(entry) if entry.log_id.index == index => Ok(entry),
        Ok(_) => Err(RowError::Chain.at(index)),
        Err(cause) => Err(RowError::from(cause).at(index)),
    }
}
