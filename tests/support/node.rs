//! One real server process.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use signet_api::client::AdminClient;
use signet_api::service::ClusterStatus;

use super::cli::signet;
use super::network::{Host, SmallDisk, get_within};
use super::ports::free_port;
use super::wait::eventually;

/// A server with its own folder. Killed when dropped, whatever state it is in.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) folder: PathBuf,
    /// Its id in the cluster; 0 before it belongs to one.
    pub(crate) id: u64,
    pub(crate) grpc: String,
    pub(crate) https: String,
    pub(crate) admin_http: String,
    pub(crate) host: Host,
    /// What the next process finds in its environment besides that of the test.
    pub(crate) environment: Vec<(String, String)>,
    child: Option<Child>,
    /// Unmounted after the process has ended.
    _disk: Option<SmallDisk>,
}

/// What the nodes of one cluster have in common.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) trust_domain: String,
    pub(crate) issuance_lease: String,
    /// More lines of the section `[trust_domain]`, and sections below it.
    pub(crate) more: String,
    pub(crate) keys: Keys,
}

/// The key backend that every node gets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    /// Its URI.
    pub(crate) backend: String,
    /// More lines of the section `[keys]`.
    pub(crate) more: String,
    /// What a program needs in its environment to reach it.
    pub(crate) environment: Vec<(String, String)>,
}

impl Keys {
    /// A key-encryption key in this file.
    pub(crate) fn file(path: &Path) -> Self {
        Self { backend: format!("file:{}", path.display()), ..Self::default() }
    }
}

impl Node {
    /// Writes the configuration of a new node on loopback; nothing runs yet.
    pub(crate) fn new(folder: PathBuf, settings: &Settings) -> Self {
        Self::on(Host::default(), folder, settings)
    }

    /// Writes the configuration of a new node on this host; nothing runs yet.
    pub(crate) fn on(host: Host, folder: PathBuf, settings: &Settings) -> Self {
        std::fs::create_dir(&folder).unwrap();
        let address = || format!("{}:{}", host.address, free_port());
        let (peer, grpc, https) = (address(), address(), address());
        let admin_http = format!("127.0.0.1:{}", free_port());
        let disk = host.disk_bytes.map(|bytes| SmallDisk::mount(&folder.join(DATA), bytes));
        let https_url = format!("https://{https}");
        let node = Self {
            folder,
            id: 0,
            grpc,
            https: https_url,
            admin_http,
            host,
            environment: settings.keys.environment.clone(),
            child: None,
            _disk: disk,
        };
        let config = format!(
            "data_dir = {:?}\n[peer]\nlisten = {peer:?}\n[grpc]\nlisten = {:?}\n[https]\nlisten = {https:?}\n\
             names = [\"{}\", \"localhost\"]\n[admin]\nsocket = {:?}\nhttp = {:?}\n[keys]\nbackend = {:?}\n{}\n\
             [trust_domain]\nname = {:?}\ntoken_issuer = {TOKEN_ISSUER:?}\nissuance_lease = {:?}\n{}\n{}",
            node.data(),
            node.grpc,
            node.host.address,
            node.socket(),
            node.admin_http,
            settings.keys.backend,
            settings.keys.more,
            settings.trust_domain,
            settings.issuance_lease,
            settings.more,
            // What each of many nodes sets aside would be missed on a disk that they share.
            if node.host.disk_bytes.is_none() { "[disk]\nballast = \"0B\"\n" } else { "" },
        );
        std::fs::write(node.config(), config).unwrap();
        node
    }

    /// What the next process finds in its section `[keys]`.
    pub(crate) fn set_keys(&self, lines: &str) {
        let config = std::fs::read_to_string(self.config()).unwrap();
        let (before, rest) = config.split_once("[keys]\n").unwrap();
        let (_, after) = rest.split_once("[trust_domain]\n").unwrap();
        std::fs::write(self.config(), format!("{before}[keys]\n{lines}\n[trust_domain]\n{after}")).unwrap();
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("signet.toml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join(DATA)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("admin.sock")
    }

    /// What the server has said, over all its lives.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Starts the process.
    pub(crate) fn start(&mut self, join_token: Option<&Path>) {
        assert!(self.child.is_none(), "{} runs already", self.folder.display());
        let log: File = OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = self.host.command(signet());
        command.arg("server").arg("--config").arg(self.config());
        if let Some(token) = join_token {
            command.arg("--join-token-file").arg(token);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Waits until the admin socket answers.
    pub(crate) async fn answers(&self) -> AdminClient {
        let what = format!("the admin socket of {}", self.folder.display());
        eventually(START, &what, async || AdminClient::connect(&self.socket()).await.map_err(|e| e.to_string())).await
    }

    /// Waits until the node says that it is ready.
    pub(crate) async fn ready(&self) {
        eventually(START, &format!("{} to be ready", self.folder.display()), async || {
            match self.get("/readyz").await? {
                (200, _) => Ok(()),
                (status, body) => Err(format!("{status} {body}")),
            }
        })
        .await;
    }

    /// `GET` on the admin HTTP door.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String), String> {
        if let Some(namespace) = &self.host.namespace {
            return get_within(namespace, &self.admin_http, path).await;
        }
        let url = format!("http://{}{path}", self.admin_http);
        let answer = reqwest::get(url).await.map_err(|e| e.to_string())?;
        Ok((answer.status().as_u16(), answer.text().await.map_err(|e| e.to_string())?))
    }

    /// A connection to the admin socket. The node must be up.
    pub(crate) async fn admin(&self) -> AdminClient {
        AdminClient::connect(&self.socket()).await.unwrap()
    }

    /// The cluster as this node sees it.
    pub(crate) async fn status(&self) -> Result<ClusterStatus, String> {
        let client = AdminClient::connect(&self.socket()).await.map_err(|e| e.to_string())?;
        client.cluster_status().await.map_err(|e| e.to_string())
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// `kill -9`, and waits for the end.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Whether the process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        let ended = self.child.as_mut().unwrap().try_wait().unwrap().is_some();
        if ended {
            self.child = None;
        }
        ended
    }

    /// Waits until the process has ended by itself.
    pub(crate) async fn ended(&mut self, bound: Duration) -> ExitStatus {
        let child = self.child.as_mut().unwrap();
        let status = eventually(bound, "the server to end", async || {
            child.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
        });
        let status = status.await;
        self.child = None;
        status
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have died by itself; then there is nothing to end.
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = self.log();
        if std::thread::panicking() {
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_TAIL)..];
            eprintln!("--- the end of {} ---\n{}", self.log_path().display(), tail.join("\n"));
        } else {
            assert!(!log.contains("panicked at"), "a server panicked: {log}");
        }
    }
}

/// `iss` of transaction tokens in these clusters.
pub(crate) const TOKEN_ISSUER: &str = "https://tts.example.org";
/// A debug build on a busy machine starts in a second or two.
const START: Duration = Duration::from_secs(30);
const LOG_TAIL: usize = 60;
const DATA: &str = "data";
