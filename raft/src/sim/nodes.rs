//! Simulated machines: a directory, disks, a clock, and a process that can be started, stopped, stalled and killed.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use signet_model::time::UnixTime;
use tokio::runtime::{Builder, Runtime};

use super::checks::Seen;
use super::disk::Disk;
use super::machine::Registers;
use super::random::Random;
use super::world::{NOBODY, World};
use crate::identity::Record;
use crate::log::LogStore;
use crate::node::Node;
use crate::open::open_simulated;
use crate::{NodeConfig, Storage, Timings};

/// One machine.
pub(crate) struct Machine {
    pub(crate) at: usize,
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<Disk>,
    /// How far its clock is off, in milliseconds.
    pub(crate) skew: Arc<AtomicI64>,
    runtime: Option<Runtime>,
    opened: Opened,
    pub(crate) running: Option<(Node, LogStore)>,
    pub(crate) seen: Seen,
    pub(crate) incarnation: u64,
    pub(crate) start_at: Option<u64>,
    pub(crate) paused_until: u64,
    missed: u64,
    first_wal: Option<PathBuf>,
}

type Opened = Arc<Mutex<Option<Result<(Node, LogStore), String>>>>;

impl Machine {
    pub(crate) fn new(world: &World, root: &Path, at: usize) -> Self {
        let dir = root.join(format!("n{at}"));
        let disk = Arc::new(Disk::new(at));
        world.disks.lock().unwrap().insert(dir.clone(), Arc::clone(&disk));
        Self {
            at,
            dir,
            disk,
            skew: Arc::default(),
            runtime: None,
            opened: Opened::default(),
            running: None,
            seen: Seen::default(),
            incarnation: 0,
            start_at: None,
            paused_until: 0,
            missed: 0,
            first_wal: None,
        }
    }

    /// An empty machine in the place of this one.
    pub(crate) fn replace(&mut self, world: &World, root: &Path) {
        let _ = std::fs::remove_dir_all(&self.dir);
        let incarnation = self.incarnation;
        *self = Self::new(world, root, self.at);
        self.incarnation = incarnation;
    }

    /// The runtime of the running process.
    pub(crate) fn runtime(&self) -> Option<&Runtime> {
        self.runtime.as_ref()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.runtime.is_some()
    }

    /// The raft id, if the process runs and has one.
    pub(crate) fn raft_id(&self) -> Option<u64> {
        Some(self.running.as_ref()?.0.identity()?.node_id)
    }

    /// The raft id, also while the process is down.
    pub(crate) fn known_id(&self) -> Option<u64> {
        self.raft_id().or_else(|| Some(Record::load(&self.dir).ok()??.node))
    }

    /// Starts the process.
    pub(crate) fn start(&mut self, world: &World) {
        world.trace(format_args!("n{} starts", self.at));
        world.aborted.lock().unwrap().remove(&self.at);
        self.incarnation += 1;
        (self.start_at, self.missed, self.seen) = (None, 0, Seen::default());
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .max_blocking_threads(1)
            .on_thread_start(|| {
                eprintln!("something waits for a disk on a thread of its own: use `blocking` instead");
                std::process::abort();
            })
            .build()
            .unwrap();
        self.opened = Opened::default();
        let (opened, config, at) = (Arc::clone(&self.opened), self.config(), self.at);
        runtime.spawn(async move {
            let node = Self::open(config, at).await;
            *opened.lock().unwrap() = Some(node);
        });
        self.runtime = Some(runtime);
    }

    async fn open(config: NodeConfig, at: usize) -> Result<(Node, LogStore), String> {
        let address = format!("n{at}:1");
        let inner = open_simulated(config, Arc::new(Registers { node: at }), address.clone());
        let node = Node { inner: Arc::new(inner.map_err(|cause| cause.to_string())?) };
        let log = node.inner.log.lock().unwrap().clone().ok_or("no log")?;
        super::door::listen(&node.inner, &address);
        node.resume().await.map_err(|cause| cause.to_string())?;
        Ok((node, log))
    }

    fn config(&self) -> NodeConfig {
        let skew = Arc::clone(&self.skew);
        NodeConfig {
            data_dir: self.dir.clone(),
            peer_listen: ([127, 0, 0, 1], 1).into(),
            peer_advertise: None,
            contacts: Vec::new(),
            version: "simulated".into(),
            storage: Storage::default(),
            timings: Timings { snapshot_every: 60, log_kept: 20, ..Timings::lan() },
            clock: Arc::new(move || {
                let now = super::world::find().map_or(0, |world| world.now());
                let now = EPOCH.saturating_add(now).saturating_add_signed(skew.load(Ordering::Relaxed));
                UnixTime::from_millis(now)
            }),
            answers: Arc::new(crate::NoAnswers),
        }
    }

    /// Lets the process run for a millisecond.
    pub(crate) fn tick(&mut self, world: &World) {
        let Some(runtime) = &self.runtime else { return };
        if world.now() < self.paused_until {
            self.missed += 1;
            return;
        }
        world.turn.store(self.at, Ordering::Relaxed);
        let missed = std::mem::take(&mut self.missed);
        runtime.block_on(async {
            if missed > 0 {
                tokio::time::advance(Duration::from_millis(missed)).await;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        });
        world.turn.store(NOBODY, Ordering::Relaxed);
        match self.opened.lock().unwrap().take() {
            Some(Ok(running)) => {
                self.running = Some(running);
                if self.incarnation == 1 {
                    self.first_wal = newest_wal(&self.dir);
                }
            }
            Some(Err(cause)) if !world.aborted.lock().unwrap().contains_key(&self.at) => {
                world.violated(format_args!("n{} does not start: {cause}", self.at));
            }
            Some(Err(_)) | None => {}
        }
    }

    /// Ends the process without a word; `power` is cut with it, or not.
    pub(crate) fn kill(&mut self, world: &World, power_cut: bool) {
        world.trace(format_args!("n{} ends, power cut {power_cut}", self.at));
        world.random(|random| {
            world.net.lock().unwrap().process_ended(world.now(), random, self.at, !power_cut);
        });
        self.running = None;
        *self.opened.lock().unwrap() = None;
        drop(self.runtime.take());
        self.paused_until = 0;
        world.random(|random| {
            self.disk.crash(random);
            if power_cut {
                self.cut_state(world, random);
            }
        });
    }

    /// The state is written ahead without fsync: a power cut leaves a beginning of its newest file.
    fn cut_state(&self, world: &World, random: &mut Random) {
        let Some(wal) = newest_wal(&self.dir).filter(|wal| Some(wal) != self.first_wal.as_ref()) else { return };
        let file = OpenOptions::new().write(true).open(wal).unwrap();
        let len = file.metadata().unwrap().len();
        let kept = if random.percent(30) { len } else { random.below(len + 1) };
        file.set_len(kept).unwrap();
        world.trace(format_args!("n{} state keeps {kept} of {len}", self.at));
    }
}

/// The write-ahead file of the state's generation in force that is written to.
fn newest_wal(dir: &Path) -> Option<PathBuf> {
    let newest = |dir: &Path, ending: &str| -> Option<PathBuf> {
        let names = std::fs::read_dir(dir).ok()?.flatten().filter_map(|item| item.file_name().into_string().ok());
        let numbers = names.filter_map(|name| Some((name.strip_suffix(ending)?.parse::<u64>().ok()?, name)));
        numbers.max().map(|(_, name)| dir.join(name))
    };
    newest(&newest(&dir.join("state"), "")?, ".log")
}

/// What the true clock shows at the beginning.
const EPOCH: u64 = 1_800_000_000_000;
