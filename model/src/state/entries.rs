//! Registration entries and their indexes.

use aws_lc_rs::digest::{SHA256, digest};

use super::{Position, load, store};
use crate::caller::Caller;
use crate::command::{EntryChange, EntryOutcome, Outcome};
use crate::entry::{EntryId, EntrySpec, RegistrationEntry, Selector};
use crate::refusal::{Reason, Refusal};
use crate::rows::{Rows, RowsMut, Space};
use crate::spiffe_id::SpiffeId;
use crate::stored::{StoredFormError, from_bytes, to_bytes};

/// The entry named `id`.
///
/// # Errors
/// The row is damaged; the node must stop.
pub fn entry(rows: &dyn Rows, id: &EntryId) -> Result<Option<RegistrationEntry>, StoredFormError> {
    load(rows, Space::Entries, id.as_str().as_bytes())
}

/// Up to `limit` entries with ids after `after`, in the order of their ids.
///
/// # Errors
/// A row is damaged; the node must stop.
pub fn list(rows: &dyn Rows, after: Option<&EntryId>, limit: usize) -> Result<Vec<RegistrationEntry>, StoredFormError> {
    rows.scan(Space::Entries, &[], after.map(|id| id.as_str().as_bytes()), limit)
        .iter()
        .map(|(_, value)| from_bytes(value))
        .collect()
}

/// Every entry whose parent is `parent`.
///
/// # Errors
/// A row is damaged; the node must stop.
pub fn children(rows: &dyn Rows, parent: &SpiffeId) -> Result<Vec<RegistrationEntry>, StoredFormError> {
    indexed(rows, Space::EntriesByParent, parent)
}

/// Every entry that grants `id`.
///
/// # Errors
/// A row is damaged; the node must stop.
pub fn entries_by_spiffe_id(rows: &dyn Rows, id: &SpiffeId) -> Result<Vec<RegistrationEntry>, StoredFormError> {
    indexed(rows, Space::EntriesBySpiffeId, id)
}

/// The spec that an update leads to.
#[must_use]
pub fn merged(present: &EntrySpec, change: &EntryChange) -> EntrySpec {
    let (new, fields) = (&change.spec, change.fields);
    let mut spec = present.clone();
    macro_rules! take {
        ($($flag:ident: $($field:ident),+;)+) => {
            $(if fields.$flag { $(spec.$field = new.$field.clone();)+ })+
        };
    }
    take! {
        spiffe_id: spiffe_id;
        parent_id: parent_id;
        selectors: selectors;
        x509_svid_ttl: x509_svid_ttl_secs;
        jwt_svid_ttl: jwt_svid_ttl_secs;
        federates_with: federates_with;
        dns_names: dns_names;
        admin: admin;
        downstream: downstream;
        store_svid: store_svid;
        hint: hint;
        expires_at: expires_at_secs;
        additional_attributes: disable_x509_svid_prefetch, jwt_svid_include_jti;
    }
    spec
}

pub(super) fn create(
    rows: &mut dyn RowsMut,
    position: Position,
    caller: &Caller,
    entries: &[(EntryId, EntrySpec)],
) -> Result<Outcome, StoredFormError> {
    let mut outcomes = Vec::with_capacity(entries.len());
    for (id, spec) in entries {
        outcomes.push(create_one(rows, position, caller, id, spec)?);
    }
    Ok(Outcome::Entries(outcomes))
}

fn create_one(
    rows: &mut dyn RowsMut,
    position: Position,
    caller: &Caller,
    id: &EntryId,
    spec: &EntrySpec,
) -> Result<EntryOutcome, StoredFormError> {
    let identity = identity(spec);
    if let Some(similar) = similar(rows, &identity)? {
        return Ok(EntryOutcome::Similar(similar));
    }
    if entry(rows, id)?.is_some() {
        let detail = format!("an entry with the id {id} exists; choose another id or update that entry");
        return Ok(EntryOutcome::Refused(Refusal::new(Reason::AlreadyExists, detail)));
    }
    let entry = RegistrationEntry {
        id: id.clone(),
        spec: spec.clone(),
        revision: 0,
        created_at: position.at,
        changed_by: caller.clone(),
        changed_at_index: position.index,
    };
    insert(rows, &entry, &identity);
    Ok(EntryOutcome::Done(entry))
}

pub(super) fn update(
    rows: &mut dyn RowsMut,
    position: Position,
    caller: &Caller,
    changes: &[EntryChange],
) -> Result<Outcome, StoredFormError> {
    let mut outcomes = Vec::with_capacity(changes.len());
    for change in changes {
        outcomes.push(update_one(rows, position, caller, change)?);
    }
    Ok(Outcome::Entries(outcomes))
}

