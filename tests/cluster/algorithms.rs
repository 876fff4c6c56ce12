//! A cluster whose authorities have algorithms of their own, each kind another one.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::rotation::{Watch, active, authority, rotated, show};
use crate::support::agent::header;
use crate::support::cli::{arg, file, foreign, run};
use crate::support::cluster::Cluster;

/// Issues, exchanges and rotates as any other, and every verifier accepts what it signs.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_with_chosen_algorithms_serves_and_rotates() {
    let cluster = Cluster::of_three_saying("2s", CHOSEN).await;
    let mut watch = Watch::start(&cluster).await;
    let first = active(&show(&cluster).unwrap());
    assert_eq!(algorithms(&show(&cluster).unwrap()), expected());
    watch.round(&cluster).await;

    let leader = cluster.leader(&[0, 1, 2]).await;
    let follower = &cluster.nodes[(leader + 1) % 3];
    let planned = authority(follower, &["prepare", "--kind", "jwt-svid", "--plan"]);
    assert!(
        planned["authorities"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["id"] == "to-be-made" && one["algorithm"] == "RS256"),
        "{planned:#}"
    );
    authority(follower, &["rotate", "--reason", "a test"]);
    let second = rotated(&cluster, &mut watch, &first, &["x509-issuing", "jwt-svid", "transaction-token"]).await;
    assert_eq!(algorithms(&show(&cluster).unwrap()), expected());
    assert_eq!(watch.unanswered, Vec::<String>::new());

    // As OpenSSL sees them.
    let folder = cluster.folder().join("svid");
    run(Some(&follower.socket()), &["x509", "mint", "--spiffe-id", ID, "--out-dir", arg(&folder)]).done();
    let [svid, bundle] = ["svid.pem", "bundle.pem"].map(|name| folder.join(name));
    let openssl = |arguments: &[&str]| foreign("openssl".as_ref(), arguments).done();
    openssl(&["verify", "-x509_strict", "-CAfile", arg(&bundle), "-untrusted", arg(&svid), arg(&svid)]);
    let leaf = openssl(&["x509", "-in", arg(&svid), "-noout", "-text"]);
    assert!(leaf.contains("ecdsa-with-SHA384"), "{leaf}");
    let chain = std::fs::read_to_string(&svid).unwrap();
    let (_, issuing) = chain.split_once("-----END CERTIFICATE-----\n").unwrap();
    let issuing = file(&folder, "issuing.pem", issuing);
    let issuing = openssl(&["x509", "-in", arg(&issuing), "-noout", "-text"]);
    assert!(issuing.contains("sha256WithRSAEncryption") && issuing.contains("secp384r1"), "{issuing}");

    // As our own tools see them.
    let token = run(Some(&follower.socket()), &["jwt", "mint", "--spiffe-id", ID, "--audience", "someone"]).done();
    let token = token.trim();
    assert_eq!(
        (&header(token)["alg"], &header(token)["kid"]),
        (&Value::from("RS256"), &Value::from(&*second["jwt-svid"]))
    );
    let token = file(cluster.folder(), "token", token);
    let inspected = run(None, &["token", "inspect", arg(&token), "--socket", arg(&follower.socket())]).done();
    assert!(inspected.contains("RS256") && !inspected.contains("PROBLEM"), "{inspected}");
}

fn expected() -> BTreeMap<String, String> {
    let expected = [
        ("x509-root", "rsa-4096"),
        ("x509-issuing", "ecdsa-p384"),
        ("jwt-svid", "RS256"),
        ("transaction-token", "EdDSA"),
    ];
    expected.map(|(kind, algorithm)| (kind.to_owned(), algorithm.to_owned())).into()
}

/// The algorithm of each kind's active key; every key of a kind has the same.
fn algorithms(shown: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut found = BTreeMap::new();
    for one in shown["authorities"].as_array().unwrap() {
        let (kind, algorithm) = (text(&one["kind"]), text(&one["algorithm"]));
        let known = found.entry(kind).or_insert_with(|| algorithm.clone());
        assert_eq!(*known, algorithm, "{one}");
    }
    found
}

const ID: &str = "spiffe://example.org/workload/one";
const CHOSEN: &str = "refresh_hint = \"1s\"\n[trust_domain.algorithms]\nx509_root = \"rsa-4096\"\n\
    x509_issuing = \"ecdsa-p384\"\njwt_svid = \"RS256\"\ntransaction_token = \"EdDSA\"\n";
