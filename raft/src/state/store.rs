//! The state of this node: the generation in force, the newest view of it, and how entries change it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use openraft::EntryPayload;
use rocksdb::DB;
use signet_model::rows::Space;
use signet_model::stored::to_bytes;
use signet_model::time::UnixTime;
use tokio::sync::watch;

use super::generation::{Generation, Tuning};
use super::orders::{apply_membership, apply_order, removed_key};
use super::overlay::Overlay;
use super::progress::Progress;
use super::rows::{
    APPLIED_KEY, AppliedRow, CLUSTER_KEY, FEATURE_KEY, MEMBERSHIP_KEY, NODE_PREFIX, Roster, TOKEN_PREFIX, TokenRow,
    prefixed, read,
};
use super::snapshot::{Shelf, SnapshotDir, Taken};
pub(crate) use super::view::ViewInner;
use crate::config::Storage;
use crate::encoding::{EncodingError, StoredMembershipForm, entry_to_body, unversioned, versioned};
use crate::error::OpenError;
use crate::log::{Anchor, Chain, background_errors};
use crate::machine::{ApplyContext, StateMachine};
use crate::types::{LogEntry, LogId, Order, Outcome, Pin, Proposal, SnapshotMeta, StoredMembership};
use crate::{fatal, feature};

/// This node's state.
pub(crate) struct StateStore {
    root: PathBuf,
    tuning: Tuning,
    generation: ArcSwap<Generation>,
    view: ArcSwap<ViewInner>,
    position: Mutex<Position>,
    machine: Arc<dyn StateMachine>,
    pub(crate) shelf: Shelf,
    pub(crate) progress: Progress,
    roster: watch::Sender<Arc<Roster>>,
    anchor: Arc<Anchor>,
}

/// How far the state has come.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    pub(crate) last: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) time: UnixTime,
    /// The value of the log's hash chain at `last`, counted here from what was applied; `None` if it is not known.
    pub(crate) chain: Option<Chain>,
}

impl Position {
    fn end(&self) -> u64 {
        self.last.map_or(0, |id| id.index + 1)
    }

    fn anchor(&self) -> Option<(LogId, Chain)> {
        self.last.zip(self.chain)
    }
}

impl StateStore {
    /// Opens the state in `data_dir` and tells the machine what is in it. For work that is soon done.
    pub(crate) fn open(data_dir: &Path, machine: Arc<dyn StateMachine>) -> Result<Self, OpenError> {
        Self::open_tuned(data_dir, machine, &Storage::default())
    }

    /// The same with as much memory as `storage` says.
    pub(crate) fn open_tuned(
        data_dir: &Path,
        machine: Arc<dyn StateMachine>,
        storage: &Storage,
    ) -> Result<Self, OpenError> {
        let root = data_dir.join("state");
        let tuning = Tuning::new(storage);
        let generation = Generation::current(&root, &tuning)?;
        let damaged = |cause: EncodingError| OpenError::Damaged { path: root.clone(), detail: cause.to_string() };
        let position = load_position(&generation.db).map_err(damaged)?;
        let roster = load_roster(&generation.db).map_err(damaged)?;
        let (in_force, known) = (feature_level(&generation.db).map_err(damaged)?, machine.feature_level());
        if in_force > known {
            return Err(OpenError::TooOld(feature::too_old(in_force, known)));
        }
        let view = Arc::new(ViewInner::new(Arc::clone(&generation), position.end(), position.time));
        let shelf = Shelf::open(data_dir.join("snapshots"))?;
        let store = Self {
            root,
            tuning,
            generation: ArcSwap::new(generation),
            view: ArcSwap::new(view),
            position: Mutex::new(position),
            machine,
            shelf,
            progress: Progress::default(),
            roster: watch::Sender::new(Arc::new(roster)),
            anchor: Arc::default(),
        };
        store.anchor.set(store.position().anchor());
        store.announce(&all_spaces());
        Ok(store)
    }

    /// The generation in force.
    pub(crate) fn generation(&self) -> Arc<Generation> {
        self.generation.load_full()
    }

    /// The newest view.
    pub(crate) fn view(&self) -> Arc<ViewInner> {
        self.view.load_full()
    }