fn update_one(
    rows: &mut dyn RowsMut,
    position: Position,
    caller: &Caller,
    change: &EntryChange,
) -> Result<EntryOutcome, StoredFormError> {
    let Some(present) = entry(rows, &change.id)? else { return Ok(EntryOutcome::Refused(not_found())) };
    let spec = merged(&present.spec, change);
    let identity = identity(&spec);
    match similar(rows, &identity)? {
        Some(other) if other.id != present.id => return Ok(EntryOutcome::Similar(other)),
        _ => {}
    }
    remove(rows, &present);
    let entry = RegistrationEntry {
        spec,
        revision: present.revision + 1,
        changed_by: caller.clone(),
        changed_at_index: position.index,
        ..present
    };
    insert(rows, &entry, &identity);
    Ok(EntryOutcome::Done(entry))
}

pub(super) fn delete(rows: &mut dyn RowsMut, ids: &[EntryId]) -> Result<Outcome, StoredFormError> {
    let mut outcomes = Vec::with_capacity(ids.len());
    for id in ids {
        outcomes.push(match entry(rows, id)? {
            Some(present) => {
                remove(rows, &present);
                EntryOutcome::Deleted(present.id)
            }
            None => EntryOutcome::Refused(not_found()),
        });
    }
    Ok(Outcome::Entries(outcomes))
}

fn similar(rows: &dyn Rows, identity: &[u8]) -> Result<Option<RegistrationEntry>, StoredFormError> {
    match load::<EntryId>(rows, Space::EntriesByIdentity, identity)? {
        Some(id) => entry(rows, &id),
        None => Ok(None),
    }
}

fn insert(rows: &mut dyn RowsMut, entry: &RegistrationEntry, identity: &[u8]) {
    store(rows, Space::Entries, entry.id.as_str().as_bytes(), entry);
    rows.put(Space::EntriesByParent, &index_key(&entry.spec.parent_id, &entry.id), Vec::new());
    rows.put(Space::EntriesBySpiffeId, &index_key(&entry.spec.spiffe_id, &entry.id), Vec::new());
    store(rows, Space::EntriesByIdentity, identity, &entry.id);
}

/// The first index that does not lead to `entry` as it should, if there is one.
pub(super) fn missing_index(rows: &dyn Rows, entry: &RegistrationEntry) -> Option<Space> {
    let lists = [(Space::EntriesByParent, &entry.spec.parent_id), (Space::EntriesBySpiffeId, &entry.spec.spiffe_id)];
    for (space, id) in lists {
        if rows.row(space, &index_key(id, &entry.id)).is_none() {
            return Some(space);
        }
    }
    let by_identity = load::<EntryId>(rows, Space::EntriesByIdentity, &identity(&entry.spec));
    if by_identity.is_ok_and(|id| id.as_ref() == Some(&entry.id)) { None } else { Some(Space::EntriesByIdentity) }
}

fn remove(rows: &mut dyn RowsMut, entry: &RegistrationEntry) {
    rows.delete(Space::Entries, entry.id.as_str().as_bytes());
    rows.delete(Space::EntriesByParent, &index_key(&entry.spec.parent_id, &entry.id));
    rows.delete(Space::EntriesBySpiffeId, &index_key(&entry.spec.spiffe_id, &entry.id));
    rows.delete(Space::EntriesByIdentity, &identity(&entry.spec));
}

fn indexed(rows: &dyn Rows, space: Space, id: &SpiffeId) -> Result<Vec<RegistrationEntry>, StoredFormError> {
    let prefix = index_prefix(id);
    let mut found = Vec::new();
    for (key, _) in rows.scan(space, &prefix, None, usize::MAX) {
        let id = key.get(prefix.len()..).unwrap_or(&[]);
        if let Some(entry) = load(rows, Space::Entries, id)? {
            found.push(entry);
        }
    }
    Ok(found)
}

/// Stored form: the SPIFFE ID, a zero byte, which no SPIFFE ID holds, and the entry id.
fn index_key(id: &SpiffeId, entry: &EntryId) -> Vec<u8> {
    let mut key = index_prefix(id);
    key.extend_from_slice(entry.as_str().as_bytes());
    key
}

fn index_prefix(id: &SpiffeId) -> Vec<u8> {
    let mut key: Vec<u8> = id.parts().concat().into_bytes();
    key.push(0);
    key
}

/// Stored form: the digest of what makes an entry unique, its selectors sorted and without duplicates.
fn identity(spec: &EntrySpec) -> Vec<u8> {
    let mut selectors: Vec<&Selector> = spec.selectors.iter().collect();
    selectors.sort();
    selectors.dedup();
    digest(&SHA256, &to_bytes(&(&spec.parent_id, &spec.spiffe_id, selectors))).as_ref().to_vec()
}

fn not_found() -> Refusal {
    Refusal::new(Reason::NotFound, "entry not found")
}
