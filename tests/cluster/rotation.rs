//! Authorities that rotate, by schedule and by command, while clients ask and verifiers go by what they keep.

mod compromise;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use signet_api::client::AdminClient;
use signet_model::jwks::{Algorithm, DemoRule, KeySet};
use signet_model::jws::Compact;
use signet_model::svid::TrustBundle;
use signet_model::time::UnixTime;
use signet_model::verify::{Expect, verify};
use signet_model::x509::peer::TrustAnchors;
use tokio::time::{Instant, sleep};

use crate::support::agent::{Agent, claims, exchange_form, txn_token};
use crate::support::cli::run;
use crate::support::clock::now_secs;
use crate::support::cluster::Cluster;
use crate::support::node::Node;
use crate::support::say;
use crate::support::users::{AUDIENCE, Users, policy};
use crate::support::wait::eventually;

/// What three kinds of verifiers keep, and for how long: as long as they were told that they may.
struct Verifier {
    node: usize,
    fetched: Instant,
    bundle: TrustBundle,
    /// JWK Set of the transaction-token keys.
    jwks: Vec<u8>,
    anchors: TrustAnchors,
    jwt_svid: KeySet,
    transaction_token: KeySet,
}

impl Verifier {
    async fn fetch(cluster: &Cluster, node: usize) -> Result<Self, String> {
        let fetched = Instant::now();
        let socket = cluster.nodes[node].socket();
        let client = AdminClient::connect(&socket).await.map_err(|e| e.to_string())?;
        let bundle = client.bundle().await.map_err(|e| e.to_string())?;
        let jwks = client.token_keys().await.map_err(|e| e.to_string())?;
        let certificates = bundle.x509_authorities.iter().map(|one| one.certificate.as_slice());
        let demo = DemoRule { demo: false, cluster_id: String::new() };
        Ok(Self {
            node,
            fetched,
            anchors: TrustAnchors::new(bundle.trust_domain.clone(), certificates).unwrap(),
            jwt_svid: KeySet::from_jwt_authorities(&bundle.jwt_authorities),
            transaction_token: KeySet::parse(&jwks, ALGORITHMS, &demo).unwrap(),
            bundle,
            jwks,
        })
    }

    /// Looks again when what it keeps has become as old as it may, at any node that answers.
    async fn keep(&mut self, cluster: &Cluster) {
        if self.fetched.elapsed() < Duration::from_secs(self.bundle.refresh_hint_secs.into()) {
            return;
        }
        for node in 0..cluster.nodes.len() {
            let node = (self.node + node) % cluster.nodes.len();
            if let Ok(newer) = Self::fetch(cluster, node).await {
                *self = Self { node: self.node, ..newer };
                return;
            }
        }
    }

    fn check(&self, credential: &Credential) -> Result<(), String> {
        match &credential.form {
            Form::X509Svid(chain) => {
                let now = UnixTime::from_secs(now_secs());
                self.anchors.authenticate(chain, now).map(drop).map_err(|cause| format!("X.509-SVID: {cause}"))
            }
            Form::JwtSvid(token) => signed(token, &self.jwt_svid, "jwt"),
            Form::TransactionToken(token) => signed(token, &self.transaction_token, "txntoken+jwt"),
        }
    }
}

fn signed(token: &str, keys: &KeySet, typ: &str) -> Result<(), String> {
    let compact = Compact::parse(token).unwrap();
    let expect = Expect { algorithms: ALGORITHMS, types: &[typ], typ_may_be_absent: false };
    verify(&compact, keys, &expect).map(drop).map_err(|cause| format!("{typ}: {cause}"))
}

struct Credential {
    form: Form,
    expires_at: u64,
}

enum Form {
    X509Svid(Vec<Vec<u8>>),
    JwtSvid(String),
    TransactionToken(String),
}

/// Clients that ask for everything everywhere, and verifiers that check all that still lives.
pub(super) struct Watch {
    users: Users,
    verifiers: Vec<Verifier>,
    live: Vec<Credential>,
    /// How long what is asked for shall live; transaction tokens live as the policy says.
    pub(super) ttl_secs: u32,
    /// How long a transaction token is used at most.
    txn_secs: u64,
    pub(super) issued: usize,
    pub(super) checks: usize,
    /// Requests that failed.
    pub(super) unanswered: Vec<String>,
    /// Those that were answered when they were asked again.
    asked_again: usize,
}

