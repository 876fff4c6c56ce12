//! Where the log lies: rows in a RocksDB instance and small files beside it. Everything that the log writes and reads goes
//! through here, so that a simulation can put a disk with faults in its place.

use std::io;
use std::path::{Path, PathBuf};

use rocksdb::{DB, DBRecoveryMode, IteratorMode, Options, ReadOptions, WriteBatch};

use crate::durable;
use crate::error::OpenError;

/// The log's disk.
pub(crate) struct Disk {
    data_dir: PathBuf,
    rows: Rows,
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
    pub(crate) fn open(data_dir: &Path) -> Result<Self, OpenError> {
        #[cfg(test)]
        if let Some(disk) = crate::sim::disk(data_dir) {
            return Ok(Self { data_dir: data_dir.to_owned(), rows: Rows::Simulated(disk) });
        }
        let path = data_dir.join("log");
        let db = DB::open(&options(), &path).map_err(|cause| open_error(&path, &cause))?;
        Ok(Self { data_dir: data_dir.to_owned(), rows: Rows::Rocks(db) })
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

    /// Replaces the small file `name`; it survives a power cut when this returns.
    #[cfg_attr(not(test), expect(clippy::unused_async, reason = "a simulated disk takes its time"))]
    pub(crate) async fn replace_file(&self, name: &str, payload: &[u8]) -> io::Result<()> {
        match &self.rows {
            Rows::Rocks(_) => durable::replace(&self.data_dir.join(name), payload),
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

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    // The default would silently drop acknowledged entries behind a bad record; this one takes a torn end only.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_manual_wal_flush(true);
    options.set_write_buffer_size(16 << 20);
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
