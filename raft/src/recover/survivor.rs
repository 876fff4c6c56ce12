//! What a survivor of a lost quorum has: looked at without changing it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::RaftLogReader as _;
use openraft::storage::RaftLogStorage as _;
use serde::{Deserialize, Serialize};

use super::apply::is_interrupted;
use super::contact::last_contact;
use super::error::RecoverError;
use crate::backup::{Ancestor, LogPlace, check_owner};
use crate::durable;
use crate::encoding::{StoredLogId, unversioned};
use crate::identity::{Phase, Record};
use crate::log::LogStore;
use crate::machine::StateMachine;
use crate::open::lock;
use crate::state::{Generation, Manifest, StateRows, StateStore};
use crate::types::{LogId, SnapshotMeta};
use crate::view::View;

/// What a survivor has, for people and programs. The fields' names are stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// Where.
    pub data_dir: PathBuf,
    /// The cluster, 32 hexadecimal digits.
    pub cluster_id: String,
    /// The node.
    pub node_id: u64,
    /// Its last vote.
    pub vote: Option<Voted>,
    /// The last entry of its log. The highest among the survivors decides.
    pub last_log: LogPlace,
    /// The last entry that its state had applied when it stopped.
    pub applied: Option<LogPlace>,
    /// What its newest snapshot covers.
    pub snapshot: Option<LogPlace>,
    /// The log's hash chain at `last_log`, 64 hexadecimal digits, where it is known.
    pub chain_hash: Option<String>,
    /// The last time a quorum confirmed that it was not behind.
    pub last_contact: Option<Seen>,
    /// Cluster time at `last_log`, in milliseconds since the epoch.
    pub cluster_time_millis: u64,
    /// Who votes, as of `last_log`.
    pub voters: Vec<u64>,
    /// Join tokens that could still be used.
    pub usable_join_tokens: u64,
    /// What its disk had confirmed and has lost, if its watermark tells of such a thing: another survivor may know more.
    #[serde(default)]
    pub disk_lost: Option<String>,
}

/// A vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voted {
    /// The term.
    pub term: u64,
    /// For whom.
    pub node: u64,
    /// Whether that node won.
    pub committed: bool,
}

/// A moment at which a quorum confirmed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// By the leader's cluster time, in milliseconds since the epoch.
    pub at_millis: u64,
    /// Every write acknowledged until then is at this log index or before.
    pub index: u64,
}

/// A survivor's data directory, held against other processes, with a copy of its log and state of which the log is applied
/// to its end. The copy goes with it; SST files are shared by links, so it costs little.
pub struct Survivor {
    pub(super) survey: Survey,
    pub(super) ancestors: Vec<Ancestor>,
    pub(super) state: StateStore,
    pub(super) log: LogStore,
    pub(super) work: WorkDir,
    pub(super) _lock: File,
}

