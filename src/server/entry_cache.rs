//! Entries as they were read, until any entry changes: issuing asks for the same ones again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use signet_model::entry::{EntryId, RegistrationEntry};
use signet_model::rows::Rows;
use signet_model::state;
use signet_model::stored::StoredFormError;

/// A bounded cache in front of the entries' rows.
#[derive(Debug)]
pub(crate) struct EntryCache {
    /// Grows when any entry may have changed. What was read before that is no longer used.
    generation: AtomicU64,
    entries: Cache<EntryId, (u64, Arc<RegistrationEntry>)>,
}

impl EntryCache {
    pub(crate) fn new() -> Self {
        Self { generation: AtomicU64::new(0), entries: Cache::new(ENTRIES) }
    }

    /// Some entry may have changed. Called after the change has become visible and before anybody is told of it.
    pub(crate) fn changed(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// The entry named `id`, as fresh as the rows that `view` gives.
    ///
    /// # Errors
    /// The row is damaged; the node must stop.
    pub(crate) fn entry<R: Rows>(
        &self,
        id: &EntryId,
        view: impl FnOnce() -> R,
    ) -> Result<Option<Arc<RegistrationEntry>>, StoredFormError> {
        // Read before the view is taken: if a change comes in between, what is kept here is out of date at once, and
        // never taken for newer than it is.
        let generation = self.generation.load(Ordering::SeqCst);
        if let Some((read_at, entry)) = self.entries.get(id)
            && read_at == generation
        {
            return Ok(Some(entry));
        }
        let Some(entry) = state::entry(&view(), id)?.map(Arc::new) else { return Ok(None) };
        self.entries.insert(id.clone(), (generation, entry.clone()));
        Ok(Some(entry))
    }
}

/// About 500 bytes each.
const ENTRIES: usize = 16_384;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use signet_model::caller::Caller;
    use signet_model::entry::EntrySpec;
    use signet_model::rows::{MemoryRows, RowsMut, Space};
    use signet_model::stored::to_bytes;
    use signet_model::time::UnixTime;

    use super::*;

    fn put(rows: &mut MemoryRows, id: &EntryId, hint: &str) {
        let (id_of_web, host) = ("spiffe://example.org/web", "spiffe://example.org/host");
        let spec = EntrySpec::new(id_of_web.parse().unwrap(), host.parse().unwrap(), vec![]);
        let spec = EntrySpec { hint: hint.to_owned(), ..spec };
        let entry = RegistrationEntry {
            id: id.clone(),
            spec,
            revision: 0,
            created_at: UnixTime::from_secs(1),
            changed_by: Caller::Anonymous,
            changed_at_index: 1,
        };
        rows.put(Space::Entries, id.as_str().as_bytes(), to_bytes(&entry));
    }

    #[test]
    fn rows_are_read_once_and_again_after_a_change() {
        let (cache, id) = (EntryCache::new(), "web".parse().unwrap());
        let mut rows = MemoryRows::default();
        let reads = Cell::new(0);
        let hint = |rows: &MemoryRows| {
            let view = || {
                reads.set(reads.get() + 1);
                rows.clone()
            };
            cache.entry(&id, view).unwrap().map(|entry| entry.spec.hint.clone())
        };
        assert_eq!(hint(&rows), None);
        put(&mut rows, &id, "one");
        cache.changed();
        assert_eq!(hint(&rows).as_deref(), Some("one"));
        assert_eq!(hint(&rows).as_deref(), Some("one"));
        assert_eq!(reads.get(), 2);
        put(&mut rows, &id, "two");
        cache.changed();
        assert_eq!(hint(&rows).as_deref(), Some("two"));
        rows.delete(Space::Entries, id.as_str().as_bytes());
        cache.changed();
        assert_eq!(hint(&rows), None);
        assert_eq!(reads.get(), 4);
    }

    #[test]
    fn what_was_read_while_a_change_came_is_not_kept() {
        let (cache, id) = (EntryCache::new(), "web".parse().unwrap());
        let mut old = MemoryRows::default();
        put(&mut old, &id, "old");
        let read = cache.entry(&id, || {
            let view = old.clone();
            cache.changed();
            view
        });
        assert_eq!(read.unwrap().unwrap().spec.hint, "old");
        let mut new = MemoryRows::default();
        put(&mut new, &id, "new");
        assert_eq!(cache.entry(&id, || new).unwrap().unwrap().spec.hint, "new");
    }
}
