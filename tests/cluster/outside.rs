//! Roots that come from elsewhere: a company's CA, made with OpenSSL, signs a root of ours, and then another.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use rustix::process::Signal;
use serde_json::Value;
use signet_model::time::UnixTime;
use signet_model::x509::peer::TrustAnchors;

use crate::support::agent::Agent;
use crate::support::cli::{Said, arg, file, foreign, run};
use crate::support::clock::now_secs;
use crate::support::cluster::Cluster;
use crate::support::node::Node;
use crate::support::say;
use crate::support::secrets::{Secrets, scalar};
use crate::support::wait::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_company_s_ca_signs_the_root_and_later_another_one_does() {
    if !openssl_is_there() {
        return;
    }
    let cluster = Cluster::of_three_saying("4s", SCHEDULE).await;
    let socket = cluster.nodes[1].socket();
    let first = Company::new(&cluster.folder().join("first"), "First Corporation");

    // A request is made once, and told again wherever one asks.
    let before = anchors(&cluster.nodes[0]);
    let request = first.folder.join("request.pem");
    run(Some(&socket), &["authority", "csr", "--dry-run"]).done();
    run(Some(&socket), &["authority", "csr", "--out", arg(&request)]).done();
    let again = run(Some(&cluster.nodes[2].socket()), &["authority", "csr"]).done();
    assert_eq!(std::fs::read_to_string(&request).unwrap(), again);
    assert!(first.openssl(&["req", "-in", "request.pem", "-verify", "-noout", "-text"]).done().contains("CA:TRUE"));

    // What is wrong with a chain is said, and nothing changes.
    let import = |chain: &Path| run(Some(&socket), &["authority", "import", "--chain", arg(chain)]);
    let no_room = first.sign("request.pem", "no-room", "CA:TRUE,pathlen:0", 90);
    assert!(import(&no_room).refused(1, "invalid_argument").contains("path length is 0"));
    let no_ca = first.sign("request.pem", "no-ca", "CA:FALSE", 90);
    assert!(import(&no_ca).refused(1, "invalid_argument").contains("is not a CA"));
    let alone =
        file(&first.folder, "alone.pem", &std::fs::read_to_string(first.folder.join("no-room-own.pem")).unwrap());
    assert!(import(&alone).refused(1, "invalid_argument").contains("breaks off"));
    assert!(import(&first.folder.join("root.pem")).refused(1, "invalid_argument").contains("expected key"));
    assert_eq!(anchors(&cluster.nodes[0]), before);

    // Prepared and published; it signs when every verifier can know it.
    let chain = first.sign("request.pem", "signet", "critical,CA:TRUE", 90);
    run(Some(&socket), &["authority", "import", "--chain", arg(&chain), "--dry-run"]).done();
    assert_eq!(anchors(&cluster.nodes[0]), before, "a dry run did it");
    let imported = run(Some(&socket), &["authority", "import", "--chain", arg(&chain), "-o", "json"]).json();
    let id = imported["changed"]["id"].as_str().unwrap().to_owned();
    assert_eq!(imported["certificate_requests"], Value::Array(Vec::new()), "{imported}");
    run(Some(&socket), &["authority", "activate", "--kind", "x509-root", "--id", &id])
        .refused(1, "failed_precondition");
    run(Some(&socket), &["authority", "rotate", "--kind", "x509-root"]).done();
    signs(&cluster, &id).await;
    works_everywhere(&cluster, &first, 3).await;

    // The issuing CA rotates under it, and no verifier notices.
    let issuing = active(&cluster.nodes[0], "x509-issuing");
    run(Some(&socket), &["authority", "rotate", "--kind", "x509-issuing"]).done();
    eventually(SETTLE, "another issuing CA", async || {
        let now = active(&cluster.nodes[0], "x509-issuing");
        if now["id"] == issuing["id"] { Err(now.to_string()) } else { Ok(()) }
    })
    .await;
    works_everywhere(&cluster, &first, 3).await;

    // Nobody replaces it but a person: the leader has a request ready and waits.
    run(Some(&socket), &["authority", "rotate", "--kind", "x509-root"]).done();
    eventually(SETTLE, "the leader to wait for a chain", async || {
        let shown = show(&cluster.nodes[0]);
        let asked = shown["certificate_requests"].as_array().is_some_and(|all| all.len() == 1);
        let mut said = false;
        for node in &cluster.nodes {
            said |= node.get("/readyz").await?.1.contains("signet authority import");
        }
        if asked && said { Ok(()) } else { Err(shown.to_string()) }
    })
    .await;
    assert_eq!(active(&cluster.nodes[0], "x509-root")["id"], id.as_str());

    // Another company signs it, and takes over as soon as it is known.
    let second = Company::new(&cluster.folder().join("second"), "Second Corporation");
    run(Some(&socket), &["authority", "csr", "--out", arg(&second.folder.join("request.pem"))]).done();
    let chain = second.sign("request.pem", "signet", "critical,CA:TRUE", 180);
    let imported = run(Some(&socket), &["authority", "import", "--chain", arg(&chain), "-o", "json"]).json();
    let id = imported["changed"]["id"].as_str().unwrap().to_owned();
    signs(&cluster, &id).await;
    works_everywhere(&cluster, &second, 3).await;
    let outside = active(&cluster.nodes[2], "x509-root")["outside"].to_string();
    assert!(outside.contains("Second Corporation"), "{outside}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_was_made_elsewhere_is_taken_up_with_its_key() {
    if !openssl_is_there() {
        return;
    }
    let mut cluster = Cluster::of_three_saying("4s", SCHEDULE).await;
    let node = &cluster.nodes[0];
    let folder = cluster.folder().join("made");
    let company = Company::new(&folder, "Made Elsewhere");
    for (name, subject) in [("own", "URI:spiffe://example.org"), ("foreign", "URI:spiffe://other.example")] {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        company
            .openssl(&[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-keyout",
                &key,
                "-out",
                &certificate,
                "-subj",
                "/O=Made Elsewhere/CN=Root of a trust domain",
                "-days",
                "365",
                "-addext",
                "keyUsage=critical,keyCertSign,cRLSign",
                "-addext",
                &format!("subjectAltName={subject}"),
            ])
            .done();
    }
    let backend = cluster.settings.keys.backend.clone();
    let import = |certificate: &str, key: &str, more: &[&str]| {
        let (certificate, key) = (folder.join(certificate), folder.join(key));
        let mut arguments = vec!["authority", "import", "--chain", arg(&certificate), "--key", arg(&key)];
        arguments.extend(["--backend", &backend]);
        arguments.extend(more);
        run(Some(&node.socket()), &arguments)
    };
    let refusal = import("own.crt", "foreign.key", &[]).refused(1, "invalid_argument");
    assert!(refusal.contains("expected key"), "{refusal}");
    let refusal = import("foreign.crt", "foreign.key", &[]).refused(1, "invalid_argument");
    assert!(refusal.contains("spiffe://other.example"), "{refusal}");
    let mode = std::os::unix::fs::PermissionsExt::from_mode;
    std::fs::set_permissions(folder.join("own.key"), mode(0o644)).unwrap();
    assert!(import("own.crt", "own.key", &[]).refused(1, "failed_precondition").contains("chmod 600"));
    std::fs::set_permissions(folder.join("own.key"), mode(0o600)).unwrap();
    import("own.crt", "own.key", &["--dry-run"]).done();
    let imported = import("own.crt", "own.key", &["-o", "json"]).json();
    let id = imported["changed"]["id"].as_str().unwrap();
    run(Some(&node.socket()), &["authority", "rotate", "--kind", "x509-root"]).done();
    signs(&cluster, id).await;
    std::fs::copy(folder.join("own.crt"), folder.join("root.pem")).unwrap();
    // The root is the trust anchor itself: only the issuing CA travels.
    works_everywhere(&cluster, &company, 1).await;
    its_key_lies_nowhere_else(&mut cluster, &folder).await;
}

/// The key in `folder/own.key` is nowhere in the cluster's data, logs, journals and backups.
async fn its_key_lies_nowhere_else(cluster: &mut Cluster, folder: &Path) {
    let pem = std::fs::read_to_string(folder.join("own.key")).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let pkcs8 = base64::prelude::BASE64_STANDARD.decode(base64).unwrap();
    let mut secrets = Secrets::default();
    secrets.add_key("the root's key", scalar(&pkcs8));
    assert!(!secrets.found_in(pem.as_bytes()).is_empty(), "it would be found");
    std::fs::remove_dir_all(folder).unwrap();
    run(Some(&cluster.nodes[0].socket()), &["snapshot", "save", arg(&cluster.folder().join("backup"))]).done();
    // Ends in good order, so that everything that is buffered is written, and no file goes away under the search.
    for node in &mut cluster.nodes {
        node.signal(Signal::TERM);
    }
    for node in &mut cluster.nodes {
        node.ended(Duration::from_secs(20)).await;
    }
    let searched = secrets.are_not_below(cluster.folder());
    let (_, forms) = secrets.count();
    say(&format!("searched {searched} bytes for a root's key in {forms} forms: not found"));
    assert!(searched > 100_000, "only {searched} bytes: this test looks in the wrong place");
}

fn openssl_is_there() -> bool {
    let there = foreign("openssl".as_ref(), &["version"]).code == Some(0);
    if !there {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "there is no openssl; ./test installs it");
        say("skipped: a company's CA: there is no openssl; ./test installs it");
    }
    there
}