impl Survivor {
    /// Opens what lies in `data_dir` with the meaning of commands that `machine` knows. Nothing there is changed.
    ///
    /// # Errors
    /// See [`RecoverError`]; each says what to do.
    pub async fn open(data_dir: &Path, machine: Arc<dyn StateMachine>) -> Result<Self, RecoverError> {
        if !data_dir.join("identity").exists() && !is_interrupted(data_dir) {
            return Err(RecoverError::NotMember { path: data_dir.to_owned() });
        }
        check_owner(data_dir)?;
        let lock = lock(data_dir)?;
        if is_interrupted(data_dir) {
            return Err(RecoverError::Interrupted { path: data_dir.to_owned() });
        }
        let record = Record::load(data_dir)?.ok_or_else(|| RecoverError::NotMember { path: data_dir.to_owned() })?;
        if record.phase == Phase::Removed {
            // What it has ends where it was removed.
            return Err(record.removed(data_dir).into());
        }
        let work = WorkDir::new(data_dir)?;
        work.copy_log(data_dir)?;
        work.copy_state(data_dir)?;
        let (mut log, disk_lost) = LogStore::open_survivor(&work.old())?;
        let state = StateStore::open(&work.new_dir(), machine)?;
        let damaged = |detail: String| RecoverError::Damaged { path: data_dir.to_owned(), detail };
        let applied = state.position().last;
        let last = apply_all(&mut log, &state).await.map_err(|cause| damaged(cause.to_string()))?;
        let last = last.ok_or_else(|| damaged("its log and its state are empty".into()))?;
        let generation = state.generation();
        let rows = StateRows::read(&generation.db).map_err(|cause| damaged(cause.to_string()))?;
        let vote = log.read_vote().await.map_err(|cause| damaged(cause.to_string()))?;
        let survey = Survey {
            data_dir: data_dir.to_owned(),
            cluster_id: record.cluster_id(),
            node_id: record.node,
            vote: vote.map(|it| Voted { term: it.leader_id.term, node: it.leader_id.node_id, committed: it.committed }),
            last_log: place(&last),
            applied: applied.as_ref().map(place),
            snapshot: newest_snapshot(&data_dir.join("snapshots")),
            chain_hash: rows.position.chain.map(|chain| chain.to_string()),
            last_contact: last_contact(data_dir).map(|(at, index)| Seen { at_millis: at.millis(), index }),
            cluster_time_millis: rows.position.time.millis(),
            voters: rows.position.membership.membership().voter_ids().collect(),
            usable_join_tokens: rows.tokens.0,
            disk_lost,
        };
        let ancestors = rows.lineage.iter().map(Into::into).collect();
        Ok(Self { survey, ancestors, state, log, work, _lock: lock })
    }

    /// What it has.
    #[must_use]
    pub fn survey(&self) -> &Survey {
        &self.survey
    }

    /// Its state, with its whole log applied: what a recovery would begin with.
    #[must_use]
    pub fn view(&self) -> View {
        View::new(self.state.view())
    }

    /// The log's hash chain at `index`, 64 hexadecimal digits, if its log still holds that entry.
    ///
    /// # Errors
    /// [`RecoverError::Damaged`]: the log cannot be read there.
    pub fn chain_hash(&self, index: u64) -> Result<Option<String>, RecoverError> {
        let path = &self.survey.data_dir;
        let chain = self.log.chain_at(index);
        let chain = chain.map_err(|cause| RecoverError::Damaged { path: path.clone(), detail: cause.to_string() })?;
        Ok(chain.map(|chain| chain.to_string()))
    }

    /// Where the recovery that made its cluster has set aside what was there, if it is still in the data directory.
    #[must_use]
    pub fn set_aside(&self) -> Option<PathBuf> {
        let last = self.ancestors.last()?;
        let name = super::apply::aside_name(&last.cluster_id, last.last_log.index);
        let path = self.survey.data_dir.join(name);
        path.join("identity").exists().then_some(path)
    }

    /// The clusters that its cluster was made from, oldest first.
    #[must_use]
    pub fn ancestors(&self) -> &[Ancestor] {
        &self.ancestors
    }
}

impl std::fmt::Debug for Survivor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Survivor").field("survey", &self.survey).finish_non_exhaustive()
    }
}

