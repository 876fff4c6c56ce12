//! A whole cluster of real processes, joined as an operator would.

use std::path::Path;
use std::time::Duration;

use signet_api::service::ClusterStatus;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use super::cli::{arg, run};
use super::network::Host;
use super::node::{Keys, Node, Settings};
use super::wait::eventually;

/// Servers that know each other.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) settings: Settings,
    /// Where nodes run, in the order of their making; further ones run on loopback.
    hosts: Vec<Host>,
    folder: TempDir,
    /// Released last, after the processes have ended. `None`: another cluster of the same test holds it.
    _alone: Option<Alone>,
}

/// Permission to run a cluster: one at a time, because three servers and their clients fill a small machine, and what
/// is measured here is time.
#[derive(Debug)]
pub(crate) struct Alone {
    _guard: MutexGuard<'static, ()>,
}

impl Alone {
    /// Waits for its turn, and gets ready what every test needs.
    pub(crate) async fn turn() -> Self {
        static TURN: Mutex<()> = Mutex::const_new(());
        // Fails when another test was first, and then it is there.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self { _guard: TURN.lock().await }
    }
}

impl Cluster {
    /// Three nodes that form a cluster and are ready.
    pub(crate) async fn of_three() -> Self {
        Self::of_three_with_lease("30s").await
    }

    /// Three nodes whose issuance lease lasts this long.
    pub(crate) async fn of_three_with_lease(lease: &str) -> Self {
        Self::of_three_on(Vec::new(), lease).await
    }

    /// Three nodes on these hosts.
    pub(crate) async fn of_three_on(hosts: Vec<Host>, lease: &str) -> Self {
        let mut cluster = Self::of_one_on(hosts, Some(Alone::turn().await), "example.org", lease).await;
        for _ in 0..2 {
            cluster.add_node().await;
        }
        cluster.all_ready().await;
        cluster
    }

    /// One node that is a cluster by itself.
    pub(crate) async fn of_one(alone: Option<Alone>, trust_domain: &str, lease: &str) -> Self {
        Self::of_one_on(Vec::new(), alone, trust_domain, lease).await
    }

    /// Three nodes whose `[trust_domain]` says more.
    pub(crate) async fn of_three_saying(lease: &str, more: &str) -> Self {
        Self::of_three_with(None, lease, more).await
    }

    /// Three nodes with this key backend, or with a key file, whose `[trust_domain]` says more.
    pub(crate) async fn of_three_with(keys: Option<Keys>, lease: &str, more: &str) -> Self {
        let settings = ("example.org", lease, more);
        let mut cluster = Self::of_one_saying(Vec::new(), Some(Alone::turn().await), keys, settings).await;
        for _ in 0..2 {
            cluster.add_node().await;
        }
        cluster.all_ready().await;
        cluster
    }

    /// One node on the first of these hosts, or on loopback.
    pub(crate) async fn of_one_on(hosts: Vec<Host>, alone: Option<Alone>, trust_domain: &str, lease: &str) -> Self {
        Self::of_one_saying(hosts, alone, None, (trust_domain, lease, "")).await
    }

    /// One node whose `[trust_domain]` has this name, this lease, and more.
    pub(crate) async fn of_one_saying(
        hosts: Vec<Host>,
        alone: Option<Alone>,
        keys: Option<Keys>,
        (trust_domain, lease, more): (&str, &str, &str),
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("signet-").tempdir().unwrap();
        let keys = keys.unwrap_or_else(|| {
            let key_file = folder.path().join(KEY_FILE);
            run(None, &["key", "generate", arg(&key_file)]).done();
            Keys::file(&key_file)
        });
        let settings = Settings {
            trust_domain: trust_domain.to_owned(),
            issuance_lease: lease.to_owned(),
            more: more.to_owned(),
            keys,
        };
        let host = hosts.first().cloned().unwrap_or_default();
        let mut node = Node::on(host, folder.path().join("node-1"), &settings);
        node.start(None);
        node.answers().await;
        run(Some(&node.socket()), &["cluster", "init"]).done();
        node.ready().await;
        node.id = node.status().await.unwrap().answered_by;
        Self { nodes: vec![node], settings, hosts, folder, _alone: alone }
    }

    /// Adds a node by a join token of the first.
    pub(crate) async fn add_node(&mut self) {
        // One that was removed may have left its folder.
        let mut names = (self.nodes.len() + 1..).map(|number| format!("node-{number}"));
        let name = names.find(|name| !self.folder.path().join(name).exists()).unwrap();
        let mut node = self.new_node(&name);
        let token = self.join_token("1h");
        node.start(Some(&token));
        node.answers().await;
        let nodes = self.nodes.len() + 1;
        let what = format!("node {nodes} to become a member");
        node.id = eventually(SETTLE, &what, async || {
            let status = node.status().await?;
            let joined = status.nodes.iter().filter(|n| matches!(n.role, "leader" | "follower")).count() == nodes;
            if joined && !status.stale { Ok(status.answered_by) } else { Err(format!("{status:?}")) }
        })
        .await;
        self.nodes.push(node);
    }

    /// A node that does not run yet, on the next host.
    pub(crate) fn new_node(&self, name: &str) -> Node {
        let host = self.hosts.get(self.nodes.len()).cloned().unwrap_or_default();
        Node::on(host, self.folder.path().join(name), &self.settings)
    }

    /// A new join token, in a file of its own.
    pub(crate) fn join_token(&self, ttl: &str) -> std::path::PathBuf {
        let token =
            tempfile::Builder::new().prefix("token-").tempdir_in(self.folder.path()).unwrap().keep().join("token");
        run(Some(&self.nodes[0].socket()), &["cluster", "join-token", arg(&token), "--ttl", ttl]).done();
        token
    }

    /// Where a test may put its files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until every node is ready.
    pub(crate) async fn all_ready(&self) {
        for node in &self.nodes {
            node.ready().await;
        }
    }

    /// The position in `nodes` of the leader, as one of `among` sees it with a quorum.
    pub(crate) async fn leader(&self, among: &[usize]) -> usize {
        let status = self.settled(among).await;
        self.nodes.iter().position(|node| Some(node.id) == status.leader).unwrap()
    }

    /// The cluster's status as one of `among` sees it, once a quorum confirms it.
    pub(crate) async fn settled(&self, among: &[usize]) -> ClusterStatus {
        eventually(SETTLE, "a leader with a quorum", async || {
            let mut last = String::new();
            for position in among {
                match self.nodes[*position].status().await {
                    Ok(status) if !status.stale && status.leader.is_some() => return Ok(status),
                    Ok(status) => last = format!("{status:?}"),
                    Err(failure) => last = failure,
                }
            }
            Err(last)
        })
        .await
    }

    /// Waits until the node at `position` follows or leads again, and has applied at least `index`.
    pub(crate) async fn caught_up(&self, position: usize, index: u64) {
        let id = self.nodes[position].id;
        eventually(SETTLE, &format!("node {id} to catch up to {index}"), async || {
            let status = self.nodes[position].status().await?;
            let own = status.nodes.iter().find(|node| node.id == id);
            match own {
                Some(own) if !status.stale && own.applied.is_some_and(|applied| applied >= index) => Ok(()),
                _ => Err(format!("{status:?}")),
            }
        })
        .await;
    }
}

/// The key-encryption key of a cluster that was given no key backend, in the cluster's folder.
pub(crate) const KEY_FILE: &str = "kek";
/// Far more than an election or a start takes, even in a debug build on a busy machine.
const SETTLE: Duration = Duration::from_secs(30);
