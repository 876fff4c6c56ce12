//! Holds a whole state against its own rules: every row decodes, indexes agree with what they index, counters with what
//! they count. For backups and recovery, where nobody has looked at the rows since they were written.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};

use super::{IssuanceBatch, StoredPolicy, entries, epoch, requests, settings};
use crate::authority::{Authority, AuthorityKind, CertificateRequest};
use crate::entry::{EntryId, RegistrationEntry};
use crate::policy::Policy;
use crate::recipient::{NodeBackends, Recipients};
use crate::record::IssuanceRecord;
use crate::rotation::{PastAuthority, RotationRequest};
use crate::rows::{Rows, Space};
use crate::stored::from_bytes;

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// Every space, in the order of their numbers.
    pub spaces: Vec<SpaceFindings>,
    /// What is wrong, the first of it: at most [`SHOWN_PROBLEMS`].
    pub problems: Vec<String>,
    /// Rows of kinds that this program has no rule for; they were hashed, not judged.
    pub unjudged: u64,
}

/// One space as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceFindings {
    /// Which.
    pub space: Space,
    /// How many rows it has.
    pub rows: u64,
    /// SHA-256 over all keys and values in order, each behind its length: equal for equal contents.
    pub hash: [u8; 32],
}

impl Findings {
    /// How many rows `space` has.
    #[must_use]
    pub fn rows(&self, space: Space) -> u64 {
        self.spaces.iter().find(|found| found.space == space).map_or(0, |found| found.rows)
    }
}

/// Reads every row of `rows` and says what it found. Work is proportional to the state, memory is not.
#[must_use]
pub fn verify(rows: &dyn Rows) -> Findings {
    let mut judge = Judge { rows, problems: Vec::new(), unjudged: 0, issued: BTreeMap::new(), authorities: [0; 4] };
    let spaces: Vec<SpaceFindings> = Space::ALL.iter().map(|space| judge.space(*space)).collect();
    judge.whole(&spaces);
    Findings { spaces, problems: judge.problems, unjudged: judge.unjudged }
}

struct Judge<'a> {
    rows: &'a dyn Rows,
    problems: Vec<String>,
    unjudged: u64,
    /// By node: the position after its last batch.
    issued: BTreeMap<u64, u64>,
    authorities: [u64; 4],
}

