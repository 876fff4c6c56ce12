//! Where the log lies: rows in a RocksDB instance and small files beside it. Everything that the log writes and reads goes
//! through here, so that a simulation can put a disk with faults in its place.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rocksdb::{BlockBasedOptions, Cache, DB, DBRecoveryMode, IteratorMode, Options, ReadOptions, WriteBatch};

use super::watermark::SLOT;
use crate::config::Storage;
use crate::durable;
use crate::error::OpenError;

/// The log's disk.
pub(crate) struct Disk {
    data_dir: PathBuf,
    rows: Rows,
    /// The watermark's file, once it is there.
    marks: Mutex<Option<File>>,
}

enum Rows {
    Rocks(DB),
    #[cfg(test)]
    Simulated(std::sync::Arc<crate::sim::Disk>),
}

/// A row's key and value.
pub(crate) type DiskRow = (Box<[u8]>, Box<[u8]>);

impl Disk {
    /// Opens the log's disk in `data_dir`, or makes it.
    pub(crate) fn open(data_dir: &Path, storage: &Storage) -> Result<Self, OpenError> {
        #[cfg(test)]
        if let Some(disk) = crate::sim::disk(data_dir) {
            return Ok(Self { data_dir: data_dir.to_owned(), rows: Rows::Simulated(disk), marks: Mutex::default() });
        }
        let path = data_dir.join("log");
        let db = DB::open(&options(storage), &path).map_err(|cause| open_error(&path, &cause))?;
        Ok(Self { data_dir: data_dir.to_owned(), rows: Rows::Rocks(db), marks: Mutex::default() })
    }

    /// Whether this is a simulation's, which has no threads.
    #[cfg(test)]
    pub(crate) fn is_simulated(&self) -> bool {
        matches!(self.rows, Rows::Simulated(_))
    }

