//! The disk of the data directory: how much room it has left, and what this node stops doing before there is none.
//!
//! A write that fails ends the process, so everything here happens well before that, in this order: say so; let another
//! node lead and make no snapshots; refuse changes; refuse to issue and take nothing from the leader.

mod ballast;
mod marks;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use signet_model::refusal::{Reason, Refusal};
use signet_raft::{DiskState, Node};
use tokio_util::sync::CancellationToken;

pub(crate) use self::ballast::Ballast;
pub(crate) use self::marks::Marks;
use super::config::DiskConfig;
use crate::size;

/// Watches one disk.
#[derive(Debug)]
pub(crate) struct DiskWatch {
    data_dir: PathBuf,
    config: DiskConfig,
    last: Mutex<Reading>,
}

/// What was measured last, and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) space: Space,
    pub(crate) state: DiskState,
    pub(crate) marks: Marks,
    /// Bytes that deleting the ballast would free.
    pub(crate) ballast: u64,
}

/// A file system's room, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    /// What this user may still write.
    pub(crate) free: u64,
    pub(crate) total: u64,
}

impl DiskWatch {
    /// Measures for the first time, and says whether a node can start at all.
    ///
    /// # Errors
    /// The disk cannot be measured, or is so full that opening the stores would fail half-way. The text has the fix.
    pub(crate) fn start(data_dir: &Path, config: DiskConfig) -> anyhow::Result<Self> {
        use anyhow::Context as _;

        let watch = Self::look_once(data_dir, config);
        let watch = watch.with_context(|| format!("cannot measure the disk of {}", data_dir.display()))?;
        let reading = watch.reading();
        anyhow::ensure!(reading.space.free >= reading.marks.start, "{}", watch.sentence(&reading, "cannot start"));
        Ok(watch)
    }

    /// Measures for the first time.
    ///
    /// # Errors
    /// The disk cannot be measured.
    pub(crate) fn look_once(data_dir: &Path, config: DiskConfig) -> io::Result<Self> {
        let space = measure(data_dir)?;
        let marks = Marks::new(&config, space.total);
        let ballast = Ballast::of(data_dir).size();
        let state = marks.judge(DiskState::Ample, space.free);
        let last = Mutex::new(Reading { space, state, marks, ballast });
        Ok(Self { data_dir: data_dir.to_owned(), config, last })
    }

    /// What was measured last.
    pub(crate) fn reading(&self) -> Reading {
        *self.lock()
    }

    /// Whether a credential may be issued: its record needs room.
    ///
    /// # Errors
    /// [`Reason::ResourceExhausted`] with the fix; the caller asks another node.
    pub(crate) fn may_issue(&self) -> Result<(), Refusal> {
        let reading = self.reading();
        if reading.state < DiskState::Stop {
            return Ok(());
        }
        Err(Refusal::new(Reason::ResourceExhausted, self.sentence(&reading, "issues nothing")))
    }

    /// What an operator should know of the disk, if anything.
    pub(crate) fn note(&self) -> Option<String> {
        let reading = self.reading();
        let does = match reading.state {
            DiskState::Ample => return None,
            DiskState::Low => "still does everything",
            DiskState::HandOver => "does not lead if another can, and makes no snapshots",
            DiskState::Refuse => "refuses changes",
            DiskState::Stop => "refuses changes and issues nothing",
        };
        Some(self.sentence(&reading, does))
    }

    fn sentence(&self, reading: &Reading, does: &str) -> String {
        let Reading { space, marks, ballast, .. } = reading;
        let below = match reading.state {
            DiskState::Ample | DiskState::Low => marks.warn,
            DiskState::HandOver => marks.hand_over,
            DiskState::Refuse => marks.refuse,
            DiskState::Stop => marks.stop,
        };
        let dir = self.data_dir.display();
        let fix = match ballast {
            0 => "free space there".to_owned(),
            bytes => {
                let path = Ballast::of(&self.data_dir);
                format!("free space there; deleting {} gives {} at once", path.path().display(), size::show(*bytes))
            }
        };
        format!(
            "the disk of {dir} has {} free of {}, the mark is {}, so this node {does}: {fix}",
            size::show(space.free),
            size::show(space.total),
            size::show(below),
        )
    }

    /// Measures again, keeps the ballast, and tells the node what follows.
    fn look(&self, node: &Node) {
        let space = match measure(&self.data_dir) {
            Ok(space) => space,
            Err(cause) => {
                tracing::error!(%cause, dir = %self.data_dir.display(), "cannot measure the disk");
                return;
            }
        };
        let before = self.reading();
        let marks = Marks::new(&self.config, space.total);
        let ballast = Ballast::of(&self.data_dir);
        if let Err(cause) = ballast.keep(self.config.ballast.of(space.total), space.free, marks.ample()) {
            tracing::warn!(%cause, path = %ballast.path().display(), "cannot keep the ballast file");
        }
        let state = marks.judge(before.state, space.free);
        let now = Reading { space, state, marks, ballast: ballast.size() };
        *self.lock() = now;
        let note = self.note().unwrap_or_default();
        node.set_disk(state, &note);
        match state.cmp(&before.state) {
            std::cmp::Ordering::Greater => tracing::warn!(state = state.as_str(), "{note}"),
            std::cmp::Ordering::Less => {
                tracing::info!(state = state.as_str(), free = %size::show(space.free), "the disk has more room again");
            }
            std::cmp::Ordering::Equal => {}
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Reading> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks once a second until `stop`.
pub(crate) async fn keep(watch: std::sync::Arc<DiskWatch>, node: Node, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let (the_watch, the_node) = (watch.clone(), node.clone());
        // A file system may take its time; nothing else must wait for it.
        let _ = tokio::task::spawn_blocking(move || the_watch.look(&the_node)).await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// The room of the file system that `path` is on, or will be on once it is made.
pub(crate) fn measure(path: &Path) -> io::Result<Space> {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let stat = rustix::fs::statvfs(there)?;
    Ok(Space { free: stat.f_bavail.saturating_mul(stat.f_frsize), total: stat.f_blocks.saturating_mul(stat.f_frsize) })
}

const PAUSE: Duration = Duration::from_secs(1);
