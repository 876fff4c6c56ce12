//! All machines are lost, the KMS is not: a backup makes the same authority of new ones.

use crate::rotation::{Watch, active, authority, rotated, show};
use crate::support::cli::{arg, run};
use crate::support::cluster::Cluster;
use crate::support::kms::{AwsKms, KeyFiles, Kms};
use crate::support::node::Keys;
use crate::support::say;
use crate::support::softhsm::SoftHsm;

#[tokio::test(flavor = "multi_thread")]
async fn new_machines_with_the_key_file_are_the_same_authority() {
    is_restored_on_new_machines(&KeyFiles::new("kept")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_machines_with_access_to_the_token_are_the_same_authority() {
    let Some(kms) = SoftHsm::new("new machines with PKCS#11") else { return };
    is_restored_on_new_machines(&kms).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_machines_with_access_to_aws_kms_are_the_same_authority() {
    let Some(kms) = AwsKms::new("kept") else { return };
    is_restored_on_new_machines(&kms).await;
}

/// Three nodes issue, are backed up, and go with all that they had. Three others, which have the backup and the KMS, sign
/// with the same keys: whoever verifies by the one cluster accepts what the other has issued, both ways. The root, too, is
/// the same, and signs.
async fn is_restored_on_new_machines(kms: &impl Kms) {
    let keys = Keys { backend: kms.uri(), environment: kms.environment(), ..Keys::default() };
    let mut cluster = Cluster::of_three_with(Some(keys), "2s", "refresh_hint = \"1s\"").await;
    let mut watch = Watch::start(&cluster).await;
    watch.ttl_secs = 600;
    watch.round(&cluster).await;
    let before = active(&show(&cluster).unwrap());
    assert_eq!(before.len(), 4, "{before:?}");
    let backup = cluster.folder().join("backup");
    run(Some(&cluster.nodes[0].socket()), &["snapshot", "save", arg(&backup)]).done();
    for mut node in cluster.nodes.drain(..) {
        node.kill();
        std::fs::remove_dir_all(&node.folder).unwrap();
    }

    let mut first = cluster.new_node("new");
    run(None, &["snapshot", "restore", arg(&backup), "--data-dir", arg(&first.data())]).done();
    first.start(None);
    first.ready().await;
    first.id = first.status().await.unwrap().answered_by;
    cluster.nodes.push(first);
    for _ in 0..2 {
        cluster.add_node().await;
    }
    cluster.all_ready().await;
    assert_eq!(active(&show(&cluster).unwrap()), before, "the same keys sign");
    let old = watch.taken_over(&cluster).await;
    assert!(old >= 6, "X.509-SVIDs and JWT-SVIDs of three nodes live on: {old}");

    // The root signs a new issuing CA, which the old cluster's verifiers would accept as they would accept the root.
    authority(&cluster.nodes[2], &["rotate", "--kind", "x509-issuing", "--reason", "a test"]);
    let after = rotated(&cluster, &mut watch, &before, &["x509-issuing"]).await;
    assert_eq!(after["x509-root"], before["x509-root"]);
    assert_eq!(watch.unanswered, Vec::<String>::new());
    say(&format!(
        "restored on three new machines with {}: the same four authorities, {old} credentials of the old machines valid, \
         {} checks, none refused",
        kms.uri(),
        watch.checks
    ));
}
