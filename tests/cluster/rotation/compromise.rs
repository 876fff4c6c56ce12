//! A key of every kind is known to others: all are replaced in an emergency and revoked, under load. Clients that do as a
//! SPIRE agent does, and ask anew when what they have rests on something tainted, notice nothing; what was signed by the
//! old keys is refused everywhere within the bound that the command printed.

use signet_model::spiffe_id::TrustDomain;

use super::*;

/// A client with an identity that it keeps, and a copy of the bundle that it keeps for as long as it was told.
struct Client {
    agent: Agent,
    looked: Instant,
    /// Told with the bundle.
    keep: Duration,
    /// How often it asked for another identity.
    re_keyed: usize,
    requests: usize,
}

impl Client {
    async fn new(node: &Node) -> Self {
        let agent = Agent::try_minted(node, AGENT, LONG_SECS).await.unwrap();
        Self { agent, looked: Instant::now(), keep: Duration::ZERO, re_keyed: 0, requests: 0 }
    }

    /// Shows its identity at both doors of a node, or of another if that one cannot answer now, and looks whether it is
    /// still a good one.
    async fn live(&mut self, nodes: &[Node], position: usize, users: &Users) -> Result<(), String> {
        let mut failures = Vec::new();
        for turn in 0..nodes.len() {
            match self.ask(&nodes[(position + turn) % nodes.len()], users).await {
                Ok(()) => return Ok(()),
                Err(failure) => failures.push(failure),
            }
        }
        Err(failures.join("; "))
    }

