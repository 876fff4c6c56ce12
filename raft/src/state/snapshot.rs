//! Snapshots: RocksDB checkpoints with a manifest, on a shelf that holds the newest one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use minicbor::{Decode, Encode};
use rocksdb::DB;
use rocksdb::checkpoint::Checkpoint;

use super::incoming::{Incoming, PARTIAL, Partial, is_partial};
use crate::durable;
use crate::encoding::{SnapshotMetaForm, unversioned, versioned};
use crate::error::OpenError;
use crate::log::Chain;
use crate::types::SnapshotMeta;

/// What a snapshot consists of. Stored form; also sent ahead of the files.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Manifest {
    /// The oldest program that can read it: the version of the state's stored form.
    #[n(0)]
    pub min_reader: u32,
    /// The cluster it is of.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub cluster: Vec<u8>,
    /// What it covers.
    #[n(2)]
    pub meta: SnapshotMetaForm,
    /// Its files.
    #[n(3)]
    pub files: Vec<SnapshotFile>,
    /// The value of the log's hash chain at the last entry it covers. Since 2026-11-22; unknown in older ones.
    #[n(4)]
    pub chain: Option<Chain>,
}

impl Manifest {
    /// How large all files are together.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }
}

/// A checkpoint in a scratch directory, not yet a snapshot.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) path: PathBuf,
    /// What it covers.
    pub(crate) meta: SnapshotMeta,
    /// The value of the log's hash chain there.
    pub(crate) chain: Option<Chain>,
}

/// One file of a snapshot. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SnapshotFile {
    /// Its name, without a directory.
    #[n(0)]
    pub name: String,
    /// Its length in bytes.
    #[n(1)]
    pub len: u64,
    /// Its SHA-256.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub hash: [u8; 32],
}

/// A complete snapshot on disk. It stays until nobody reads it and a newer one has taken its place.
#[derive(Debug)]
pub(crate) struct SnapshotDir {
    path: PathBuf,
    pub(crate) manifest: Manifest,
    replaced: AtomicBool,
}

impl SnapshotDir {
    /// A directory with the files of `manifest` that goes when the last user does, unless it is put on a shelf.
    pub(crate) fn passing(path: PathBuf, manifest: Manifest) -> Self {
        Self { path, manifest, replaced: AtomicBool::new(true) }
    }

    /// Where its file is.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Puts its files into the new directory `target`: SSTs as links, since they never change, the rest as copies.
    pub(crate) fn materialize(&self, target: &Path) -> io::Result<()> {
        fs::create_dir_all(target)?;
        for file in &self.manifest.files {
            let (from, to) = (self.path.join(&file.name), target.join(&file.name));
            if !file.name.ends_with(".sst") || fs::hard_link(&from, &to).is_err() {
                fs::copy(&from, &to)?;
                File::open(&to)?.sync_all()?;
            }
        }
        durable::sync_dir(target)
    }

    /// What it covers.
    pub(crate) fn meta(&self) -> io::Result<SnapshotMeta> {
        Ok(self.manifest.meta.clone().try_into()?)
    }
}

