//! All that runs for a demo cluster, and how it is stopped.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::establish::say;
use super::folder::Folder;
use super::issuer::Issuer;
use super::process::{Event, NodeProcess, Stop};
use crate::cli::Failure;

/// Owns the nodes' processes and the demo issuer.
#[derive(Debug)]
pub(super) struct Supervisor {
    program: PathBuf,
    stop: Stop,
    events: mpsc::Sender<Event>,
    tasks: JoinSet<()>,
}

impl Supervisor {
    /// A supervisor of nothing yet, and what it has to tell.
    ///
    /// # Errors
    /// The path of this program cannot be found.
    pub(super) fn new() -> Result<(Self, mpsc::Receiver<Event>), Failure> {
        let program = std::env::current_exe()
            .map_err(|cause| Failure::new("io", format!("cannot find the path of this program: {cause}")))?;
        let (events, receiver) = mpsc::channel(EVENTS);
        Ok((Self { program, stop: Stop::default(), events, tasks: JoinSet::new() }, receiver))
    }

    /// Starts a node and keeps it running.
    pub(super) fn start(&mut self, folder: &Folder, node: usize) {
        let process = NodeProcess {
            node,
            program: self.program.clone(),
            config: folder.config(node),
            join_token: folder.join_token(node),
            log: folder.log(node),
        };
        self.tasks.spawn(process.keep(self.events.clone(), self.stop.clone()));
    }

    /// Serves the demo issuer.
    pub(super) fn serve(&mut self, issuer: Issuer) {
        let stop = self.stop.gently.clone();
        self.tasks.spawn(async move {
            if let Err(failure) = issuer.serve(stop).await {
                say(&format!("{}: no new user can be verified until signet dev is started again", failure.message()));
            }
        });
    }

    /// Stops everything in good order, or at once when `hurry` comes true. No process is left when this returns.
    pub(super) async fn stop(mut self, mut events: mpsc::Receiver<Event>, hurry: impl Future<Output = ()>) {
        self.stop.gently.cancel();
        let (stop, mut hurry) = (self.stop.clone(), std::pin::pin!(hurry));
        let mut hurried = false;
        loop {
            tokio::select! {
                done = self.tasks.join_next() => if done.is_none() { return },
                // Read, so that nobody waits for room to tell something.
                Some(_) = events.recv() => {}
                () = &mut hurry, if !hurried => {
                    hurried = true;
                    stop.now.cancel();
                }
            }
        }
    }
}

/// The nodes' processes, by number, as far as they have been told of.
#[derive(Debug, Default)]
pub(super) struct Processes {
    pids: BTreeMap<usize, u32>,
}

impl Processes {
    /// Takes note of a node's process.
    pub(super) fn note(&mut self, node: usize, pid: u32) {
        self.pids.insert(node, pid);
    }

    /// A node's process.
    pub(super) fn pid(&self, node: usize) -> Option<u32> {
        self.pids.get(&node).copied()
    }
}

/// A node has two in its worst second; whoever tells waits until there is room.
const EVENTS: usize = 16;