    async fn ask(&mut self, node: &Node, users: &Users) -> Result<(), String> {
        let subject = users.token("alice", AUDIENCE, "orders.read");
        let form = exchange_form(&subject, "example.org", "orders.read");
        txn_token(&self.agent.https(node).exchange(&form).await.map_err(|e| e.to_string())?)?;
        let grpc = self.agent.grpc(node).await.map_err(|e| e.to_string())?;
        let bundle = grpc.bundle().await.map_err(|e| e.to_string())?;
        self.requests += 2;
        if self.looked.elapsed() < self.keep {
            return Ok(());
        }
        (self.looked, self.keep) = (Instant::now(), Duration::from_secs(bundle.refresh_hint_secs.into()));
        let mut tainted = bundle.x509_authorities.iter().filter(|root| root.tainted);
        if tainted.any(|root| rests_on(&bundle.trust_domain, &root.certificate, &self.agent.svid.cert_chain)) {
            self.agent = Agent::try_minted(node, AGENT, LONG_SECS).await?;
            self.re_keyed += 1;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compromise_of_every_kind_ends_within_the_printed_bound_and_who_re_keys_notices_nothing() {
    let cluster = Cluster::of_three_saying("2s", "refresh_hint = \"1s\"").await;
    let mut watch = Watch::start(&cluster).await;
    watch.ttl_secs = LONG_SECS;
    let thief = Agent::try_minted(&cluster.nodes[0], AGENT, LONG_SECS).await.unwrap();
    let stolen = watch.ask(&cluster.nodes[0]).await.unwrap();
    // Everybody else asks anew soon enough, before anything is revoked.
    (watch.ttl_secs, watch.txn_secs) = (SHORT_SECS, SHORT_SECS.into());
    let mut clients = Vec::new();
    for node in &cluster.nodes {
        clients.push(Client::new(node).await);
    }
    let first = active(&show(&cluster).unwrap());
    watch.round(&cluster).await;
    say(&format!("before:  {}", seen(&watch.verifiers[0], &stolen, &first)));
    assert!(watch.verifiers.iter().all(|verifier| accepted(verifier, &stolen) == [true; 3]));

    let kinds = ["--kind", "x509-root", "--kind", "jwt-svid", "--kind", "transaction-token"];
    let revoke = ["rotate", "--emergency", "--revoke-after", "12s", "--reason", "a test"];
    let told = authority(&cluster.nodes[1], &[&revoke[..], &kinds].concat());
    let asked_at = now_secs();
    let at_first = bounds(&told, &first);
    // Once the old keys are replaced nothing is waited for any more, and the bound is nearer.
    let mut until = at_first;
    let (mut was_tainted, mut refused_at) = (false, [None; 3]);
    while refused_at.iter().any(Option::is_none) {
        work(&cluster, &mut watch, &mut clients).await;
        let tainted = |verifier: &Verifier| {
            verifier.bundle.x509_authorities.iter().any(|root| root.tainted)
                && verifier.bundle.jwt_authorities.iter().any(|key| key.tainted)
        };
        if !was_tainted && watch.verifiers.iter().all(tainted) {
            was_tainted = true;
            say(&format!("tainted: {}", seen(&watch.verifiers[0], &stolen, &first)));
            assert!(watch.verifiers.iter().all(|verifier| accepted(verifier, &stolen) == [true; 3]));
        }
        if let Some(shown) = show(&cluster) {
            let nearer = bounds(&shown, &first);
            until = std::array::from_fn(|kind| until[kind].min(nearer[kind]));
        }
        let now = now_secs();
        for (kind, until) in until.iter().enumerate() {
            let accepting = watch.verifiers.iter().filter(|verifier| accepted(verifier, &stolen)[kind]).count();
            if accepting == 0 {
                refused_at[kind].get_or_insert(now - asked_at);
            } else {
                assert!(now <= until + 1, "{accepting} verifiers accept kind {kind}, {} s past the bound", now - until);
            }
        }
    }
    say(&format!("revoked: {}", seen(&watch.verifiers[0], &stolen, &first)));
    assert!(was_tainted, "nobody saw the taint");
    // The nodes are verifiers too.
    for node in &cluster.nodes {
        let shown =
            async { thief.grpc(node).await.map_err(|e| e.to_string())?.bundle().await.map_err(|e| e.to_string()) };
        shown.await.expect_err("a node accepts an identity under the revoked root");
    }
    work(&cluster, &mut watch, &mut clients).await;
    assert!(clients.iter().all(|client| client.re_keyed == 1), "each asks for one other identity");
    let requests: usize = clients.iter().map(|client| client.requests).sum();
    let after: Vec<u64> = refused_at.into_iter().flatten().collect();
    say(&format!(
        "refused everywhere {after:?} s after the command (root, JWT-SVID, transaction token); bounds: {:?} s printed by it, {:?} s \
         as soon as the old keys were replaced; {} issued, {} checks, {requests} requests of clients that re-keyed: 0 \
         failed, {} asked again",
        at_first.map(|until| until - asked_at),
        until.map(|until| until - asked_at),
        watch.issued,
        watch.checks,
        watch.asked_again
    ));
}

/// Everybody asks for something, and verifiers look again if what they keep is as old as it may be.
async fn work(cluster: &Cluster, watch: &mut Watch, clients: &mut [Client]) {
    watch.round(cluster).await;
    // On a busy machine a node may be without a leader for a moment, or a short life over before it is used.
    if !watch.unanswered.is_empty() {
        for node in &cluster.nodes {
            eventually(BOUND, "an answer when asked again", async || watch.ask(node).await.map(drop)).await;
        }
        watch.asked_again += watch.unanswered.drain(..).len();
    }
    for (position, client) in clients.iter_mut().enumerate() {
        client.live(&cluster.nodes, position, &watch.users).await.unwrap();
    }
    for verifier in &mut watch.verifiers {
        verifier.keep(cluster).await;
    }
}

/// By when nothing of these authorities is accepted, seconds since the epoch: the root, the JWT-SVID and the
/// transaction-token key. Far away where one is not named: it is gone.
fn bounds(told: &Value, of: &BTreeMap<String, String>) -> [u64; 3] {
    ["x509-root", "jwt-svid", "transaction-token"].map(|kind| {
        let bounds = told["bounds"].as_array().unwrap();
        let bound = bounds.iter().find(|bound| bound["kind"] == kind && bound["id"] == of[kind].as_str());
        bound.map_or(u64::MAX, |bound| bound["accepted_until"].as_u64().unwrap() / 1000)
    })
}

/// By kind: X.509-SVID, JWT-SVID, transaction token.
fn accepted(verifier: &Verifier, credentials: &[Credential]) -> [bool; 3] {
    let mut verdicts = [false; 3];
    for credential in credentials {
        let kind = match credential.form {
            Form::X509Svid(_) => 0,
            Form::JwtSvid(_) => 1,
            Form::TransactionToken(_) => 2,
        };
        verdicts[kind] = verifier.check(credential).is_ok();
    }
    verdicts
}

/// What a verifier holds, and what it says of what was stolen.
fn seen(verifier: &Verifier, stolen: &[Credential], first: &BTreeMap<String, String>) -> String {
    let chain = stolen.iter().find_map(|credential| match &credential.form {
        Form::X509Svid(chain) => Some(chain),
        Form::JwtSvid(_) | Form::TransactionToken(_) => None,
    });
    let word = |old: bool, tainted: bool| match (old, tainted) {
        (true, true) => "OLD (tainted)",
        (true, false) => "OLD",
        (false, _) => "new",
    };
    let domain = &verifier.bundle.trust_domain;
    let roots = verifier.bundle.x509_authorities.iter();
    let roots = roots.map(|root| word(rests_on(domain, &root.certificate, chain.unwrap()), root.tainted));
    let jwt = verifier.bundle.jwt_authorities.iter();
    let jwt = jwt.map(|key| word(key.key_id == first["jwt-svid"], key.tainted));
    let jwks: Value = serde_json::from_slice(&verifier.jwks).unwrap();
    let txn = jwks["keys"].as_array().unwrap().iter();
    let txn = txn.map(|key| word(key["kid"] == first["transaction-token"].as_str(), false));
    let list = |words: Vec<&str>| words.join(", ");
    let verdicts = accepted(verifier, stolen).map(|good| if good { "accepted" } else { "REFUSED" });
    format!(
        "roots [{}], JWT-SVID keys [{}], transaction-token keys [{}]; of the old keys: X.509-SVID {}, JWT-SVID {}, transaction \
         token {}",
        list(roots.collect()),
        list(jwt.collect()),
        list(txn.collect()),
        verdicts[0],
        verdicts[1],
        verdicts[2]
    )
}

fn rests_on(domain: &TrustDomain, root: &[u8], chain: &[Vec<u8>]) -> bool {
    let anchors = TrustAnchors::new(domain.clone(), std::iter::once(root)).unwrap();
    anchors.authenticate(chain, UnixTime::from_secs(now_secs())).is_ok()
}

const LONG_SECS: u32 = 600;
/// What an old key signs last is over before that key is revoked.
const SHORT_SECS: u32 = 6;