/// Applies what the log holds and the state does not, and returns the last entry there is.
///
/// Entries at the end may never have been committed. Which, nobody can tell any more: they are kept, since one of them may
/// have been acknowledged.
async fn apply_all(log: &mut LogStore, state: &StateStore) -> io::Result<Option<LogId>> {
    let ends = log.get_log_state().await?;
    let mut applied = state.position().last;
    let next = applied.map_or(0, |id| id.index + 1);
    let begin = ends.last_purged_log_id.map_or(0, |id| id.index + 1);
    if begin > next {
        let detail = format!("its log begins at entry {begin}, its state ends before entry {next}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
    }
    let end = ends.last_log_id.map_or(0, |id| id.index + 1);
    let mut from = next;
    while from < end {
        let entries = log.try_get_log_entries(from..end.min(from + BATCH)).await?;
        let Some(last) = entries.last() else { break };
        applied = Some(last.log_id);
        from = last.log_id.index + 1;
        state.apply(&entries)?;
    }
    Ok(applied)
}

fn place(id: &LogId) -> LogPlace {
    StoredLogId::from(id).into()
}

/// What the newest complete snapshot on the shelf covers.
fn newest_snapshot(shelf: &Path) -> Option<LogPlace> {
    let covered = |path: PathBuf| {
        let bytes = durable::read(&path.join("manifest")).ok()??;
        let manifest: Manifest = unversioned(&bytes).ok()?;
        let meta = SnapshotMeta::try_from(manifest.meta).ok()?;
        meta.last_log_id.as_ref().map(place)
    };
    fs::read_dir(shelf).ok()?.filter_map(|item| covered(item.ok()?.path())).max_by_key(|place| place.index)
}

/// `DATA_DIR/recovering`, which goes with its user: `old` has copies of the old log and small files, `new` becomes the new
/// node.
#[derive(Debug)]
pub(super) struct WorkDir {
    path: PathBuf,
    pub(super) kept: bool,
}

impl WorkDir {
    fn new(data_dir: &Path) -> Result<Self, RecoverError> {
        let path = data_dir.join(WORK);
        let failed = |action, cause| RecoverError::File { action, path: path.clone(), cause };
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|cause| failed("remove what a former try left,", cause))?;
        }
        for dir in [path.clone(), path.join("old"), path.join("new")] {
            DirBuilder::new().mode(0o700).create(&dir).map_err(|cause| failed("make", cause))?;
        }
        Ok(Self { path, kept: false })
    }

    pub(super) fn old(&self) -> PathBuf {
        self.path.join("old")
    }

    pub(super) fn new_dir(&self) -> PathBuf {
        self.path.join("new")
    }

    /// The log, the vote, and whatever small files belong to them.
    fn copy_log(&self, data_dir: &Path) -> Result<(), RecoverError> {
        let failed = |cause| RecoverError::File { action: "copy the log of", path: data_dir.to_owned(), cause };
        for item in fs::read_dir(data_dir).map_err(failed)? {
            let item = item.map_err(failed)?;
            let kind = item.file_type().map_err(failed)?;
            let small = kind.is_file() && item.metadata().map_err(failed)?.len() <= SMALL_FILE;
            if small && !NOT_COPIED.iter().any(|name| item.file_name() == *name) {
                fs::copy(item.path(), self.old().join(item.file_name())).map_err(failed)?;
            }
        }
        link_tree(&data_dir.join("log"), &self.old().join("log")).map_err(failed)
    }

    /// The generation of the state that is in force, as the first of the new node.
    fn copy_state(&self, data_dir: &Path) -> Result<(), RecoverError> {
        let root = data_dir.join("state");
        let failed = |cause| RecoverError::File { action: "copy", path: root.clone(), cause };
        let number = Generation::in_force(&root).map_err(failed)?;
        let number = number.ok_or_else(|| failed(io::Error::from(io::ErrorKind::NotFound)))?;
        let target = self.new_dir().join("state");
        DirBuilder::new().mode(0o700).create(&target).map_err(failed)?;
        link_tree(&root.join(number.to_string()), &target.join("1")).map_err(failed)?;
        Generation::point(&target, 1).map_err(failed)
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Copies a RocksDB directory that nobody has open: SSTs as links, since they never change, the rest as copies.
fn link_tree(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    for item in fs::read_dir(from)? {
        let item = item?;
        let name = item.file_name();
        if !item.file_type()?.is_file() || name == "LOCK" {
            continue;
        }
        let sst = Path::new(&name).extension().is_some_and(|extension| extension == "sst");
        if !sst || fs::hard_link(item.path(), to.join(&name)).is_err() {
            fs::copy(item.path(), to.join(&name))?;
            File::open(to.join(&name))?.sync_all()?;
        }
    }
    durable::sync_dir(to)
}

/// The beginning of a cluster's id, enough to tell directories apart.
pub(super) fn short(cluster_id: &str) -> &str {
    cluster_id.get(..8).unwrap_or(cluster_id)
}

/// Where a recovery works.
pub(super) const WORK: &str = "recovering";
/// What is of no use to a copy, or secret.
const NOT_COPIED: [&str; 3] = ["LOCK", "peer.key", "addresses.json"];
/// Vote, watermark, identity and the like; a ballast file is no such.
const SMALL_FILE: u64 = 1 << 20;
/// Applied at a time.
const BATCH: u64 = 1024;
