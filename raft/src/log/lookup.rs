//! Looking into the log's database.

use std::io;

use super::chain::Chain;
use super::disk::Disk;
use super::rows::{PURGED_KEY, PurgedRow, RowError, entry_key, follow, read_entry};
use crate::encoding::{entry_from_body, unversioned};
use crate::types::LogId;

/// The entry at `index`, which may be the purged one, with the chain's value there.
pub(crate) fn entry_and_chain(disk: &Disk, index: u64) -> io::Result<Option<(LogId, Option<Chain>)>> {
    let purged = disk.get(PURGED_KEY)?;
    let purged = purged.map(|bytes| unversioned::<PurgedRow>(&bytes)).transpose()?;
    if let Some(purged) = purged.filter(|purged| purged.id().index == index) {
        return Ok(Some((purged.id(), purged.chain)));
    }
    let Some(row) = disk.get(&entry_key(index))? else { return Ok(None) };
    let entry = read_entry(index, &row).and_then(|row| Ok(entry_from_body(row.body)?));
    let entry = entry.map_err(|cause| damaged_entry(&cause, index))?;
    Ok(Some((entry.log_id, chain_at(disk, index)?)))
}

/// The chain's value at `index`, if the log holds it.
pub(crate) fn chain_at(disk: &Disk, index: u64) -> io::Result<Option<Chain>> {
    let read = |row: &[u8], at| read_entry(at, row).map(|row| row.chain).map_err(|cause| damaged_entry(&cause, at));
    let purged = disk.get(PURGED_KEY)?;
    let purged = purged.map(|bytes| unversioned::<PurgedRow>(&bytes)).transpose()?;
    if let Some(purged) = &purged
        && index <= purged.id().index
    {
        return Ok(purged.chain.filter(|_| index == purged.id().index));
    }
    let Some(row) = disk.get(&entry_key(index))? else { return Ok(None) };
    if let Some(chain) = read(&row, index)? {
        return Ok(Some(chain));
    }
    // A row of an older program: counted from where the log begins.
    let mut chain = purged.map_or(Some(Chain::START), |purged| purged.chain);
    let begin = purged.map_or(0, |purged| purged.id().index + 1);
    for (at, row) in (begin..).zip(disk.range(&entry_key(begin), &entry_key(index + 1))) {
        let (_, row) = row?;
        let row = read_entry(at, &row).and_then(|row| follow(chain, &row));
        chain = row.map_err(|cause| damaged_entry(&cause, at))?;
    }
    Ok(chain)
}

/// What a reader is told.
pub(crate) fn damaged_entry(cause: &RowError, index: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, cause.at(index))
}