impl Judge<'_> {
    fn space(&mut self, space: Space) -> SpaceFindings {
        let mut context = Context::new(&SHA256);
        let (mut count, mut after) = (0, None::<Vec<u8>>);
        loop {
            let page = self.rows.scan(space, &[], after.as_deref(), PAGE);
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, value) in &page {
                count += 1;
                for part in [key, value] {
                    context.update(&(part.len() as u64).to_be_bytes());
                    context.update(part);
                }
                self.row(space, key, value);
            }
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        SpaceFindings { space, rows: count, hash }
    }

    fn row(&mut self, space: Space, key: &[u8], value: &[u8]) {
        let judged = if space == Space::Entries {
            self.entry(key, value)
        } else if space == Space::Authorities {
            self.authority(key, value)
        } else if space == Space::Policy {
            policy(value)
        } else if space == Space::Issuance {
            self.batch(value)
        } else if space == Space::IssuanceProgress {
            self.progress(key, value)
        } else if space == Space::EntriesByParent || space == Space::EntriesBySpiffeId {
            self.index(key)
        } else if space == Space::EntriesByIdentity {
            self.identity(value)
        } else if space == Space::Requests {
            requests::judge(self.rows, key, value)
        } else if space == Space::Meta {
            return self.meta(key, value);
        } else {
            self.unjudged += 1;
            return;
        };
        if let Err(problem) = judged {
            self.problem(format!("{space:?} row {}: {problem}", shown(key)));
        }
    }

    fn problem(&mut self, problem: String) {
        if self.problems.len() < SHOWN_PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn entry(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let entry: RegistrationEntry = from_bytes(value).map_err(|cause| cause.to_string())?;
        if entry.id.as_str().as_bytes() != key {
            return Err(format!("it holds the entry {}", entry.id));
        }
        match entries::missing_index(self.rows, &entry) {
            None => Ok(()),
            Some(space) => Err(format!("{space:?} does not lead to it")),
        }
    }

    /// An index row leads to an entry that is there. That it is the right one follows from the counts, since every entry
    /// was seen to have its index rows.
    fn index(&self, key: &[u8]) -> Result<(), String> {
        let id = key.iter().rposition(|byte| *byte == 0).and_then(|at| key.get(at + 1..)).unwrap_or_default();
        match self.rows.row(Space::Entries, id) {
            Some(_) => Ok(()),
            None => Err(format!("it leads to the entry {}, which is not there", shown(id))),
        }
    }

    fn identity(&self, value: &[u8]) -> Result<(), String> {
        let id: EntryId = from_bytes(value).map_err(|cause| cause.to_string())?;
        match self.rows.row(Space::Entries, id.as_str().as_bytes()) {
            Some(_) => Ok(()),
            None => Err(format!("it leads to the entry {id}, which is not there")),
        }
    }

    fn authority(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let authority: Authority = from_bytes(value).map_err(|cause| cause.to_string())?;
        if key.get(1..) != Some(authority.id.as_bytes()) {
            return Err(format!("it holds the {} authority {}", authority.kind, authority.id));
        }
        let at = AuthorityKind::ALL.iter().position(|kind| *kind == authority.kind);
        if let Some(count) = at.and_then(|at| self.authorities.get_mut(at)) {
            *count += 1;
        }
        Ok(())
    }

    fn batch(&mut self, value: &[u8]) -> Result<(), String> {
        let batch: IssuanceBatch = from_bytes(value).map_err(|cause| cause.to_string())?;
        for (nth, record) in batch.records.iter().enumerate() {
            from_bytes::<IssuanceRecord>(record).map_err(|cause| format!("record {nth}: {cause}"))?;
        }
        let end = batch.first + batch.records.len() as u64;
        match self.issued.insert(batch.node, end) {
            Some(expected) if expected != batch.first => Err(format!(
                "the journal of node {} goes on at {}, and its last batch ended at {expected}",
                batch.node, batch.first
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn progress(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let node = key.try_into().map(u64::from_be_bytes).map_err(|_| "the key is no node's id".to_owned())?;
        let next: u64 = from_bytes(value).map_err(|cause| cause.to_string())?;
        // `None`: its batches are so old that they were forgotten.
        match self.issued.get(&node) {
            Some(end) if *end != next => {
                Err(format!("the journal of node {node} is committed up to {next}, its last batch ends at {end}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn meta(&mut self, key: &[u8], value: &[u8]) {
        let judged = match key {
            b"settings" => settings(self.rows).map(|_| ()),
            b"bundle_sequence" => from_bytes::<u64>(value).map(|_| ()),
            key if key.starts_with(b"epoch/") => from_bytes::<u64>(value).map(|_| ()),
            key if key.starts_with(b"rotation/") => from_bytes::<RotationRequest>(value).map(|_| ()),
            b"recipients" => from_bytes::<Recipients>(value).map(|_| ()),
            key if key.starts_with(b"backends/") => from_bytes::<NodeBackends>(value).map(|_| ()),
            key if key.starts_with(b"certificate_request/") => from_bytes::<CertificateRequest>(value).map(|_| ()),
            key if key.starts_with(b"past/") => from_bytes::<PastAuthority>(value).map(|_| ()),
            _ => {
                self.unjudged += 1;
                Ok(())
            }
        };
        if let Err(cause) = judged {
            self.problem(format!("Meta row {}: {cause}", shown(key)));
        }
    }

    /// What only the whole can tell.
    fn whole(&mut self, spaces: &[SpaceFindings]) {
        let rows = |space| spaces.iter().find(|found| found.space == space).map_or(0, |found| found.rows);
        let entries = rows(Space::Entries);
        for index in [Space::EntriesByParent, Space::EntriesBySpiffeId, Space::EntriesByIdentity] {
            if rows(index) != entries {
                self.problem(format!("there are {entries} entries, and {index:?} has {} rows", rows(index)));
            }
        }
        for (kind, count) in AuthorityKind::ALL.iter().zip(self.authorities) {
            match epoch(self.rows, *kind) {
                Ok(ever) if ever < count => {
                    self.problem(format!(
                        "there are {count} {kind} authorities, and only {ever} changes were ever made to them"
                    ));
                }
                Ok(_) => {}
                Err(cause) => self.problem(format!("the count of {kind} authorities: {cause}")),
            }
        }
        let established = matches!(settings(self.rows), Ok(Some(_)));
        if !established && (entries > 0 || rows(Space::Authorities) > 0) {
            self.problem("there are entries or authorities, and no trust domain".to_owned());
        }
    }
}

fn policy(value: &[u8]) -> Result<(), String> {
    let stored: StoredPolicy = from_bytes(value).map_err(|cause| cause.to_string())?;
    Policy::parse(&stored.document).map(|_| ()).map_err(|mistakes| format!("version {}: {mistakes}", stored.version))
}

/// A key as text where it is some.
fn shown(key: &[u8]) -> String {
    let text: String =
        key.iter().take(SHOWN_KEY).flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect();
    format!("\"{text}\"")
}

/// So many rows are in memory at a time.
const PAGE: usize = 512;
/// More would not help anybody.
pub const SHOWN_PROBLEMS: usize = 100;
const SHOWN_KEY: usize = 120;
