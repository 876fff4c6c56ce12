//! What must never lie in a node's data or be said in its log.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::support::agent::{Agent, exchange_form, txn_token};
use crate::support::cluster::{Cluster, KEY_FILE};
use crate::support::users::{AUDIENCE, Users, policy};

#[tokio::test(flavor = "multi_thread")]
async fn no_private_key_and_no_token_lies_in_a_nodes_data_or_log() {
    let mut cluster = Cluster::of_three().await;
    let users = Users::start().await;
    let node = &cluster.nodes[1];
    let admin = node.admin().await;
    admin.apply_policy(policy(&users.issuer, &users.jwks_uri(), CALLER), None).await.unwrap();
    let gateway = Agent::minted(node, CALLER).await;
    let access_token = users.token("alice", AUDIENCE, "orders.read");
    let form = exchange_form(&access_token, "example.org", "orders.read");
    let transaction_token = txn_token(&gateway.https(node).exchange(&form).await.unwrap()).unwrap();
    let jwt_svid = admin.mint_jwt_svid(&CALLER.parse().unwrap(), &["someone".to_owned()], 0).await.unwrap().token;
    let join_token = std::fs::read_to_string(cluster.join_token("1h")).unwrap();
    let key = std::fs::read_to_string(cluster.folder().join(KEY_FILE)).unwrap();
    // Ends in good order, so that everything that is buffered is written.
    for node in &mut cluster.nodes {
        node.signal(rustix::process::Signal::TERM);
    }
    for node in &mut cluster.nodes {
        node.ended(std::time::Duration::from_secs(20)).await;
    }

    let signature = |token: &str| token.rsplit('.').next().unwrap().as_bytes().to_vec();
    let secrets = [
        ("the key-encryption key", BASE64_STANDARD.decode(key.trim()).unwrap()),
        ("the key-encryption key, as text", key.trim().as_bytes().to_vec()),
        ("a private key in the clear", P256_PKCS8.to_vec()),
        ("the user's access token", signature(&access_token)),
        ("a transaction token", signature(&transaction_token)),
        ("a JWT-SVID", signature(&jwt_svid)),
        ("a join token", join_token.trim().as_bytes()[join_token.trim().len() - 24..].to_vec()),
    ];
    let mut searched = 0;
    for node in &cluster.nodes {
        let mut files = Vec::new();
        collect(&node.folder, &mut files);
        for file in files {
            let bytes = std::fs::read(&file).unwrap();
            searched += bytes.len();
            let own_key = file.ends_with("data/peer.key");
            for (name, secret) in &secrets {
                let found = bytes.windows(secret.len()).any(|window| window == secret);
                assert!(!found || own_key, "{name} lies in {}", file.display());
            }
            if own_key {
                assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            }
        }
        assert_eq!(std::fs::metadata(node.data()).unwrap().permissions().mode() & 0o777, 0o700);
    }
    assert!(searched > 10_000, "only {searched} bytes: this test looks in the wrong place");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.is_file() {
            files.push(path);
        }
    }
}

const CALLER: &str = "spiffe://example.org/gateway";
/// How the private key of P-256 begins in PKCS#8: the algorithm, and `ECPrivateKey` version 1 with 32 bytes to follow.
const P256_PKCS8: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
    0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20,
];
