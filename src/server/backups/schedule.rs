//! Taking backups on a schedule.
//!
//! Which was the last is read from the names at the place where they lie, not remembered: so the schedule goes on over
//! restarts and changes of the leader without state of its own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use signet_api::service::{BackupDone, BackupStatus};
use signet_raft::Role;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use super::Backups;
use super::folder::Folder;
use super::name::{Named, Names, outdated};
use super::s3::S3;
use crate::clock;
use crate::server::config::{BackupsConfig, PlaceConfig};
use crate::server::metrics::Metrics;

/// The schedule of this node, and how it goes.
#[derive(Debug)]
pub(crate) struct Schedule {
    config: BackupsConfig,
    place: Place,
    data_dir: PathBuf,
    metrics: Arc<Metrics>,
    status: Mutex<BackupStatus>,
}

#[derive(Debug)]
enum Place {
    Folder(Folder),
    S3(Box<S3>),
}

impl Schedule {
    /// # Errors
    /// The place cannot be used as it is configured; says why.
    pub(crate) fn new(config: BackupsConfig, data_dir: &Path, metrics: Arc<Metrics>) -> Result<Self, String> {
        let place = match &config.place {
            PlaceConfig::Folder(path) => Place::Folder(Folder(path.clone())),
            PlaceConfig::S3(s3) => Place::S3(Box::new(S3::new(s3.clone())?)),
        };
        let status =
            BackupStatus { destination: place.shown(), interval_secs: config.schedule.as_secs(), ..Default::default() };
        Ok(Self { config, place, data_dir: data_dir.to_owned(), metrics, status: Mutex::new(status) })
    }

    pub(crate) fn status(&self) -> BackupStatus {
        self.lock().clone()
    }

    /// Takes backups until `stop`.
    pub(crate) async fn keep(&self, backups: &Backups, stop: CancellationToken) {
        let mut next = None;
        let mut failures = 0;
        while stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_some() {
            let Some(names) = self.names(backups) else {
                next = None;
                self.note(false, None);
                continue;
            };
            if next.is_none() {
                match self.due(&names).await {
                    Ok(due) => next = Some(due),
                    Err(cause) => {
                        failures += 1;
                        self.failed(&cause);
                        next = Some(self.again(failures));
                    }
                }
            }
            self.note(true, next);
            if next.is_none_or(|due| clock::now().secs() < due) {
                continue;
            }
            next = Some(match self.take(backups, &names).await {
                Ok(done) => {
                    failures = 0;
                    let due = done.at_secs + self.config.schedule.as_secs();
                    self.done(done);
                    due
                }
                Err(cause) => {
                    failures += 1;
                    self.failed(&cause);
                    self.again(failures)
                }
            });
        }
    }

    /// The names of this cluster's backups, if it is this node that takes them now.
    fn names(&self, backups: &Backups) -> Option<Names> {
        let identity = backups.node.identity()?;
        let active = match self.config.node {
            Some(node) => node == identity.node_id,
            None => backups.node.local_status().role == Role::Leader,
        };
        let live = backups.live.current().filter(|_| active)?;
        Some(Names::of(live.settings.trust_domain.as_str(), &identity.cluster_id))
    }

    /// When the next is due, by what lies there.
    async fn due(&self, names: &Names) -> Result<u64, String> {
        self.place.prepare()?;
        let newest = self.own(names).await?.into_iter().max();
        if let Some(newest) = &newest {
            self.metrics.backup_known(newest.at);
        }
        Ok(newest.map_or(0, |newest| newest.at + self.config.schedule.as_secs()))
    }

    async fn own(&self, names: &Names) -> Result<Vec<Named>, String> {
        let listed = self.place.list(names.prefix()).await?;
        Ok(listed.iter().filter_map(|name| names.recognise(name)).collect())
    }

    /// After a failure: soon, then less so, but never later than the schedule says.
    fn again(&self, failures: u32) -> u64 {
        let pause = FIRST_RETRY * 2_u32.saturating_pow(failures.saturating_sub(1).min(8));
        clock::now().secs() + pause.min(LONGEST_RETRY).min(self.config.schedule).as_secs()
    }

