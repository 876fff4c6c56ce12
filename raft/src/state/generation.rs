//! One RocksDB directory of the state, and the pointer to the one in force.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rocksdb::{BlockBasedOptions, Cache, DB, Options};

use crate::config::Storage;
use crate::durable;
use crate::error::OpenError;
use crate::log::open_error;

/// An open generation. Its directory goes with the last user when it has been replaced.
pub(crate) struct Generation {
    // Dropped in this order: the database is closed before its directory may go.
    pub(crate) db: DB,
    dir: GenerationDir,
    pub(crate) number: u64,
}

struct GenerationDir {
    path: PathBuf,
    replaced: AtomicBool,
}

impl Generation {
    /// Opens the generation in force under `root`, or makes the first one, and clears away what a crash left.
    pub(crate) fn current(root: &Path, tuning: &Tuning) -> Result<Arc<Self>, OpenError> {
        let failed = |cause| OpenError::File { action: "use", path: root.to_owned(), cause };
        fs::create_dir_all(root).map_err(failed)?;
        let pointer = root.join(POINTER);
        let damaged = |detail: String| OpenError::Damaged { path: pointer.clone(), detail };
        let number = match durable::read(&pointer).map_err(|cause| damaged(cause.to_string()))? {
            Some(bytes) => std::str::from_utf8(&bytes)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| damaged("it does not hold a generation's number".into()))?,
            None if has_generation(root).map_err(failed)? => {
                return Err(damaged(
                    "it is missing although there is a state; remove the node and join it again".into(),
                ));
            }
            None => 0,
        };
        clear_others(root, number).map_err(failed)?;
        if number == 0 {
            let first = Self::open_tuned(root, FIRST, tuning)?;
            Self::point(root, FIRST).map_err(failed)?;
            return Ok(Arc::new(first));
        }
        if !root.join(number.to_string()).is_dir() {
            return Err(damaged(format!("generation {number} is missing; remove the node and join it again")));
        }
        Ok(Arc::new(Self::open_tuned(root, number, tuning)?))
    }

    /// The number of the generation in force under `root`; `None` if there is none.
    pub(crate) fn in_force(root: &Path) -> io::Result<Option<u64>> {
        let Some(bytes) = durable::read(&root.join(POINTER))? else { return Ok(None) };
        let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
        number.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a generation's number"))
    }

    /// Opens generation `number` for work that is soon done.
    pub(crate) fn open(root: &Path, number: u64) -> Result<Self, OpenError> {
        Self::open_tuned(root, number, &Tuning::default())
    }

    /// Opens generation `number`.
    pub(crate) fn open_tuned(root: &Path, number: u64, tuning: &Tuning) -> Result<Self, OpenError> {
        let path = root.join(number.to_string());
        let db =
            options(tuning).and_then(|options| DB::open(&options, &path)).map_err(|cause| open_error(&path, &cause))?;
        Ok(Self { db, dir: GenerationDir { path, replaced: AtomicBool::new(false) }, number })
    }

    /// Puts generation `number` in force.
    pub(crate) fn point(root: &Path, number: u64) -> io::Result<()> {
        durable::sync_dir(root)?;
        durable::replace(&root.join(POINTER), number.to_string().as_bytes())
    }

    /// Another generation is in force: this one's directory may go when nobody reads it any more.
    pub(crate) fn replaced(&self) {
        self.dir.replaced.store(true, Ordering::Release);
    }
}

impl Drop for GenerationDir {
    fn drop(&mut self) {
        if self.replaced.load(Ordering::Acquire)
            && let Err(cause) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %cause, "cannot remove an old generation; the next start will");
        }
    }
}

/// How much memory a state takes. The cache is shared by the generations, of which there are two for a moment.
pub(crate) struct Tuning {
    cache: Cache,
    buffer: usize,
}

impl Tuning {
    pub(crate) fn new(storage: &Storage) -> Self {
        Self { cache: Cache::new_lru_cache(storage.state_cache), buffer: storage.state_buffer }
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self::new(&Storage::default())
    }
}

/// How every generation is opened.
fn options(tuning: &Tuning) -> Result<Options, rocksdb::Error> {
    // Otherwise it takes the disk's room for a whole buffer ahead, which a small disk needs for other things. Nothing here
    // waits for an fsync that would be quicker for it.
    let mut options = Options::default().get_options_from_string("allow_fallocate=false")?;
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&tuning.cache);
    // Filters and indexes stay with their open files, some 20 bytes for each row of a million entries or less: looked up
    // in the cache they would cost more than the answer.
    table.set_bloom_filter(10.0, false);
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(tuning.buffer);
    // Most keys that are looked up while a command is applied do not exist yet: a filter answers that without a walk
    // through the memtable.
    options.set_memtable_whole_key_filtering(true);
    options.set_memtable_prefix_bloom_ratio(0.05);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_keep_log_file_num(2);
    Ok(options)
}

fn has_generation(root: &Path) -> io::Result<bool> {
    for item in fs::read_dir(root)? {
        // A first generation whose pointer was never written holds nothing.
        let name = item?.file_name();
        if name.to_str().and_then(|name| name.parse::<u64>().ok()).is_some_and(|number| number != FIRST) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn clear_others(root: &Path, keep: u64) -> io::Result<()> {
    for item in fs::read_dir(root)? {
        let item = item?;
        let kept = item.file_name().to_str().is_some_and(|name| name == POINTER || name == keep.to_string());
        if !kept && item.file_type()?.is_dir() {
            fs::remove_dir_all(item.path())?;
        }
    }
    Ok(())
}

/// The file that names the generation in force.
const POINTER: &str = "CURRENT";
const FIRST: u64 = 1;
