//! Scheduled backups into versitygw, an S3 server that checks signatures, and a new cluster from what lies there.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::support::cli::{arg, run};
use crate::support::cluster::{Alone, Cluster};
use crate::support::node::Node;
use crate::support::ports::free_port;
use crate::support::versitygw::{Gateway, KEY, SECRET};
use crate::support::wait::eventually;

fn credentials(path: &Path, secret: &str) {
    std::fs::write(path, format!("aws_access_key_id = {KEY}\naws_secret_access_key = {secret}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_backs_itself_up_into_an_s3_store_and_comes_back_from_there() {
    let mut cluster = Cluster::of_one(Some(Alone::turn().await), "example.org", "30s").await;
    let folder = cluster.folder().to_owned();
    let Some(gateway) = Gateway::start(&folder, free_port()) else { return };
    let credentials_file = folder.join("credentials");
    credentials(&credentials_file, "not-the-secret");
    let node = &mut cluster.nodes[0];
    let (id, parent) = ("spiffe://example.org/shop", "spiffe://example.org/host");
    let create =
        ["entry", "create", "--entry-id", "shop", "--spiffe-id", id, "--parent-id", parent, "--selector", "unix:uid:7"];
    run(Some(&node.socket()), &create).done();
    node.kill();
    let mut config = std::fs::read_to_string(node.config()).unwrap();
    config.push_str(&format!(
        "[backups]\nschedule = \"5s\"\nkeep = 2\ns3 = {{ endpoint = \"http://{}\", bucket = \"backups\", prefix = \"signet/\", \
         credentials_file = {credentials_file:?} }}\n",
        gateway.address
    ));
    std::fs::write(node.config(), config).unwrap();
    node.start(None);
    node.ready().await;

    // The store refuses a wrong signature; the operator reads why, and no secret.
    let node = &cluster.nodes[0];
    let status = || run(Some(&node.socket()), &["snapshot", "status", "-o", "json"]).json();
    eventually(Duration::from_secs(30), "the refusal to be told", async || {
        let status = status();
        let detail = status["last_failure"]["detail"].as_str().unwrap_or_default();
        if detail.contains("SignatureDoesNotMatch") { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    assert!(!node.log().contains("not-the-secret") && !node.log().contains("X-Amz-Signature"), "{}", node.log());

    // The right ones are read without a restart.
    credentials(&credentials_file, SECRET);
    let name = eventually(Duration::from_secs(60), "a backup in the store", async || {
        let status = status();
        status["last_success"]["name"].as_str().map(str::to_owned).ok_or_else(|| status.to_string())
    });
    let name = name.await;
    let object = gateway.bucket.join("signet").join(name);
    let restored = folder.join("object");
    std::fs::copy(object, &restored).unwrap();
    run(None, &["snapshot", "verify", arg(&restored)]).done();
    cluster.nodes[0].kill();
    let mut first = Node::new(folder.join("restored"), &cluster.settings);
    run(None, &["snapshot", "restore", arg(&restored), "--data-dir", arg(&first.data())]).done();
    first.start(None);
    first.ready().await;
    run(Some(&first.socket()), &["entry", "show", "shop"]).done();
}