impl Watch {
    pub(super) async fn start(cluster: &Cluster) -> Self {
        let users = Users::start().await;
        let admin = cluster.nodes[0].admin().await;
        admin.apply_policy(policy(&users.issuer, &users.jwks_uri(), AGENT), None).await.unwrap();
        let mut verifiers = Vec::new();
        for node in 0..cluster.nodes.len() {
            // A follower has applied the policy when it has answered for it.
            cluster.nodes[node].admin().await.policy().await.unwrap();
            verifiers.push(Verifier::fetch(cluster, node).await.unwrap());
        }
        Self {
            users,
            verifiers,
            live: Vec::new(),
            ttl_secs: TTL_SECS,
            txn_secs: u64::MAX,
            issued: 0,
            checks: 0,
            unanswered: Vec::new(),
            asked_again: 0,
        }
    }

    /// One of each kind from each node; then every verifier checks everything that lives, by what it keeps.
    pub(super) async fn round(&mut self, cluster: &Cluster) {
        for node in &cluster.nodes {
            match self.ask(node).await {
                Ok(new) => {
                    self.issued += new.len();
                    self.live.extend(new);
                }
                Err(failure) => self.unanswered.push(format!("node {}: {failure}", node.id)),
            }
        }
        self.check(cluster).await;
        sleep(PACE).await;
    }

    /// Other nodes have taken the place of the cluster's: verifiers that know the old ones alone accept what the new ones
    /// issue, and those that know the new ones alone what the old ones had issued. So many of these there were.
    pub(super) async fn taken_over(&mut self, cluster: &Cluster) -> usize {
        let mut new = Vec::new();
        for node in 0..cluster.nodes.len() {
            new.push(Verifier::fetch(cluster, node).await.unwrap());
        }
        let old = std::mem::replace(&mut self.verifiers, new);
        self.live.retain(|credential| credential.expires_at > now_secs() + 5);
        let before = self.live.len();
        self.round(cluster).await;
        for credential in self.live.iter().filter(|credential| credential.expires_at > now_secs() + 1) {
            for verifier in &old {
                verifier.check(credential).unwrap();
                self.checks += 1;
            }
        }
        before
    }

    async fn ask(&self, node: &Node) -> Result<Vec<Credential>, String> {
        let client = AdminClient::connect(&node.socket()).await.map_err(|e| e.to_string())?;
        let audience = ["someone".to_owned()];
        let jwt = client.mint_jwt_svid(&WORKLOAD.parse().unwrap(), &audience, self.ttl_secs).await;
        let jwt = jwt.map_err(|e| e.to_string())?;
        let agent = Agent::try_minted(node, AGENT, self.ttl_secs).await?;
        let subject = self.users.token("alice", AUDIENCE, "orders.read");
        // The node verifies the chain of the SVID that was just issued, and the client that of the node.
        let form = exchange_form(&subject, "example.org", "orders.read");
        let txn = txn_token(&agent.https(node).exchange(&form).await.map_err(|e| e.to_string())?)?;
        let txn_expires_at = claims(&txn)["exp"].as_u64().unwrap().min(now_secs().saturating_add(self.txn_secs));
        Ok(vec![
            Credential { expires_at: jwt.expires_at_secs, form: Form::JwtSvid(jwt.token) },
            Credential { expires_at: agent.svid.expires_at_secs, form: Form::X509Svid(agent.svid.cert_chain) },
            Credential { expires_at: txn_expires_at, form: Form::TransactionToken(txn) },
        ])
    }

    fn say(&self, what: &str) {
        let (issued, checks) = (self.issued, self.checks);
        say(&format!(
            "{what}: {issued} issued, {checks} checks by verifiers that keep what they have for all its time, 0 refused"
        ));
    }

