//! `signet dev` as a child process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::cli::signet;
use super::cluster::Alone;
use super::wait::eventually;

/// A demo cluster. Its processes end with it.
#[derive(Debug)]
pub(crate) struct Dev {
    folder: TempDir,
    child: Option<Child>,
    _alone: Alone,
}

impl Dev {
    /// Starts it with its data in a folder of its own, and waits until it is ready.
    pub(crate) async fn start() -> Self {
        let alone = Alone::turn().await;
        let folder = tempfile::Builder::new().prefix("signet-dev-").tempdir().unwrap();
        let mut dev = Self { folder, child: None, _alone: alone };
        dev.spawn();
        dev.ready().await;
        dev
    }

    /// Starts the process on what lies in the folder.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let out = File::options().create(true).append(true).open(self.folder.path().join("out")).unwrap();
        let mut command = Command::new(signet());
        command.arg("dev").arg("--data").arg(self.data()).stdin(Stdio::null());
        self.child = Some(command.stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap());
    }

    /// The folder given to `--data`.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Everything it has printed.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("out")).unwrap_or_default()
    }

    /// Waits for `dev.json`.
    pub(crate) async fn ready(&self) -> Value {
        self.report_newer_than(0).await
    }

    /// Waits for a `dev.json` of a greater generation.
    pub(crate) async fn report_newer_than(&self, generation: u64) -> Value {
        eventually(READY, "dev.json", async || {
            let report = read(&self.data()).ok_or_else(|| format!("none; it said: {}", self.said()))?;
            if report["generation"].as_u64().unwrap() > generation { Ok(report) } else { Err(report.to_string()) }
        })
        .await
    }

    /// `dev.json` as it is now.
    pub(crate) fn report(&self) -> Value {
        read(&self.data()).unwrap()
    }

    /// The processes of the nodes.
    pub(crate) fn pids(&self) -> Vec<Pid> {
        self.report()["nodes"].as_array().unwrap().iter().map(|node| pid(&node["pid"])).collect()
    }

    /// Sends the supervisor a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// Waits until the supervisor has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let child = self.child.as_mut().unwrap();
        let ended = eventually(READY, "signet dev to end", async || {
            child.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
        });
        let status = ended.await;
        self.child = None;
        status
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let pids = read(&self.data()).map(|_| self.pids()).unwrap_or_default();
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
            // Its servers end with it by themselves; this is for a version in which they do not.
            for pid in pids {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if std::thread::panicking() {
            eprintln!("--- signet dev said ---\n{}", self.said());
        }
    }
}

fn read(data: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(data.join("dev.json")).ok()?).ok()
}

/// A process id in JSON.
pub(crate) fn pid(value: &Value) -> Pid {
    Pid::from_raw(i32::try_from(value.as_i64().unwrap()).unwrap()).unwrap()
}

/// Whether the process is there, also as one that has ended and nobody has asked for yet.
pub(crate) fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

const READY: Duration = Duration::from_secs(60);
