//! How much the disk has confirmed, kept in a small file outside of the databases: a disk that loses acknowledged writes
//! would otherwise look, after a restart, as if they had never been made, and this node would vote on what it forgot.
//!
//! Stored form: two slots of 4096 bytes, written in turn, each a magic word, a checksum (the first 8 bytes of the SHA-256
//! of all that follows), a sequence number and a length (big endian), and the [`Mark`] in CBOR. The valid slot with the
//! higher number counts. Change log: 2026-11-22 version 1.

use std::io;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use minicbor::{Decode, Encode};
use signet_model::stored::{from_bytes, to_bytes};
use tokio::time::Instant;

use super::chain::Chain;
use super::disk::Disk;
use crate::encoding::{StoredLogId, StoredVote};
use crate::types::{LogId, Vote};

/// What the disk has confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct Mark {
    /// The last entry that was fsynced.
    #[n(0)]
    pub(crate) last: Option<StoredLogId>,
    /// The chain's value there, if it is known.
    #[n(1)]
    pub(crate) chain: Option<Chain>,
    /// The last vote that was fsynced.
    #[n(2)]
    pub(crate) vote: Option<StoredVote>,
}

/// What was found when a log was opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) last: Option<LogId>,
    pub(crate) purged: Option<LogId>,
    pub(crate) vote: Option<Vote>,
}

impl Mark {
    /// What is missing from what was found, if anything is. `at` tells the entry at an index, with the chain's value.
    pub(crate) fn missing(
        &self,
        found: &Found,
        at: impl FnOnce(u64) -> io::Result<Option<(LogId, Option<Chain>)>>,
    ) -> io::Result<Option<String>> {
        if let Some(vote) = self.vote.filter(|vote| found.vote < Some(Vote::from(*vote))) {
            let StoredVote { term, node, .. } = vote;
            return Ok(Some(format!("the vote of term {term} for node {node} was on disk and is gone")));
        }
        let Some(last) = self.last.map(LogId::from) else { return Ok(None) };
        let end = found.last.map_or(0, |id| id.index + 1);
        if last.index >= end {
            return Ok(Some(format!("the log was on disk up to entry {} and now ends before entry {end}", last.index)));
        }
        if found.purged.is_some_and(|purged| last.index < purged.index) {
            return Ok(None);
        }
        let changed = match at(last.index)? {
            Some((id, chain)) => id != last || chain.zip(self.chain).is_some_and(|(here, marked)| here != marked),
            None => true,
        };
        Ok(changed.then(|| format!("entry {} or one before it is not the one that was on disk", last.index)))
    }
}

/// What is on disk, and what is to be written there.
pub(crate) struct Watermark {
    sequence: u64,
    mark: Mark,
    /// When the mark that is not written yet became newer than the one that is.
    since: Option<Instant>,
    written: Mark,
}

impl Watermark {
    /// What was read; `None` if both slots are damaged.
    pub(crate) fn read(slots: &[Vec<u8>; 2]) -> Option<Self> {
        let newest = slots.iter().filter_map(|slot| decode(slot)).max_by_key(|(sequence, _)| *sequence);
        newest.map(|(sequence, mark)| Self { sequence, mark, since: None, written: mark })
    }

    /// A new one that says `mark`, in place of whatever was there.
    pub(crate) fn make(disk: &Disk, mark: Mark) -> io::Result<Self> {
        disk.make_slots([&encode(0, &mark), &encode(1, &mark)])?;
        Ok(Self { sequence: 1, mark, since: None, written: mark })
    }

    /// The newest mark, written or not.
    pub(crate) fn mark(&self) -> Mark {
        self.mark
    }

    /// Entries up to `last` are on disk.
    pub(crate) fn flushed(&mut self, last: &LogId, chain: Option<Chain>, now: Instant) {
        self.mark = Mark { last: Some(last.into()), chain, ..self.mark };
        self.since.get_or_insert(now);
    }

    /// The vote is on disk.
    pub(crate) fn voted(&mut self, vote: &Vote, now: Instant) {
        self.mark.vote = Some(vote.into());
        self.since.get_or_insert(now);
    }

    /// Entries from `start` on are about to go: `last` is what remains. Durable when this returns.
    pub(crate) async fn lower(
        &mut self,
        disk: &Disk,
        start: u64,
        last: Option<&LogId>,
        chain: Option<Chain>,
    ) -> io::Result<()> {
        let above = |mark: &Mark| mark.last.is_some_and(|id| id.index >= start);
        let written_above = above(&self.written);
        if above(&self.mark) {
            self.mark = Mark { last: last.map(Into::into), chain, ..self.mark };
        }
        if written_above {
            // In both slots: the one that remains when the other is damaged must not ask for what is gone.
            self.write_slot(disk).await?;
            self.write_slot(disk).await?;
        }
        Ok(())
    }

    /// Whether the mark on disk has been old for long enough.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) >= EVERY)
    }

    /// Whether there is something to write, now or soon.
    pub(crate) fn waits(&self) -> bool {
        self.since.is_some()
    }

    /// Writes the mark if it is newer than the written one.
    pub(crate) async fn write(&mut self, disk: &Disk) -> io::Result<()> {
        if self.mark == self.written {
            self.since = None;
            return Ok(());
        }
        self.write_slot(disk).await
    }

    async fn write_slot(&mut self, disk: &Disk) -> io::Result<()> {
        self.sequence += 1;
        let slot = encode(self.sequence, &self.mark);
        disk.write_slot(!self.sequence.is_multiple_of(2), &slot).await?;
        (self.written, self.since) = (self.mark, None);
        Ok(())
    }
}

/// One slot's bytes.
pub(crate) fn encode(sequence: u64, mark: &Mark) -> Vec<u8> {
    let payload = to_bytes(mark);
    let mut body = sequence.to_be_bytes().to_vec();
    body.extend_from_slice(&u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes());
    body.extend_from_slice(&payload);
    body.resize(SLOT - MAGIC.len() - CHECKSUM, 0);
    let mut slot = MAGIC.to_vec();
    slot.extend_from_slice(digest(&SHA256, &body).as_ref().get(..CHECKSUM).unwrap_or_default());
    slot.extend_from_slice(&body);
    slot
}

/// What [`encode`] wrote; `None` if it is damaged.
pub(crate) fn decode(slot: &[u8]) -> Option<(u64, Mark)> {
    let (sum, body) = slot.strip_prefix(MAGIC)?.split_at_checked(CHECKSUM)?;
    if slot.len() != SLOT || digest(&SHA256, body).as_ref().get(..CHECKSUM)? != sum {
        return None;
    }
    let (sequence, rest) = body.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    let payload = rest.get(..u16::from_be_bytes(*len).into())?;
    Some((u64::from_be_bytes(*sequence), from_bytes(payload).ok()?))
}

const MAGIC: &[u8] = b"sgnmark1";
const CHECKSUM: usize = 8;
/// A page: a write that is torn by a power cut does not reach into the other slot.
pub(crate) const SLOT: usize = 4096;
/// The mark on disk is written when it is this old.
pub(crate) const EVERY: Duration = Duration::from_millis(100);