    async fn take(&self, backups: &Backups, names: &Names) -> Result<BackupDone, String> {
        self.place.prepare()?;
        // The folder may be shared by nodes, and the leader may just have changed.
        let node = backups.node.identity().map_or(0, |identity| identity.node_id);
        let spool = Spool(self.place.spool_dir(&self.data_dir).join(format!(".signet-backup-{node}.part")));
        let saved = backups.take(BARRIER).await.map_err(|refusal| refusal.to_string())?;
        let index = saved.info.last_log.index;
        write(&spool.0, saved).await?;
        // What is put away has been read back and checked.
        let path = spool.0.clone();
        let checked = tokio::task::spawn_blocking(move || signet_raft::check_snapshot(&path)).await;
        let size = checked.map_err(|cause| cause.to_string())?.map_err(|cause| cause.to_string())?.size;
        let at = clock::now();
        let name = names.name(at, index);
        self.place.put(&spool.0, &name).await?;
        tracing::info!(%name, size, index, to = %self.place.shown(), "took a backup");
        if let Err(cause) = self.prune(names).await {
            // The backup itself is there.
            tracing::warn!("a backup is there, and old ones could not be removed: {cause}");
        }
        Ok(BackupDone { at_secs: at.secs(), name, size, index })
    }

    async fn prune(&self, names: &Names) -> Result<(), String> {
        let own = self.own(names).await?;
        for old in outdated(own, self.config.keep, self.config.keep_for, clock::now()) {
            self.place.delete(&old.name).await?;
            tracing::info!(name = %old.name, "removed a backup whose time is over");
        }
        Ok(())
    }

    fn note(&self, active: bool, next: Option<u64>) {
        let mut status = self.lock();
        status.active = active;
        status.next_secs = next.unwrap_or(0);
    }

    fn done(&self, done: BackupDone) {
        self.metrics.backup_done(done.at_secs, done.size);
        self.lock().last_success = Some(done);
    }

    fn failed(&self, cause: &str) {
        self.metrics.backup_failed();
        tracing::error!("no backup was taken: {cause}");
        self.lock().last_failure = Some((clock::now().secs(), cause.to_owned()));
    }

    fn lock(&self) -> MutexGuard<'_, BackupStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn shown(&self) -> String {
        match self {
            Self::Folder(folder) => folder.0.display().to_string(),
            Self::S3(s3) => s3.shown(),
        }
    }

    fn prepare(&self) -> Result<(), String> {
        match self {
            Self::Folder(folder) => folder.prepare(),
            Self::S3(_) => Ok(()),
        }
    }

    /// Where a backup is gathered: in the folder itself, where a rename puts it in place, or in the data directory.
    fn spool_dir(&self, data_dir: &Path) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.0.clone(),
            Self::S3(_) => data_dir.to_owned(),
        }
    }

    async fn put(&self, spool: &Path, name: &str) -> Result<(), String> {
        match self {
            Self::Folder(folder) => folder.put(spool, name),
            Self::S3(s3) => s3.put(spool, name).await,
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, String> {
        match self {
            Self::Folder(folder) => folder.list(),
            Self::S3(s3) => s3.list(prefix).await,
        }
    }

    async fn delete(&self, name: &str) -> Result<(), String> {
        match self {
            Self::Folder(folder) => folder.delete(name),
            Self::S3(s3) => s3.delete(name).await,
        }
    }
}

async fn write(spool: &Path, mut saved: signet_raft::SavedSnapshot) -> Result<(), String> {
    let failed = |cause: std::io::Error| format!("cannot write {}: {cause}; check the space there", spool.display());
    // What a crash left.
    let _ = std::fs::remove_file(spool);
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(spool).await.map_err(failed)?;
    while let Some(chunk) = saved.chunks.recv().await {
        let chunk = chunk.map_err(|cause| format!("cannot read the snapshot: {cause}"))?;
        file.write_all(&chunk).await.map_err(failed)?;
    }
    file.sync_all().await.map_err(failed)
}

/// A file that goes when it has not become a backup.
struct Spool(PathBuf);

impl Drop for Spool {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const TICK: Duration = Duration::from_secs(1);
const BARRIER: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_mins(5);