/// Waits until an issuing CA under this root signs.
async fn signs(cluster: &Cluster, root: &str) {
    eventually(SETTLE, "an issuing CA under the imported root", async || {
        let issuing = active(&cluster.nodes[0], "x509-issuing");
        if issuing["issuer"] == root { Ok(()) } else { Err(show(&cluster.nodes[0]).to_string()) }
    })
    .await;
}

/// Every node issues what leads to the company's root, by its own word, by OpenSSL's and by webpki's.
async fn works_everywhere(cluster: &Cluster, company: &Company, certificates: usize) {
    for node in &cluster.nodes {
        let folder = cluster.folder().join("svid");
        let mint = || run(Some(&node.socket()), &["x509", "mint", "--spiffe-id", ID, "--out-dir", arg(&folder)]);
        eventually(SETTLE, "the node to issue under the new root", async || {
            let said = mint();
            let svid = std::fs::read_to_string(folder.join("svid.pem")).unwrap_or_default();
            let chain = company.openssl(&[
                "verify",
                "-x509_strict",
                "-purpose",
                "sslclient",
                "-CAfile",
                "root.pem",
                "-untrusted",
                arg(&folder.join("svid.pem")),
                arg(&folder.join("svid.pem")),
            ]);
            let whole = svid.matches("BEGIN CERTIFICATE").count() == certificates + 1;
            if said.code == Some(0) && chain.code == Some(0) && whole {
                Ok(())
            } else {
                Err(format!("{said:?} {chain:?}"))
            }
        })
        .await;
        let root = std::fs::read_to_string(company.folder.join("root.pem")).unwrap();
        let bundle = std::fs::read_to_string(folder.join("bundle.pem")).unwrap();
        assert!(bundle.contains(root.trim()), "the bundle lacks the company's root");
        let agent = Agent::minted(node, ID).await;
        let bundle = node.admin().await.bundle().await.unwrap();
        let roots = bundle.x509_authorities.iter().map(|one| one.certificate.as_slice());
        let trust = TrustAnchors::new(bundle.trust_domain.clone(), roots).unwrap();
        trust.authenticate(&agent.svid.cert_chain, UnixTime::from_secs(now_secs())).unwrap();
        // Over TLS: the node's certificate is verified by the client, and the client's by the node.
        agent.grpc(node).await.unwrap().bundle().await.unwrap();
    }
}