    /// How far the state has come.
    pub(crate) fn position(&self) -> Position {
        self.lock().clone()
    }

    /// Where the state knows the value of the log's hash chain.
    pub(crate) fn anchor(&self) -> Arc<Anchor> {
        Arc::clone(&self.anchor)
    }

    /// Takes over from the log what an older program did not count.
    pub(crate) fn adopt_chain(&self, chain: Chain) {
        let mut position = self.lock();
        position.chain = Some(chain);
        self.anchor.set(position.anchor());
    }

    /// The members, and a way to hear of changes.
    pub(crate) fn roster(&self) -> watch::Receiver<Arc<Roster>> {
        self.roster.subscribe()
    }

    /// The cluster whose state this is; `None` for a new one.
    pub(crate) fn cluster(&self) -> Option<Vec<u8>> {
        read(&self.generation.load().db, CLUSTER_KEY)
    }

    /// What is known of a join token, by the hash of its secret.
    pub(crate) fn token(&self, hash: &[u8]) -> Option<TokenRow> {
        let bytes = read(&self.generation.load().db, &prefixed(TOKEN_PREFIX, hash))?;
        match unversioned(&bytes) {
            Ok(row) => Some(row),
            Err(cause) => fatal::abort("cannot read the replicated state", &cause),
        }
    }

    /// The node that held this key and was removed.
    pub(crate) fn removed(&self, pin: Pin) -> Option<u64> {
        let bytes = read(&self.generation.load().db, &removed_key(pin))?;
        match unversioned(&bytes) {
            Ok(node) => Some(node),
            Err(cause) => fatal::abort("cannot read the replicated state", &cause),
        }
    }

    /// The feature level in force.
    pub(crate) fn feature_level(&self) -> u32 {
        match feature_level(&self.generation.load().db) {
            Ok(level) => level,
            Err(cause) => fatal::abort("cannot read the replicated state", &cause),
        }
    }

    /// The highest feature level that this program knows.
    pub(crate) fn known_level(&self) -> u32 {
        self.machine.feature_level()
    }

    /// The log index of the membership that has been applied.
    pub(crate) fn membership_index(&self) -> u64 {
        self.lock().membership.log_id().map_or(0, |id| id.index)
    }

    /// What RocksDB says of itself.
    pub(crate) fn property(&self, name: &str) -> Option<String> {
        self.generation.load().db.property_value(name).ok().flatten()
    }

    /// Marks the state as the cluster's.
    pub(crate) fn set_cluster(&self, cluster: &[u8]) {
        let generation = self.generation.load();
        if let Err(cause) = generation.db.put(CLUSTER_KEY, cluster).and_then(|()| generation.db.flush_wal(true)) {
            fatal::abort("cannot write the replicated state", &cause);
        }
    }

    /// Applies entries, all in one batch, and returns an outcome for each once they are visible.
    pub(crate) fn apply(&self, entries: &[LogEntry]) -> io::Result<Vec<Outcome>> {
        self.apply_for(entries, &vec![true; entries.len()])
    }

    /// The same; an outcome that is not `answered` may be empty.
    pub(crate) fn apply_for(&self, entries: &[LogEntry], answered: &[bool]) -> io::Result<Vec<Outcome>> {
        let mut position = self.position();
        let generation = self.generation.load_full();
        let mut rows = Overlay::new(&generation.db);
        let mut outcomes = Vec::with_capacity(entries.len());
        for (entry, answered) in entries.iter().zip(answered) {
            outcomes.push(self.apply_one(&mut rows, &mut position, entry, *answered)?);
        }
        if let Some(last) = &position.last {
            let row = AppliedRow { id: last.into(), time: position.time, chain: position.chain };
            rows.write(APPLIED_KEY.to_vec(), versioned(&row));
        }
        let roster_changed = rows.roster_changed();
        let (batch, changed) = rows.into_batch();
        // Not synced: after a power cut the state is an older whole one, and the log, which is synced, makes up for it.
        if let Err(cause) = generation.db.write(batch) {
            fatal::abort("cannot write the replicated state", &cause);
        }
        *self.lock() = position;
        if roster_changed {
            self.roster.send_replace(Arc::new(load_roster(&generation.db)?));
        }
        self.announce(&changed);
        Ok(outcomes)
    }

