//! How much of what an issued credential costs is its signature: everything that a server does for it in its own memory,
//! by the same functions in the same order, against the bare signature of the same bytes. The doors (TLS, gRPC, HTTP) and
//! the journal's disk are not in it; `signet loadtest` measures with them.

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::json;
use signet_kms::issuing::IssuingKey;
use signet_model::algorithm::KeyAlgorithm;
use signet_model::caller::Caller;
use signet_model::exchange::{
    Endpoint, Request, TRANSACTION_TOKEN_TYP, TokenIds, TransactionClaims, authenticate, decide, peek, response,
    verify_subject,
};
use signet_model::jwks::{Algorithm, KeySet};
use signet_model::jws::{self, HeaderSegment};
use signet_model::jwt_svid::{self, JwtSvidRequest};
use signet_model::policy::Policy;
use signet_model::record::{CredentialKind, IssuanceRecord};
use signet_model::spiffe_id::{SpiffeId, TrustDomain};
use signet_model::stored;
use signet_model::svid::JwtAuthority;
use signet_model::time::UnixTime;
use signet_model::x509::csr::Csr;
use signet_model::x509::{IssuerView, SerialNumber, SubjectPublicKey, ca, leaf};

use super::meter::{Plan, cpu_micros, median};

pub(crate) fn print(plan: Plan) {
    println!("\nCPU time of an issued credential, without door and disk; medians of {}\n", plan.repeats);
    println!("| algorithm | credential | µs | bare signature, µs | its share |");
    println!("| --- | --- | --- | --- | --- |");
    for algorithm in KeyAlgorithm::ALL.iter().copied() {
        let desk = Desk::open(algorithm);
        let (certificate, svid, token) = (vec![0x5a; 480], vec![0x5a; 300], vec![0x5a; 640]);
        let mut nth = 0;
        if algorithm != KeyAlgorithm::Ed25519 {
            desk.row(plan, "X.509-SVID, with its CSR", &certificate, || desk.x509_svid(&mut nth));
            desk.row(plan, "JWT-SVID", &svid, || desk.jwt_svid(&mut nth));
        }
        desk.row(plan, "transaction token, access token seen before", &token, || {
            desk.transaction_token(&mut nth, true);
        });
        desk.row(plan, "transaction token, access token new", &token, || desk.transaction_token(&mut nth, false));
    }
}

/// What a node has at hand when it issues.
struct Desk {
    key: IssuingKey,
    key_id: String,
    /// Of no use with Ed25519, which signs no certificates: an issuing CA of another kind stands in.
    issuer: IssuerView,
    svid_header: HeaderSegment,
    token_header: HeaderSegment,
    workload: SpiffeId,
    caller: Caller,
    csr: Vec<u8>,
    endpoint: Endpoint,
    policy: Policy,
    idp: KeySet,
    form: Vec<(String, String)>,
    seen: signet_model::exchange::Subject,
}