    /// The value at `key`.
    pub(crate) fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        match &self.rows {
            Rows::Rocks(db) => db.get(key).map_err(io::Error::other),
            #[cfg(test)]
            Rows::Simulated(disk) => disk.get(key),
        }
    }

    /// What RocksDB says of itself.
    pub(crate) fn property(&self, name: &str) -> Option<String> {
        match &self.rows {
            Rows::Rocks(db) => db.property_value(name).ok().flatten(),
            #[cfg(test)]
            Rows::Simulated(_) => None,
        }
    }

    /// The rows from `start` to before `end`, in order.
    pub(crate) fn range(&self, start: &[u8], end: &[u8]) -> Box<dyn Iterator<Item = io::Result<DiskRow>> + '_> {
        match &self.rows {
            Rows::Rocks(db) => {
                let mut options = ReadOptions::default();
                options.set_iterate_lower_bound(start);
                options.set_iterate_upper_bound(end);
                Box::new(db.iterator_opt(IteratorMode::Start, options).map(|row| row.map_err(io::Error::other)))
            }
            #[cfg(test)]
            Rows::Simulated(disk) => Box::new(disk.range(start, end).into_iter().map(Ok)),
        }
    }

    /// Writes a batch; with `sync`, it and everything written before survives a power cut when this returns.
    #[cfg_attr(not(test), expect(clippy::unused_async, reason = "a simulated disk takes its time"))]
    pub(crate) async fn write(&self, batch: WriteBatch, sync: bool) -> io::Result<()> {
        match &self.rows {
            Rows::Rocks(db) => {
                db.write(batch).map_err(io::Error::other)?;
                #[cfg(test)]
                if sync {
                    crate::tests::gate::pass(&self.data_dir);
                }
                if sync { db.flush_wal(true).map_err(io::Error::other) } else { Ok(()) }
            }
            #[cfg(test)]
            Rows::Simulated(disk) => disk.write(batch, sync).await,
        }
    }

    /// Writes one row so that it survives a power cut when this returns. For the time before the log is in use.
    pub(crate) fn put_first(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        match &self.rows {
            Rows::Rocks(db) => db.put(key, value).and_then(|()| db.flush_wal(true)).map_err(io::Error::other),
            #[cfg(test)]
            Rows::Simulated(disk) => disk.put_first(key, value),
        }
    }

    /// The two slots of the watermark; `None` if it was never made.
    pub(crate) fn read_slots(&self) -> io::Result<Option<[Vec<u8>; 2]>> {
        match &self.rows {
            Rows::Rocks(_) => {
                let path = self.data_dir.join(MARK_FILE);
                let mut file = match OpenOptions::new().read(true).write(true).open(path) {
                    Ok(file) => file,
                    Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(cause) => return Err(cause),
                };
                let mut first = Vec::new();
                file.read_to_end(&mut first)?;
                let second = first.split_off(first.len().min(SLOT));
                *self.marks() = Some(file);
                Ok(Some([first, second]))
            }
            #[cfg(test)]
            Rows::Simulated(disk) => Ok(disk
                .get(SIMULATED_SLOTS[0])?
                .zip(disk.get(SIMULATED_SLOTS[1])?)
                .map(|(first, second)| [first, second])),
        }
    }

    /// Makes the watermark anew with both slots. For the time before the log is in use.
    pub(crate) fn make_slots(&self, slots: [&[u8]; 2]) -> io::Result<()> {
        match &self.rows {
            Rows::Rocks(_) => {
                let path = self.data_dir.join(MARK_FILE);
                let mut options = OpenOptions::new();
                let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
                file.write_all_at(&slots.concat(), 0)?;
                file.sync_all()?;
                *self.marks() = Some(file);
                durable::sync_parent(&path)
            }
            #[cfg(test)]
            Rows::Simulated(disk) => {
                SIMULATED_SLOTS.iter().zip(slots).try_for_each(|(key, slot)| disk.put_first(key, slot))
            }
        }
    }

    /// Writes one slot of the watermark; it survives a power cut when this returns.
    #[cfg_attr(not(test), expect(clippy::unused_async, reason = "a simulated disk takes its time"))]
    pub(crate) async fn write_slot(&self, second: bool, slot: &[u8]) -> io::Result<()> {
        match &self.rows {
            Rows::Rocks(_) => {
                let marks = self.marks();
                let file = marks.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                file.write_all_at(slot, if second { SLOT as u64 } else { 0 })?;
                file.sync_data()
            }
            #[cfg(test)]
            Rows::Simulated(disk) => {
                let mut batch = WriteBatch::default();
                batch.put(SIMULATED_SLOTS[usize::from(second)], slot);
                disk.write(batch, true).await
            }
        }
    }

    fn marks(&self) -> MutexGuard<'_, Option<File>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What RocksDB failed to do in the background, if anything.
    pub(crate) fn background_errors(&self) -> Option<String> {
        match &self.rows {
            Rows::Rocks(db) => background_errors(db),
            #[cfg(test)]
            Rows::Simulated(_) => None,
        }
    }

    /// Replaces the small file `name`; it survives a power cut when this returns.
    #[cfg_attr(not(test), expect(clippy::unused_async, reason = "a simulated disk takes its time"))]
    pub(crate) async fn replace_file(&self, name: &str, payload: &[u8]) -> io::Result<()> {
        match &self.rows {
            Rows::Rocks(_) => {
                #[cfg(test)]
                crate::tests::gate::pass(&self.data_dir);
                durable::replace(&self.data_dir.join(name), payload)
            }
            #[cfg(test)]
            Rows::Simulated(disk) => disk.replace_file(name, payload).await,
        }
    }

    /// What [`replace_file`](Self::replace_file) wrote; `None` if there is no such file.
    pub(crate) fn read_file(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match &self.rows {
            Rows::Rocks(_) => durable::read(&self.data_dir.join(name)),
            #[cfg(test)]
            Rows::Simulated(disk) => Ok(disk.read_file(name)),
        }
    }
}

/// What a RocksDB instance failed to do in the background, if anything: it has no other way to tell before the next write.
pub(crate) fn background_errors(db: &DB) -> Option<String> {
    match db.property_int_value(rocksdb::properties::BACKGROUND_ERRORS) {
        Ok(None | Some(0)) => None,
        Ok(Some(count)) => {
            Some(format!("{count} background errors; the file LOG in {} tells which", db.path().display()))
        }
        Err(cause) => Some(cause.to_string()),
    }
}

fn options(storage: &Storage) -> Options {
    // Only followers that lag read from here, once and in order.
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(READ_CACHE));
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.create_if_missing(true);
    // The default would silently drop acknowledged entries behind a bad record; this one takes a torn end only.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_manual_wal_flush(true);
    options.set_write_buffer_size(storage.log_buffer);
    options.set_max_total_wal_size(64 << 20);
    options.set_keep_log_file_num(2);
    options
}

/// Why a RocksDB instance did not open.
pub(crate) fn open_error(path: &Path, cause: &rocksdb::Error) -> OpenError {
    if cause.kind() == rocksdb::ErrorKind::IOError && cause.as_ref().contains("lock") {
        OpenError::InUse { path: path.to_owned() }
    } else {
        OpenError::Damaged { path: path.to_owned(), detail: cause.to_string() }
    }
}

const READ_CACHE: usize = 8 << 20;
/// The file of the watermark.
pub(crate) const MARK_FILE: &str = "watermark";
#[cfg(test)]
const SIMULATED_SLOTS: [&[u8]; 2] = [b"m/slot0", b"m/slot1"];
