//! SVIDs as other programs see them.

use std::path::Path;

use crate::support::agent::{Agent, exchange_form, txn_token};
use crate::support::cli::{arg, file, foreign, run};
use crate::support::cluster::{Alone, Cluster};
use crate::support::node::TOKEN_ISSUER;
use crate::support::peers::Peers;
use crate::support::users::{AUDIENCE, Users, policy};
use crate::verifiers::{Expected, refused, verified};

#[tokio::test(flavor = "multi_thread")]
async fn openssl_and_foreign_jose_libraries_accept_what_every_node_issues() {
    let Some(peers) = Peers::find("SVIDs, verified by OpenSSL, jose and joserfc") else { return };
    let cluster = Cluster::of_three().await;
    let mut bundles = Vec::new();
    for node in &cluster.nodes {
        let folder = cluster.folder().join(format!("svid-{}", node.id));
        run(
            Some(&node.socket()),
            &["x509", "mint", "--spiffe-id", ID, "--dns-name", "one.example.org", "--out-dir", arg(&folder)],
        )
        .done();
        openssl_accepts(&folder);
        bundles.push(std::fs::read_to_string(folder.join("bundle.pem")).unwrap());

        let token = run(Some(&node.socket()), &["jwt", "mint", "--spiffe-id", ID, "--audience", "someone"]).done();
        let expected = Expected {
            keys: format!("{}/bundle", node.https),
            key_use: "jwt-svid",
            issuer: None,
            audience: "someone",
            typ: "JWT",
        };
        let bundle = folder.join("bundle.pem");
        let read = verified(&peers, cluster.folder(), &bundle, token.trim(), &expected);
        assert_eq!(read["claims"]["sub"], ID, "{read}");
        // The keys of transaction tokens are others: one must never pass for the other.
        let keys = format!("{}/keys", node.https);
        refused(
            &peers,
            cluster.folder(),
            &bundle,
            token.trim(),
            &Expected { keys, key_use: "sig", ..expected.clone() },
        );
    }
    bundles.dedup();
    assert_eq!(bundles.len(), 1, "the nodes hand out different bundles");
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_and_foreign_jose_libraries_accept_every_algorithm_that_can_be_chosen() {
    let Some(peers) = Peers::find("chosen algorithms, verified by OpenSSL, jose and joserfc") else { return };
    for [root, issuing, jwt_svid, transaction_token] in
        [["ecdsa-p384", "rsa-2048", "RS256", "EdDSA"], ["rsa-4096", "ecdsa-p384", "ES384", "RS256"]]
    {
        let chosen = format!(
            "[trust_domain.algorithms]\nx509_root = {root:?}\nx509_issuing = {issuing:?}\njwt_svid = {jwt_svid:?}\n\
             transaction_token = {transaction_token:?}\n"
        );
        let settings = ("example.org", "30s", chosen.as_str());
        let cluster = Cluster::of_one_saying(Vec::new(), Some(Alone::turn().await), None, settings).await;
        let node = &cluster.nodes[0];
        let folder = cluster.folder().join("svid");
        let mint = ["x509", "mint", "--spiffe-id", ID, "--dns-name", "one.example.org", "--out-dir", arg(&folder)];
        run(Some(&node.socket()), &mint).done();
        openssl_accepts(&folder);
        let bundle = folder.join("bundle.pem");
        let read = |token: &str, path: &str, key_use, audience, typ| {
            let keys = format!("{}{path}", node.https);
            let expected = Expected { keys, key_use, issuer: None, audience, typ };
            verified(&peers, cluster.folder(), &bundle, token, &expected)["header"]["alg"].clone()
        };
        let token = run(Some(&node.socket()), &["jwt", "mint", "--spiffe-id", ID, "--audience", "someone"]).done();
        assert_eq!(read(token.trim(), "/bundle", "jwt-svid", "someone", "JWT"), jwt_svid);

        let users = Users::start().await;
        node.admin().await.apply_policy(policy(&users.issuer, &users.jwks_uri(), ID), None).await.unwrap();
        let subject = users.token("alice", AUDIENCE, "orders.read");
        // The caller is proven by a JWT-SVID of this trust domain.
        let assertion = node.admin().await.mint_jwt_svid(&ID.parse().unwrap(), &[TOKEN_ISSUER.to_owned()], 0).await;
        let assertion = assertion.unwrap().token;
        let mut form = exchange_form(&subject, "example.org", "orders.read");
        form.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"));
        form.push(("client_assertion", &assertion));
        let caller = Agent::minted(node, ID).await;
        let token = txn_token(&caller.anonymous_https(node).exchange(&form).await.unwrap()).unwrap();
        assert_eq!(read(&token, "/keys", "sig", "example.org", "txntoken+jwt"), transaction_token);
    }
}

fn openssl_accepts(folder: &Path) {
    let [svid, bundle] = ["svid.pem", "bundle.pem"].map(|name| folder.join(name));
    let openssl = |arguments: &[&str]| foreign("openssl".as_ref(), arguments);
    let said =
        openssl(&["verify", "-x509_strict", "-CAfile", arg(&bundle), "-untrusted", arg(&svid), arg(&svid)]).done();
    assert!(said.contains("OK"), "{said}");
    // For every use that mTLS has.
    for purpose in ["sslserver", "sslclient"] {
        openssl(&[
            "verify",
            "-x509_strict",
            "-purpose",
            purpose,
            "-CAfile",
            arg(&bundle),
            "-untrusted",
            arg(&svid),
            arg(&svid),
        ])
        .done();
    }
    let text = openssl(&["x509", "-in", arg(&svid), "-noout", "-text"]).done();
    assert!(text.contains(&format!("URI:{ID}")) && text.contains("DNS:one.example.org"), "{text}");
    // The key is that of the certificate.
    let key = folder.join("key.pem");
    let of_key = openssl(&["pkey", "-in", arg(&key), "-pubout"]).done();
    assert_eq!(openssl(&["x509", "-in", arg(&svid), "-noout", "-pubkey"]).done(), of_key);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    // Without our anchors it is nobody's.
    let empty = file(folder, "none.pem", "");
    assert_ne!(
        openssl(&["verify", "-no-CAfile", "-no-CApath", "-no-CAstore", "-untrusted", arg(&svid), arg(&svid)]).code,
        Some(0)
    );
    std::fs::remove_file(empty).unwrap();
}

const ID: &str = "spiffe://example.org/workload/one";