fn show(node: &Node) -> Value {
    run(Some(&node.socket()), &["authority", "show", "-o", "json"]).json()
}

fn active(node: &Node, kind: &str) -> Value {
    let shown = show(node);
    let all = shown["authorities"].as_array().unwrap();
    all.iter().find(|one| one["kind"] == kind && one["state"] == "active").unwrap().clone()
}

fn anchors(node: &Node) -> String {
    run(Some(&node.socket()), &["bundle", "show", "--format", "pem"]).done()
}

/// A CA of two levels that never saw Signet.
struct Company {
    folder: PathBuf,
}

impl Company {
    fn new(folder: &Path, name: &str) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let company = Self { folder: folder.to_owned() };
        let ca =
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n";
        file(folder, "ca.ext", &format!("{ca}authorityKeyIdentifier=keyid\n"));
        let root = format!("/O={name}/CN=Root");
        company
            .openssl(&[
                "req",
                "-x509",
                "-newkey",
                "rsa:3072",
                "-nodes",
                "-keyout",
                "root.key",
                "-out",
                "root.pem",
                "-subj",
                &root,
                "-days",
                "3650",
                "-addext",
                "keyUsage=critical,keyCertSign,cRLSign",
            ])
            .done();
        let issuing = format!("/O={name}/CN=Issuing");
        company
            .openssl(&[
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-384",
                "-nodes",
                "-keyout",
                "issuing.key",
                "-out",
                "issuing.csr",
                "-subj",
                &issuing,
            ])
            .done();
        company.certify("issuing.csr", "root", "ca.ext", 1000, "issuing.pem");
        company
    }

    /// Signs a request with these basic constraints; the chain from the new certificate to the root.
    fn sign(&self, request: &str, name: &str, constraints: &str, days: u32) -> PathBuf {
        let extensions = format!(
            "basicConstraints={constraints}\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n\
             authorityKeyIdentifier=keyid\nsubjectAltName=URI:spiffe://example.org\n"
        );
        file(&self.folder, &format!("{name}.ext"), &extensions);
        let own = format!("{name}-own.pem");
        self.certify(request, "issuing", &format!("{name}.ext"), days, &own);
        let part = |name: &str| std::fs::read_to_string(self.folder.join(name)).unwrap();
        file(&self.folder, &format!("{name}.pem"), &[part(&own), part("issuing.pem"), part("root.pem")].concat())
    }

    fn certify(&self, request: &str, issuer: &str, extensions: &str, days: u32, out: &str) {
        let (certificate, key) = (format!("{issuer}.pem"), format!("{issuer}.key"));
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            request,
            "-CA",
            &certificate,
            "-CAkey",
            &key,
            "-CAcreateserial",
            "-extfile",
            extensions,
            "-days",
            &days.to_string(),
            "-out",
            out,
        ])
        .done();
    }

    fn openssl(&self, arguments: &[&str]) -> Said {
        // Files are named within the folder.
        let output = std::process::Command::new("openssl").args(arguments).current_dir(&self.folder).output().unwrap();
        Said::from(output)
    }
}

const ID: &str = "spiffe://example.org/orders";
const SCHEDULE: &str = "refresh_hint = \"2s\"\n";
const SETTLE: Duration = Duration::from_secs(60);