    fn apply_one(
        &self,
        rows: &mut Overlay<'_>,
        position: &mut Position,
        entry: &LogEntry,
        answered: bool,
    ) -> io::Result<Outcome> {
        let index = entry.log_id.index;
        let mut body = Bytes::new();
        match &entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Normal(Proposal { stamp, order }) => {
                position.time = position.time.max(*stamp);
                let at = position.time;
                body = match order {
                    Order::Application(command) => {
                        let context = ApplyContext { index, at, answered };
                        self.machine.apply(rows, context, command).map_err(io::Error::other)?.into()
                    }
                    Order::RaiseFeatureLevel { from, to, membership } => {
                        let now = position.membership.log_id().map_or(0, |id| id.index);
                        let raise = (*from, *to, *membership);
                        to_bytes(&feature::apply(rows, self.machine.feature_level(), now, raise)?).into()
                    }
                    Order::CreateJoinToken { .. }
                    | Order::ConsumeJoinToken { .. }
                    | Order::SetAddress { .. }
                    | Order::Forget { .. }
                    | Order::ResetTime { .. } => {
                        let membership = position.membership.membership();
                        to_bytes(&apply_order(rows, &mut position.time, membership, order)?).into()
                    }
                };
            }
            EntryPayload::Membership(membership) => {
                apply_membership(rows, position.membership.membership(), membership)?;
                position.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                let form = StoredMembershipForm::from(&position.membership);
                rows.write(MEMBERSHIP_KEY.to_vec(), versioned(&form));
            }
        }
        position.last = Some(entry.log_id);
        position.chain = position.chain.map(|before| before.next(&entry_to_body(entry)));
        Ok(Outcome { at: position.time, body })
    }

    /// Takes a checkpoint of what is applied now, into a scratch directory.
    pub(crate) fn checkpoint(&self) -> io::Result<Taken> {
        let position = self.position();
        let path = self.shelf.checkpoint(&self.generation.load().db)?;
        let meta = SnapshotMeta { last_log_id: position.last, last_membership: position.membership };
        Ok(Taken { path, meta, chain: position.chain })
    }

    /// Whether RocksDB holds up writes because it cannot put them into files as fast.
    pub(crate) fn is_slow(&self) -> bool {
        let generation = self.generation.load();
        let says = |name: &str| generation.db.property_int_value(name).ok().flatten().is_some_and(|value| value > 0);
        says("rocksdb.is-write-stopped") || says("rocksdb.actual-delayed-write-rate")
    }

    /// What RocksDB failed to do in the background, if anything.
    pub(crate) fn background_errors(&self) -> Option<String> {
        background_errors(&self.generation.load().db)
    }

    /// Takes a checkpoint into a scratch directory. What it covers is in its rows.
    pub(crate) fn take_checkpoint(&self) -> io::Result<PathBuf> {
        self.shelf.checkpoint(&self.generation.load().db)
    }

    /// Makes a snapshot if the state is ahead of a log that ends at `log`.
    ///
    /// A node applies what a quorum has on disk, and may die before it is on its own. Raft then begins its log behind the
    /// state, and must find a snapshot of that place: without one it could not serve a follower that lags behind it.
    pub(crate) fn cover(&self, log: Option<LogId>, cluster: &[u8]) -> io::Result<()> {
        let last = self.position().last;
        let covered = self.shelf.newest().map(|dir| dir.meta()).transpose()?.and_then(|meta| meta.last_log_id);
        if last > log && last > covered {
            self.shelf.complete(&self.checkpoint()?, cluster.to_vec())?;
        }
        Ok(())
    }

    /// Makes what is applied last, for an orderly end.
    pub(crate) fn flush(&self) {
        if let Err(cause) = self.generation.load().db.flush_wal(true) {
            tracing::warn!(%cause, "cannot sync the replicated state; the log will make up for it");
        }
    }

    /// Writes what is in memory to files, so that the next checkpoint has little left to do.
    pub(crate) fn settle(&self) {
        if let Err(cause) = self.generation.load().db.flush() {
            fatal::abort("cannot write the replicated state", &cause);
        }
    }

    /// Gives memory back while nothing is written: what is much of it goes to files.
    pub(crate) fn rest(&self) {
        let held = self.generation.load().db.property_int_value(rocksdb::properties::CUR_SIZE_ACTIVE_MEM_TABLE);
        if held.ok().flatten().is_some_and(|bytes| bytes > KEPT_AT_REST) {
            self.settle();
        }
    }

    /// Puts a received snapshot in force as a new generation. A crash leaves the old state or the new one, whole.
    pub(crate) fn install(&self, snapshot: &SnapshotDir) -> io::Result<()> {
        self.install_in_steps(snapshot, |_| {})
    }

    /// The same; `done` is told of each step, so that a test can crash behind it.
    pub(crate) fn install_in_steps(&self, snapshot: &SnapshotDir, mut done: impl FnMut(&str)) -> io::Result<()> {
        let meta = snapshot.meta()?;
        let number = self.generation.load().number + 1;
        let path = self.root.join(number.to_string());
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        done("begun");
        snapshot.materialize(&path)?;
        done("files");
        let generation = Arc::new(Generation::open_tuned(&self.root, number, &self.tuning).map_err(io::Error::other)?);
        let (in_force, known) = (feature_level(&generation.db)?, self.known_level());
        if in_force > known {
            return Err(io::Error::other(feature::too_old(in_force, known)));
        }
        let position = load_position(&generation.db)?;
        let chain = snapshot.manifest.chain;
        if position.last != meta.last_log_id || chain.is_some_and(|chain| position.chain != Some(chain)) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the snapshot does not hold what its manifest says",
            ));
        }
        let roster = load_roster(&generation.db)?;
        done("opened");
        Generation::point(&self.root, number)?;
        done("pointed");
        self.anchor.set(position.anchor());
        *self.lock() = position;
        let before = self.generation.swap(generation);
        before.replaced();
        drop(before);
        done("swapped");
        self.shelf.adopt(snapshot)?;
        done("shelved");
        self.roster.send_replace(Arc::new(roster));
        self.announce(&all_spaces());
        Ok(())
    }

    /// Makes what was written visible, then tells the machine, then wakes who waits.
    fn announce(&self, changed: &BTreeSet<Space>) {
        let position = self.position();
        let end = position.end();
        let view = Arc::new(ViewInner::new(self.generation.load_full(), end, position.time));
        self.view.store(Arc::clone(&view));
        self.machine.applied(&*view, end.saturating_sub(1), changed);
        self.progress.advance(end);
    }

    fn lock(&self) -> MutexGuard<'_, Position> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn all_spaces() -> BTreeSet<Space> {
    Space::ALL.iter().copied().collect()
}