impl Drop for SnapshotDir {
    fn drop(&mut self) {
        if self.replaced.load(Ordering::Acquire) {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Where snapshots are kept, and the newest of them.
pub(crate) struct Shelf {
    root: PathBuf,
    newest: Mutex<Option<Arc<SnapshotDir>>>,
    /// Snapshots on their way in.
    pub(crate) incoming: Incoming,
}

impl Shelf {
    /// Opens the shelf, keeping its newest complete snapshot and what has arrived of another one, and removing everything
    /// else.
    pub(crate) fn open(root: PathBuf) -> Result<Self, OpenError> {
        let newest =
            Self::clear(&root).map_err(|cause| OpenError::File { action: "use", path: root.clone(), cause })?;
        Ok(Self { root, newest: Mutex::new(newest.map(Arc::new)), incoming: Incoming::default() })
    }

    /// The newest snapshot.
    pub(crate) fn newest(&self) -> Option<Arc<SnapshotDir>> {
        self.lock().clone()
    }

    /// The place for a snapshot that arrives, with what is there of it.
    pub(crate) fn partial(&self, manifest: Manifest) -> io::Result<Partial> {
        Partial::open(&self.root, manifest)
    }

    /// A directory of its own for something that is not complete yet.
    pub(crate) fn scratch(&self) -> io::Result<PathBuf> {
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(io::Error::other)?;
        Ok(self.root.join(format!("{:016x}.new", u64::from_be_bytes(random))))
    }

    /// Takes a checkpoint of `db` into a scratch directory.
    pub(crate) fn checkpoint(&self, db: &DB) -> io::Result<PathBuf> {
        let path = self.scratch()?;
        Checkpoint::new(db).and_then(|it| it.create_checkpoint(&path)).map_err(io::Error::other)?;
        Ok(path)
    }

    /// Makes a checkpoint the newest snapshot.
    pub(crate) fn complete(&self, taken: &Taken, cluster: Vec<u8>) -> io::Result<Arc<SnapshotDir>> {
        let Taken { path, meta, chain } = taken;
        let known = self.newest().map(|dir| dir.manifest.files.clone()).unwrap_or_default();
        let known: BTreeMap<_, _> = known.into_iter().map(|file| ((file.name, file.len), file.hash)).collect();
        let mut files = Vec::new();
        for item in fs::read_dir(path)? {
            let item = item?;
            let (Ok(name), len) = (item.file_name().into_string(), item.metadata()?.len()) else { continue };
            let hash = match known.get(&(name.clone(), len)) {
                // An SST never changes, and its number is never used again within a generation.
                Some(hash) if name.ends_with(".sst") => *hash,
                _ => hash_file(&item.path())?,
            };
            files.push(SnapshotFile { name, len, hash });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let manifest = Manifest { min_reader: STATE_VERSION, cluster, meta: meta.into(), files, chain: *chain };
        // A node that makes snapshots has caught up without the rest of the one that was on its way.
        self.incoming.clear(&self.root);
        self.put(path, manifest)
    }

    /// Makes a received snapshot the newest one, without taking its directory away.
    pub(crate) fn adopt(&self, received: &SnapshotDir) -> io::Result<Arc<SnapshotDir>> {
        let path = self.scratch()?;
        received.materialize(&path)?;
        self.put(&path, received.manifest.clone())
    }

    fn put(&self, path: &Path, manifest: Manifest) -> io::Result<Arc<SnapshotDir>> {
        for file in &manifest.files {
            File::open(path.join(&file.name))?.sync_all()?;
        }
        durable::replace(&path.join(MANIFEST), &versioned(&manifest))?;
        let complete = path.with_extension("complete");
        fs::rename(path, &complete)?;
        durable::sync_dir(&self.root)?;
        let dir = Arc::new(SnapshotDir { path: complete, manifest, replaced: AtomicBool::new(false) });
        let before = self.lock().replace(Arc::clone(&dir));
        if let Some(before) = before {
            before.replaced.store(true, Ordering::Release);
        }
        Ok(dir)
    }

    fn clear(root: &Path) -> io::Result<Option<SnapshotDir>> {
        fs::create_dir_all(root)?;
        let mut newest: Option<SnapshotDir> = None;
        for item in fs::read_dir(root)? {
            let path = item?.path();
            if is_partial(&path) {
                continue;
            }
            match load(&path) {
                Some(manifest)
                    if newest.as_ref().is_none_or(|it| it.manifest.last_index() <= manifest.last_index()) =>
                {
                    if let Some(older) = &newest {
                        older.replaced.store(true, Ordering::Release);
                    }
                    newest = Some(SnapshotDir { path, manifest, replaced: AtomicBool::new(false) });
                }
                _ => fs::remove_dir_all(&path)?,
            }
        }
        Ok(newest)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<SnapshotDir>>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Manifest {
    fn last_index(&self) -> Option<u64> {
        SnapshotMeta::try_from(self.meta.clone()).ok()?.last_log_id.map(|id| id.index)
    }

    /// Why this program must not install it, if so.
    pub(crate) fn objection(&self, cluster: &[u8]) -> Option<String> {
        let odd = |file: &&SnapshotFile| {
            let partial = Path::new(&file.name).extension().is_some_and(|it| it == PARTIAL);
            partial
                || file.name.is_empty()
                || file.name == MANIFEST
                || file.name.starts_with('.')
                || file.name.contains('/')
        };
        if self.min_reader > STATE_VERSION {
            return Some(format!("it needs a program that reads state version {}", self.min_reader));
        }
        if self.cluster != cluster {
            return Some("it is of another cluster".into());
        }
        self.files.iter().find(odd).map(|file| format!("{:?} is no file name of a snapshot", file.name))
    }
}

/// The SHA-256 of a file.
pub(crate) fn hash_file(path: &Path) -> io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return finish(context),
            len => context.update(buffer.get(..len).unwrap_or_default()),
        }
    }
}

/// The hash of what went into `context`.
pub(crate) fn finish(context: Context) -> io::Result<[u8; 32]> {
    context.finish().as_ref().try_into().map_err(io::Error::other)
}

fn load(path: &Path) -> Option<Manifest> {
    if path.extension()? != "complete" {
        return None;
    }
    let bytes = durable::read(&path.join(MANIFEST)).ok()??;
    unversioned(&bytes).ok()
}

/// The manifest's file.
pub(crate) const MANIFEST: &str = "manifest";
/// The version of the state's stored form. Change log: 2026-11-22 version 1.
pub(crate) const STATE_VERSION: u32 = 1;