    async fn check(&mut self, cluster: &Cluster) {
        self.live.retain(|credential| credential.expires_at > now_secs() + 1);
        for verifier in &mut self.verifiers {
            verifier.keep(cluster).await;
            for credential in &self.live {
                if credential.expires_at > now_secs() + 1 {
                    self.checks += 1;
                    if let Err(failure) = verifier.check(credential) {
                        panic!("after {} checks a verifier refused what is valid: {failure}", self.checks);
                    }
                }
            }
        }
    }
}

/// `signet authority` at a node.
pub(super) fn authority(node: &Node, arguments: &[&str]) -> Value {
    run(Some(&node.socket()), &[&["authority"], arguments, &["-o", "json"]].concat()).json()
}

/// The authorities as the first node that answers shows them.
pub(super) fn show(cluster: &Cluster) -> Option<Value> {
    cluster.nodes.iter().find_map(|node| {
        let said = run(Some(&node.socket()), &["authority", "show", "-o", "json", "--timeout", "5s"]);
        (said.code == Some(0)).then(|| said.json())
    })
}

/// The id of the active authority of each kind.
pub(super) fn active(shown: &Value) -> BTreeMap<String, String> {
    let all = shown["authorities"].as_array().unwrap().iter().filter(|one| one["state"] == "active");
    all.map(|one| (text(&one["kind"]), text(&one["id"]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

pub(super) fn find<'v>(shown: &'v Value, id: &str) -> Option<&'v Value> {
    shown["authorities"].as_array().unwrap().iter().find(|one| one["id"] == id)
}

/// The kinds of which another authority signs than in `before`.
fn changed(before: &BTreeMap<String, String>, shown: &Value) -> Vec<String> {
    active(shown).into_iter().filter(|(kind, id)| before.get(kind) != Some(id)).map(|(kind, _)| kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_by_schedule_and_no_verifier_refuses_anything_though_leaders_die() {
    let mut cluster = Cluster::of_three_saying("2s", SHORT).await;
    let mut watch = Watch::start(&cluster).await;
    let first = active(&show(&cluster).unwrap());
    assert_eq!(first.len(), 4, "{first:?}");

    // Until a successor is published, and the leader dies with the rotation half done.
    let started = Instant::now();
    let prepared = loop {
        watch.round(&cluster).await;
        let shown = show(&cluster).unwrap();
        let prepared = shown["authorities"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["kind"] == "jwt-svid" && one["state"] == "prepared");
        if let Some(prepared) = prepared {
            break text(&prepared["id"]);
        }
        assert!(started.elapsed() < BOUND, "nothing was prepared: {shown:#}");
    };
    assert_eq!(watch.unanswered, Vec::<String>::new());
    let (_, metrics) = cluster.nodes[0].get("/metrics").await.unwrap();
    assert!(metrics.contains("signet_authority_not_after_seconds{kind=\"x509-issuing\"} "), "{metrics}");
    let leader = cluster.leader(&[0, 1, 2]).await;
    cluster.nodes[leader].kill();

    let mut restarted = false;
    loop {
        watch.round(&cluster).await;
        let Some(shown) = show(&cluster) else { continue };
        let changed = changed(&first, &shown);
        if !restarted && changed.iter().any(|kind| kind == "jwt-svid") {
            assert_eq!(active(&shown)["jwt-svid"], prepared, "what was published is what signs");
            cluster.nodes[leader].start(None);
            cluster.nodes[leader].ready().await;
            restarted = true;
        }
        if restarted
            && ["x509-issuing", "jwt-svid", "transaction-token"].iter().all(|kind| changed.iter().any(|c| c == kind))
        {
            break;
        }
        assert!(started.elapsed() < BOUND, "{:?} changed: {shown:#}", changed);
    }
    // What the old ones signed lives on; a node that slept through it all serves again.
    for _ in 0..5 {
        watch.round(&cluster).await;
    }
    eventually(BOUND, "the old JWT key to be retired", async || {
        let shown = show(&cluster).ok_or("no answer")?;
        let past = shown["past"].as_array().unwrap();
        let gone = past.iter().any(|one| one["id"] == first["jwt-svid"].as_str() && one["revoked"] == false);
        if gone && find(&shown, &first["jwt-svid"]).is_none() { Ok(()) } else { Err(shown.to_string()) }
    })
    .await;
    assert!(watch.issued > 100 && watch.checks > watch.issued, "{} issued, {} checks", watch.issued, watch.checks);
    watch.say("three kinds rotated by schedule, a leader killed meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_by_command_and_only_what_was_revoked_fails() {
    let mut cluster = Cluster::of_three_saying("2s", "refresh_hint = \"1s\"").await;
    let mut watch = Watch::start(&cluster).await;
    let first = active(&show(&cluster).unwrap());
    let rotate = ["rotate", "--reason", "a test"];

    // The plan is shown and nothing happens.
    let planned = authority(&cluster.nodes[1], &[&rotate[..], &["--plan"]].concat());
    assert_eq!(planned["dry_run"], true);
    assert_eq!(planned["requests"].as_array().unwrap().len(), 3, "{planned:#}");
    assert_eq!(planned["bounds"].as_array().unwrap().len(), 3, "{planned:#}");
    assert_eq!(show(&cluster).unwrap()["requests"].as_array().unwrap().len(), 0);

    // All kinds that are in memory, asked for at a follower, under load.
    let leader = cluster.leader(&[0, 1, 2]).await;
    let follower = &cluster.nodes[(leader + 1) % 3];
    authority(follower, &rotate);
    let second = rotated(&cluster, &mut watch, &first, &["x509-issuing", "jwt-svid", "transaction-token"]).await;

    // Tainted: marked in the bundle, still verified.
    let old = first["jwt-svid"].clone();
    run(Some(&follower.socket()), &["authority", "taint", "--kind", "jwt", "--id", &second["jwt-svid"]])
        .refused(1, "failed_precondition");
    authority(follower, &["taint", "--kind", "jwt", "--id", &old]);
    for node in &cluster.nodes {
        eventually(BOUND, "the taint in the bundle", async || {
            let bundle = node.admin().await.bundle().await.map_err(|e| e.to_string())?;
            let tainted = bundle.jwt_authorities.iter().filter(|key| key.tainted).map(|key| key.key_id.clone());
            let tainted: Vec<String> = tainted.collect();
            if tainted == [old.clone()] { Ok(()) } else { Err(format!("{tainted:?}")) }
        })
        .await;
    }
    watch.round(&cluster).await;

    // Revoked: what it signed is refused everywhere within the time that verifiers keep a bundle, and nothing else is.
    let by_old = held_by(&watch, &old).await;
    let revoke = ["authority", "revoke", "--kind", "jwt-svid", "--id", &old];
    eventually(BOUND, "the revocation, once no node can sign with the key", async || {
        let said = run(Some(&follower.socket()), &revoke);
        if said.code == Some(0) { Ok(()) } else { Err(said.stderr) }
    })
    .await;
    let revoked = Instant::now();
    watch.live.retain(|credential| !matches!(&credential.form, Form::JwtSvid(token) if is_by(token, &old)));
    while revoked.elapsed() < REFRESH_HINT + Duration::from_secs(1) {
        watch.round(&cluster).await;
    }
    for (verifier, token) in watch.verifiers.iter().flat_map(|verifier| by_old.iter().map(move |one| (verifier, one))) {
        signed(token, &verifier.jwt_svid, "jwt").expect_err("a token of a revoked key is accepted");
    }
    assert!(find(&show(&cluster).unwrap(), &old).is_none());

    // The root: the issuing CA moves first, then what was under the old root is refused.
    let before = Agent::minted(&cluster.nodes[0], AGENT).await;
    let emergency = ["rotate", "--kind", "x509-root", "--emergency", "--revoke-after", "8s", "--reason", "a test"];
    let told = authority(follower, &emergency);
    let bound = told["bounds"].as_array().unwrap().iter().find(|bound| bound["kind"] == "x509-root").unwrap();
    let accepted_until = bound["accepted_until"].as_u64().unwrap() / 1000;
    watch.live.retain(|credential| !matches!(credential.form, Form::X509Svid(_)));
    let third = rotated_root(&cluster, &mut watch, &second).await;
    let chain = Credential { form: Form::X509Svid(before.svid.cert_chain.clone()), expires_at: u64::MAX };
    eventually(BOUND, "every verifier to refuse the old root", async || {
        watch.round(&cluster).await;
        let accepts = watch.verifiers.iter().filter(|verifier| verifier.check(&chain).is_ok()).count();
        if accepts == 0 { Ok(()) } else { Err(format!("{accepts} still accept it")) }
    })
    .await;
    assert!(now_secs() <= accepted_until + 1, "{} s past the printed bound", now_secs() - accepted_until);
    for node in &cluster.nodes {
        let fresh = Agent::minted(node, AGENT).await;
        fresh.grpc(node).await.unwrap().bundle().await.unwrap();
    }

    // All nodes at once, and the keys open again.
    assert_eq!(watch.unanswered, Vec::<String>::new());
    for node in &mut cluster.nodes {
        node.kill();
    }
    for node in &mut cluster.nodes {
        node.start(None);
    }
    cluster.all_ready().await;
    assert_eq!(active(&show(&cluster).unwrap()), third);
    watch.live.retain(|credential| !matches!(credential.form, Form::X509Svid(_)));
    watch.round(&cluster).await;
    assert_eq!(watch.unanswered, Vec::<String>::new());
    watch.say("all kinds rotated by command, a JWT key and the root revoked");
}

/// Waits, under load, until each of `kinds` has another active authority.
pub(super) async fn rotated(
    cluster: &Cluster,
    watch: &mut Watch,
    before: &BTreeMap<String, String>,
    kinds: &[&str],
) -> BTreeMap<String, String> {
    let started = Instant::now();
    loop {
        watch.round(cluster).await;
        let shown = show(cluster).unwrap();
        let changed = changed(before, &shown);
        if kinds.iter().all(|kind| changed.iter().any(|one| one == kind)) {
            return active(&shown);
        }
        assert!(started.elapsed() < BOUND, "{changed:?} of {kinds:?}: {shown:#}");
    }
}

/// Waits until the old root is gone.
async fn rotated_root(
    cluster: &Cluster,
    watch: &mut Watch,
    before: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let after = rotated(cluster, watch, before, &["x509-root", "x509-issuing"]).await;
    // What was issued in between by the old CA goes with its root.
    watch.live.retain(|credential| !matches!(credential.form, Form::X509Svid(_)));
    eventually(BOUND, "the old root to be revoked", async || {
        watch.round(cluster).await;
        let shown = show(cluster).ok_or("no answer")?;
        if find(&shown, &before["x509-root"]).is_none() { Ok(()) } else { Err(shown["plan"].to_string()) }
    })
    .await;
    after
}

/// Tokens that live and were signed by this key.
async fn held_by(watch: &Watch, key: &str) -> Vec<String> {
    let tokens = watch.live.iter().filter_map(|credential| match &credential.form {
        Form::JwtSvid(token) if is_by(token, key) => Some(token.clone()),
        Form::JwtSvid(_) | Form::X509Svid(_) | Form::TransactionToken(_) => None,
    });
    tokens.collect()
}

fn is_by(token: &str, key: &str) -> bool {
    crate::support::agent::header(token)["kid"] == key
}

const AGENT: &str = "spiffe://example.org/host/one";
const WORKLOAD: &str = "spiffe://example.org/workload";
/// What our tokens may be signed with.
const ALGORITHMS: &[Algorithm] = &[Algorithm::Es256, Algorithm::Es384, Algorithm::Rs256, Algorithm::EdDsa];
/// Verifiers keep what they fetched for this long, as bundle and JWKS allow.
const REFRESH_HINT: Duration = Duration::from_secs(1);
const PACE: Duration = Duration::from_millis(50);
const TTL_SECS: u32 = 8;
/// A debug build on a busy machine.
const BOUND: Duration = Duration::from_secs(90);
/// Successors are made after nine seconds and sign five later.
const SHORT: &str = "refresh_hint = \"1s\"\n[trust_domain.rotation]\npublish = \"5s\"\nx509_issuing = \"18s\"\n\
    jwt_svid = \"18s\"\ntransaction_token = \"18s\"\n";
