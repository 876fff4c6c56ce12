//! A disk for the log that tells written from durable, takes its time, loses what was not synced, fills up and fails.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use rocksdb::WriteBatch;

use super::random::Random;
use super::world::world;
use crate::log::DiskRow;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// One node's disk; it outlives the node's process.
#[derive(Default)]
pub(crate) struct Disk {
    node: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    live: Map,
    durable: Map,
    unsynced: Vec<Vec<Change>>,
    files: BTreeMap<String, Vec<u8>>,
    /// A replacement of a small file that is under way: a crash leaves the old or the new one.
    replacing: Option<(String, Vec<u8>)>,
    faults: DiskFaults,
}

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DiskFaults {
    pub(crate) full: bool,
    pub(crate) next_sync_fails: bool,
    /// Each sync takes so many milliseconds more.
    pub(crate) slow: u64,
}

#[derive(Clone)]
enum Change {
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
}

impl Disk {
    pub(crate) fn new(node: usize) -> Self {
        Self { node, inner: Mutex::default() }
    }

    pub(crate) fn set_faults(&self, change: impl FnOnce(&mut DiskFaults)) {
        change(&mut self.inner.lock().unwrap().faults);
    }

    /// Whether the row is on the disk as the process sees it.
    pub(crate) fn is_durable(&self, key: &[u8]) -> bool {
        let inner = self.inner.lock().unwrap();
        inner.durable.get(key).is_some_and(|value| inner.live.get(key) == Some(value))
    }

    /// Whether the process sees a row at `key`.
    pub(crate) fn holds(&self, key: &[u8]) -> bool {
        self.inner.lock().unwrap().live.contains_key(key)
    }

    /// Whether there is nothing at `key` because the log begins later: it was purged.
    pub(crate) fn has_beyond(&self, key: &[u8]) -> bool {
        let inner = self.inner.lock().unwrap();
        let purged = inner.durable.range(key.to_vec()..vec![key[0] + 1]).next().is_some();
        purged || inner.durable.keys().all(|key| key[0] != b'e')
    }

    /// The process or the machine is gone: of what was not synced only a beginning is left.
    pub(crate) fn crash(&self, random: &mut Random) {
        let mut inner = self.inner.lock().unwrap();
        let kept = usize::try_from(random.below(inner.unsynced.len() as u64 + 1)).unwrap();
        let lost = inner.unsynced.len() - kept;
        let kept: Vec<_> = inner.unsynced.drain(..).take(kept).collect();
        for change in kept.into_iter().flatten() {
            apply(&mut inner.durable, change);
        }
        inner.live = inner.durable.clone();
        if let Some((name, payload)) = inner.replacing.take()
            && random.percent(50)
        {
            inner.files.insert(name, payload);
        }
        inner.faults.next_sync_fails = false;
        world().trace(format_args!("n{} disk lost {lost} batches", self.node));
    }

    pub(crate) fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.inner.lock().unwrap().live.get(key).cloned())
    }

    pub(crate) fn range(&self, start: &[u8], end: &[u8]) -> Vec<DiskRow> {
        if start >= end {
            return Vec::new();
        }
        let inner = self.inner.lock().unwrap();
        let rows = inner.live.range(start.to_vec()..end.to_vec());
        rows.map(|(key, value)| (key.clone().into(), value.clone().into())).collect()
    }

    pub(crate) async fn write(&self, batch: WriteBatch, sync: bool) -> io::Result<()> {
        let changes = changes(batch.data());
        drop(batch);
        self.room()?;
        let upto = {
            let mut inner = self.inner.lock().unwrap();
            changes.iter().for_each(|change| apply(&mut inner.live, change.clone()));
            world().trace(format_args!("n{} disk write {} changes sync {sync}", self.node, changes.len()));
            inner.unsynced.push(changes);
            inner.unsynced.len()
        };
        if !sync {
            return Ok(());
        }
        self.spin().await?;
        let mut inner = self.inner.lock().unwrap();
        let synced: Vec<_> = inner.unsynced.drain(..upto).collect();
        for change in synced.into_iter().flatten() {
            apply(&mut inner.durable, change);
        }
        world().trace(format_args!("n{} disk synced", self.node));
        Ok(())
    }

    pub(crate) fn put_first(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.room()?;
        let mut inner = self.inner.lock().unwrap();
        inner.live.insert(key.to_vec(), value.to_vec());
        inner.durable.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    pub(crate) async fn replace_file(&self, name: &str, payload: &[u8]) -> io::Result<()> {
        self.room()?;
        self.inner.lock().unwrap().replacing = Some((name.to_owned(), payload.to_vec()));
        self.spin().await?;
        let mut inner = self.inner.lock().unwrap();
        if let Some((name, payload)) = inner.replacing.take() {
            inner.files.insert(name, payload);
        }
        world().trace(format_args!("n{} disk file {name}", self.node));
        Ok(())
    }

    pub(crate) fn read_file(&self, name: &str) -> Option<Vec<u8>> {
        self.inner.lock().unwrap().files.get(name).cloned()
    }

    fn room(&self) -> io::Result<()> {
        if self.inner.lock().unwrap().faults.full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    async fn spin(&self) -> io::Result<()> {
        let slow = self.inner.lock().unwrap().faults.slow;
        let millis = world().random(|random| 1 + random.below(3)) + slow;
        tokio::time::sleep(Duration::from_millis(millis)).await;
        let mut inner = self.inner.lock().unwrap();
        if std::mem::take(&mut inner.faults.next_sync_fails) {
            return Err(io::Error::other("input/output error"));
        }
        Ok(())
    }
}

fn apply(map: &mut Map, change: Change) {
    match change {
        Change::Put(key, value) => {
            map.insert(key, value);
        }
        Change::Delete(key) => {
            map.remove(&key);
        }
        Change::DeleteRange(start, end) => {
            if start < end {
                let keys: Vec<_> = map.range(start..end).map(|(key, _)| key.clone()).collect();
                for key in keys {
                    map.remove(&key);
                }
            }
        }
    }
}

/// What a batch of RocksDB holds: eight bytes sequence, four bytes count, and records of a tag and one or two strings,
/// each behind its length as a variable-length integer.
fn changes(batch: &[u8]) -> Vec<Change> {
    let mut rest = &batch[12..];
    let mut changes = Vec::new();
    while let Some((tag, after)) = rest.split_first() {
        rest = after;
        match tag {
            0x0 => changes.push(Change::Delete(string(&mut rest))),
            0x1 => {
                let key = string(&mut rest);
                changes.push(Change::Put(key, string(&mut rest)));
            }
            0xF => {
                let start = string(&mut rest);
                changes.push(Change::DeleteRange(start, string(&mut rest)));
            }
            other => panic!("a write batch holds a record of kind {other}"),
        }
    }
    changes
}

fn string(rest: &mut &[u8]) -> Vec<u8> {
    let (mut len, mut shift) = (0, 0);
    while let Some((byte, after)) = rest.split_first() {
        *rest = after;
        len |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let (string, after) = rest.split_at(len);
    *rest = after;
    string.to_vec()
}
