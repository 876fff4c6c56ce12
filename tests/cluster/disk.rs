//! A disk that fills up: the node does less and less, says why, never dies of it, and comes back by itself.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::support::agent::request;
use crate::support::cli::{Said, run};
use crate::support::cluster::{Alone, Cluster};
use crate::support::network::{Host, SmallDisk};
use crate::support::node::Node;
use crate::support::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_costs_leadership_then_changes_then_issuing_and_nothing_acknowledged() {
    if !SmallDisk::available("a disk that fills up") {
        return;
    }
    let cluster = Cluster::of_three_on(vec![small()], "30s").await;
    let (full, other) = (&cluster.nodes[0], &cluster.nodes[1]);
    let mut disk = Filler::on(full);
    eventually(BOUND, "the ballast", async || {
        if full.data().join("ballast").exists() { Ok(()) } else { Err("it is not there".to_owned()) }
    })
    .await;
    let mut acknowledged = Vec::new();
    let mut write = |node: &Node, id: &str| {
        create(node, id).done();
        acknowledged.push(id.to_owned());
    };
    write(full, "ample");

    disk.leave(DISK * 12 / 100);
    said(full, "still does everything").await;
    write(full, "low");
    let (_, metrics) = full.get("/metrics").await.unwrap();
    assert!(metrics.contains("\nsignet_disk_state 1\n") && metrics.contains("\nsignet_disk_free_bytes "), "{metrics}");

    disk.leave(DISK * 7 / 100);
    said(full, "does not lead").await;
    eventually(BOUND, "another node to lead", async || {
        let status = other.status().await?;
        if status.leader.is_some_and(|leader| leader != full.id) { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    write(full, "handed-over");

    disk.leave(DISK * 3 / 100);
    said(full, "refuses changes").await;
    let refusal = create(full, "refused").refused(1, "resource_exhausted");
    for part in ["free of 256 MiB", "free space there", "ballast", full.data().to_str().unwrap()] {
        assert!(refusal.contains(part), "{part:?} is not in {refusal}");
    }
    mint(full).await.unwrap();
    write(other, "elsewhere");

    disk.leave(DISK / 200);
    eventually(BOUND, "the full node to be not ready", async || match full.get("/readyz").await? {
        (503, body) if body.contains("resource_exhausted") && body.contains("issues nothing") => Ok(()),
        (status, body) => Err(format!("{status} {body}")),
    })
    .await;
    assert!(mint(full).await.unwrap_err().contains("issues nothing"));
    write(other, "while-it-takes-nothing");

    disk.free();
    said(full, "").await;
    eventually(BOUND, "the node to take changes again", async || match create(full, "after") {
        Said { code: Some(0), .. } => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    acknowledged.push("after".to_owned());
    mint(full).await.unwrap();
    for node in &cluster.nodes {
        let list = run(Some(&node.socket()), &["entry", "list", "-o", "json"]).json();
        for id in &acknowledged {
            assert!(list.to_string().contains(&format!("\"{id}\"")), "node {} lost {id}: {list}", node.id);
        }
        assert!(!list.to_string().contains("\"refused\""), "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_alone_refuses_changes_instead_of_dying_and_the_ballast_comes_back() {
    if !SmallDisk::available("a disk that fills up, of one node") {
        return;
    }
    let cluster = Cluster::of_one_on(vec![small()], Some(Alone::turn().await), "example.org", "30s").await;
    let node = &cluster.nodes[0];
    let mut disk = Filler::on(node);
    create(node, "before").done();
    disk.leave(DISK * 3 / 100);
    said(node, "refuses changes").await;
    create(node, "refused").refused(1, "resource_exhausted");
    run(Some(&node.socket()), &["entry", "show", "before"]).done();
    mint(node).await.unwrap();

    // What the operator does in need: the ballast gives room at once.
    let ballast = node.data().join("ballast");
    let before = free(&node.data());
    std::fs::remove_file(&ballast).unwrap();
    assert!(free(&node.data()) > before + DISK / 200, "the ballast was not really allocated");
    disk.free();
    eventually(BOUND, "the ballast to come back", async || {
        if ballast.exists() { Ok(()) } else { Err(node.get("/readyz").await?.1) }
    })
    .await;
    create(node, "after").done();
    run(Some(&node.socket()), &["entry", "show", "refused"]).refused(1, "not_found");
}

fn small() -> Host {
    Host { disk_bytes: Some(DISK), ..Host::default() }
}

/// Waits until the node's readiness says this of its disk; nothing, when there is nothing to be said.
async fn said(node: &Node, what: &str) {
    eventually(BOUND, &format!("the node to say {what:?} of its disk"), async || {
        let (status, body) = node.get("/readyz").await?;
        let fits = if what.is_empty() { !body.contains("notes") } else { body.contains(what) };
        if status == 200 && fits { Ok(()) } else { Err(format!("{status} {body}")) }
    })
    .await;
}

fn create(node: &Node, id: &str) -> Said {
    let spiffe_id = format!("spiffe://example.org/{id}");
    let parent = "spiffe://example.org/host";
    let spec = ["--entry-id", id, "--spiffe-id", &spiffe_id, "--parent-id", parent, "--selector", "unix:uid:7"];
    run(Some(&node.socket()), &[&["entry", "create"][..], &spec].concat())
}

async fn mint(node: &Node) -> Result<(), String> {
    let (_, csr) = request(&["spiffe://example.org/x"]);
    node.admin().await.mint_x509_svid(csr, 0).await.map(drop).map_err(|error| error.message)
}

fn free(folder: &Path) -> u64 {
    let stat = statvfs(folder).unwrap();
    stat.f_bavail * stat.f_frsize
}

/// What fills the disk: not the node's own.
struct Filler {
    folder: PathBuf,
    files: Vec<PathBuf>,
}

impl Filler {
    fn on(node: &Node) -> Self {
        Self { folder: node.data(), files: Vec::new() }
    }

    /// Fills the disk until so many bytes are free.
    fn leave(&mut self, bytes: u64) {
        let path = self.folder.join(format!("filler-{}", self.files.len()));
        let file = File::create(&path).unwrap();
        let size = free(&self.folder).checked_sub(bytes).expect("it is fuller than that already");
        fallocate(&file, FallocateFlags::empty(), 0, size).unwrap();
        self.files.push(path);
    }

    fn free(&mut self) {
        self.files.drain(..).for_each(|path| std::fs::remove_file(path).unwrap());
    }
}

const DISK: u64 = 256 << 20;
const BOUND: Duration = Duration::from_secs(30);