impl Desk {
    fn open(algorithm: KeyAlgorithm) -> Self {
        let trust_domain: TrustDomain = "example.org".parse().unwrap();
        let (key, _) = IssuingKey::generate(algorithm).unwrap();
        let stand_in;
        let ca_key = if algorithm == KeyAlgorithm::Ed25519 {
            (stand_in, _) = IssuingKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
            &stand_in
        } else {
            &key
        };
        let public_key = SubjectPublicKey::from_spki(ca_key.public_key()).unwrap();
        let tbs = ca::Template {
            trust_domain: &trust_domain,
            public_key: &public_key,
            serial: SerialNumber::from_random([7; 16]),
            validity: ca::validity(NOW, Duration::from_secs(48 * 3600)),
            issuer: None,
        }
        .to_be_signed();
        let certificate = tbs.assemble(&ca_key.sign(tbs.as_bytes()).unwrap());
        let issuer = IssuerView::new(&certificate, ca_key.public_key(), &trust_domain).unwrap();
        let key_id = issuer.authority_id();

        let names = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        let csr = names.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec();

        let (idp_key, _) = IssuingKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let authority = JwtAuthority {
            public_key: idp_key.public_key().to_vec(),
            key_id: "idp".to_owned(),
            expires_at_secs: 0,
            tainted: false,
        };
        let claims = json!({
            "iss": IDP, "sub": "alice", "aud": API, "client_id": "shop-web", "scope": "orders.read",
            "iat": NOW.secs(), "exp": NOW.secs() + 600, "jti": "alice-1",
        });
        let input = jws::signing_input(&HeaderSegment::new(Algorithm::Es256, "idp", "at+jwt"), &claims);
        let signature = idp_key.sign(input.as_bytes()).unwrap();
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:txn_token"),
            ("audience", "example.org"),
            ("scope", "orders.read"),
            ("subject_token", &jws::assemble(input, &signature)),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ];
        let form: Vec<_> = form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let gateway: SpiffeId = "spiffe://example.org/gateway".parse().unwrap();
        let policy = Policy::parse(&policy()).unwrap();
        let (endpoint, idp) = (Endpoint::new(trust_domain, IDP), KeySet::from_jwt_authorities(&[authority]));
        let request = Request::parse(&form).unwrap();
        let claimed = peek(&request, &gateway, &policy, &endpoint).unwrap();
        let seen = verify_subject(&claimed, &idp, &endpoint, NOW).unwrap();
        Self {
            svid_header: HeaderSegment::new(key.algorithm().jws(), &key_id, jwt_svid::TYP),
            token_header: HeaderSegment::new(key.algorithm().jws(), &key_id, TRANSACTION_TOKEN_TYP),
            key,
            key_id,
            issuer,
            workload: "spiffe://example.org/shop/checkout".parse().unwrap(),
            caller: Caller::Spiffe { id: gateway },
            csr,
            endpoint,
            policy,
            idp,
            form,
            seen,
        }
    }

    /// Both in turns, so that whatever else the machine does falls on both alike.
    fn row(&self, plan: Plan, name: &str, signed: &[u8], mut issue: impl FnMut()) {
        let (mut whole, mut bare, mut shares) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..plan.repeats {
            let signature = cpu_micros(plan, || {
                black_box(self.key.sign(signed).unwrap());
            });
            let all = cpu_micros(plan, &mut issue);
            whole.push(all);
            bare.push(signature);
            shares.push(signature / all * 100.0);
        }
        let algorithm = self.key.algorithm();
        println!("| `{algorithm}` | {name} | {:.1} | {:.1} | {:.0} % |", median(whole), median(bare), median(shares));
    }

    fn x509_svid(&self, nth: &mut u64) {
        let csr = Csr::parse(&self.csr).unwrap();
        let serial = SerialNumber::from_random(random());
        let tbs = leaf::Template {
            spiffe_id: &self.workload,
            dns_names: &[],
            ip_addresses: &[],
            public_key: csr.public_key(),
            serial,
            validity: leaf::validity(NOW, Duration::ZERO, Duration::from_secs(3600), &self.issuer),
            issuer: &self.issuer,
        }
        .to_be_signed();
        self.record(CredentialKind::X509Svid, serial.as_bytes().to_vec(), &self.workload.to_string(), tbs.digest());
        let signature = self.signature(nth, tbs.as_bytes());
        black_box(tbs.assemble(&signature));
    }

    fn jwt_svid(&self, nth: &mut u64) {
        let request = JwtSvidRequest {
            spiffe_id: &self.workload,
            audience: &["spiffe://example.org/orders".to_owned()],
            ttl: Duration::from_secs(300),
            issuer: "",
            jti: None,
        };
        let claims = jwt_svid::template(request, UnixTime::from_secs(u64::MAX / 2000), NOW).unwrap();
        let input = jws::signing_input(&self.svid_header, &claims);
        self.record(CredentialKind::JwtSvid, random().to_vec(), &self.workload.to_string(), hash(&input));
        let signature = self.signature(nth, input.as_bytes());
        black_box(jws::assemble(input, &signature));
    }

    fn transaction_token(&self, nth: &mut u64, seen: bool) {
        let request = Request::parse(&self.form).unwrap();
        let Caller::Spiffe { id } = &self.caller else { panic!("a gateway") };
        let caller = authenticate(&request, Some(id), &self.idp, &self.endpoint, NOW).unwrap();
        let claimed = peek(&request, &caller, &self.policy, &self.endpoint).unwrap();
        let fresh;
        let subject = if seen {
            // Kept under the hash of the whole token.
            black_box(hash(&request.subject_token));
            self.seen.check_time(NOW).unwrap();
            &self.seen
        } else {
            fresh = verify_subject(&claimed, &self.idp, &self.endpoint, NOW).unwrap();
            &fresh
        };
        let grant = decide(&self.policy, &caller, subject, &request).unwrap();
        let ids = TokenIds { txn: hex(&random()), jti: hex(&random()) };
        let claims = TransactionClaims::new(&self.endpoint, &request, &caller, subject, &grant, ids, NOW).unwrap();
        let input = jws::signing_input(&self.token_header, &claims);
        self.record(CredentialKind::TransactionToken, claims.jti.clone().into_bytes(), &claims.sub, hash(&input));
        let signature = self.signature(nth, input.as_bytes());
        black_box(response(&jws::assemble(input, &signature), &claims, &request));
    }

    /// The record as the journal writes it.
    fn record(&self, kind: CredentialKind, id: Vec<u8>, subject: &str, signed_hash: [u8; 32]) {
        black_box(stored::to_bytes(&IssuanceRecord {
            kind,
            id,
            subject: subject.to_owned(),
            entry: None,
            key: self.key_id.clone(),
            signed_hash,
            issued_at: NOW,
            not_after: NOW.after(Duration::from_secs(3600)),
            caller: self.caller.clone(),
        }));
    }

    /// Checks one of so many, as a server does.
    fn signature(&self, nth: &mut u64, message: &[u8]) -> Vec<u8> {
        let signature = self.key.sign(message).unwrap();
        assert!(!nth.is_multiple_of(CHECK_EVERY) || self.key.verify(message, &signature));
        *nth += 1;
        signature
    }
}

fn policy() -> String {
    json!({
        "issuers": [{"issuer": IDP, "algorithms": ["ES256"], "audiences": [API]}],
        "rules": [{
            "id": "shop",
            "callers": ["spiffe://example.org/gateway"],
            "subjects": {"issuers": [IDP], "audiences": [API]},
            "scopes": ["orders.read", "orders.write"],
            "lifetime": "60s",
        }],
    })
    .to_string()
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(text: &str) -> [u8; 32] {
    digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap()
}

const NOW: UnixTime = UnixTime::from_secs(1_795_298_400);
const IDP: &str = "https://idp.example.org";
const API: &str = "https://shop.example.org";
/// As `src/server/issue.rs` has it.
const CHECK_EVERY: u64 = 64;