pub(super) fn load_position(db: &DB) -> Result<Position, EncodingError> {
    let applied = read(db, APPLIED_KEY);
    let applied: Option<AppliedRow> = applied.as_deref().map(unversioned).transpose()?;
    let membership = read(db, MEMBERSHIP_KEY);
    let membership: Option<StoredMembershipForm> = membership.as_deref().map(unversioned).transpose()?;
    Ok(Position {
        last: applied.map(|row| row.id.into()),
        membership: membership.map(TryInto::try_into).transpose()?.unwrap_or_default(),
        time: applied.map(|row| row.time).unwrap_or_default(),
        chain: applied.map_or(Some(Chain::START), |row| row.chain),
    })
}

fn feature_level(db: &DB) -> Result<u32, EncodingError> {
    feature::read(read(db, FEATURE_KEY).as_deref())
}

pub(super) fn load_roster(db: &DB) -> Result<Roster, EncodingError> {
    let rows = Overlay::new(db).scan_whole(&[NODE_PREFIX], &[NODE_PREFIX], usize::MAX);
    rows.into_iter()
        .map(|(key, value)| {
            let id = key.get(1..).and_then(|id| id.try_into().ok()).map(u64::from_be_bytes);
            Ok((id.ok_or(EncodingError::Empty)?, unversioned(&value)?))
        })
        .collect()
}

/// So many bytes that are not in a file yet may stay in memory.
const KEPT_AT_REST: u64 = 4 << 20;
