//! One node's process: started, watched, restarted, stopped.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use crate::clock;

/// How to start a node.
#[derive(Debug, Clone)]
pub(super) struct NodeProcess {
    /// Its number.
    pub(super) node: usize,
    /// This program.
    pub(super) program: PathBuf,
    /// Its configuration.
    pub(super) config: PathBuf,
    /// The token to join with, used if it is there.
    pub(super) join_token: PathBuf,
    /// Where its output goes.
    pub(super) log: PathBuf,
}

/// What happened to a node's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// It runs.
    Started {
        /// Which node.
        node: usize,
        /// Its process.
        pid: u32,
    },
    /// It ended without being told to, and is started again after a pause.
    Died {
        /// Which node.
        node: usize,
        /// Its process.
        pid: u32,
        /// `killed by signal 9`, or the like.
        how: String,
    },
    /// It could not be started, which is tried again after a pause.
    NotStarted {
        /// Which node.
        node: usize,
        /// The reason.
        why: String,
    },
}

/// When to stop: in good order, and at once.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    /// Ask the processes to stop.
    pub(super) gently: CancellationToken,
    /// Kill them.
    pub(super) now: CancellationToken,
}

impl NodeProcess {
    /// Keeps the node running until it is told to stop; returns when its process has ended.
    pub(super) async fn keep(self, events: mpsc::Sender<Event>, stop: Stop) {
        let mut backoff = Backoff::default();
        while !stop.gently.is_cancelled() {
            let started = clock::boottime();
            let event = match self.spawn() {
                Ok(child) => match self.watch(child, &events, &stop).await {
                    Some(event) => event,
                    None => return,
                },
                Err(cause) => Event::NotStarted { node: self.node, why: cause.to_string() },
            };
            // The receiver goes first only when all is being stopped.
            let _ = events.send(event).await;
            let pause = backoff.pause(clock::boottime().saturating_sub(started));
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.gently.cancelled() => {}
            }
        }
    }

    /// Waits for the process to end by itself, or stops it and says nothing.
    async fn watch(&self, mut child: Child, events: &mpsc::Sender<Event>, stop: &Stop) -> Option<Event> {
        let (node, pid) = (self.node, child.id().unwrap_or_default());
        // `Child::wait` would close it at once, and the node would take that for our death.
        let _stdin = child.stdin.take();
        let _ = events.send(Event::Started { node, pid }).await;
        tokio::select! {
            ended = child.wait() => {
                let how = ended.map_or_else(|cause| cause.to_string(), describe);
                Some(Event::Died { node, pid, how })
            }
            () = stop.gently.cancelled() => {
                end(&mut child, stop).await;
                None
            }
        }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.log)?;
        let mut command = Command::new(&self.program);
        command.arg("server").arg("--config").arg(&self.config).arg("--exit-with-parent");
        if self.join_token.exists() {
            command.arg("--join-token-file").arg(&self.join_token);
        }
        command
            // Whoever the supervisor's variables are meant for, it is not the nodes.
            .env_remove("SIGNET_SOCKET")
            .env_remove("SIGNET_DEV_DIR")
            // The other end of the pipe closes however the supervisor dies, and the node ends with it.
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Out of the terminal's reach: Ctrl-C is for the supervisor, which stops the nodes in good order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// Asks, waits, kills.
async fn end(child: &mut Child, stop: &Stop) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) {
        // It may have ended just now, which `wait` tells.
        let _ = kill_process(pid, Signal::TERM);
    }
    let ended = tokio::select! {
        ended = timeout(STOP_DEADLINE, child.wait()) => ended.is_ok(),
        () = stop.now.cancelled() => false,
    };
    if !ended {
        let _ = child.kill().await;
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// How long a node may take to stop in good order.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
