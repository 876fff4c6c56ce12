//! The attack catalogue as far as it can be played without a network, and the worked examples.

mod attacks;
mod documents;
mod examples;
mod requests;

use serde_json::{Value, json};

use super::*;
use crate::jwks::{Algorithm, KeySet};
use crate::policy::Policy;
use crate::spiffe_id::SpiffeId;
use crate::test_keys::{TestKey, key_set};
use crate::time::UnixTime;

const NOW: UnixTime = UnixTime::from_secs(1_795_298_400);
const NOW_SECS: u64 = 1_795_298_400;
const GATEWAY: &str = "spiffe://td.example/gateway/eu-1";

const POLICY: &str = r#"
issuers:
  - issuer: https://idp.shop.example
    audiences: [https://gw.td.example]
    leeway: 30s
    subject_prefix: shop
  - issuer: https://other.example
    audiences: [https://gw.td.example]
  - issuer: https://loose.example
    audiences: [https://gw.td.example]
    typ: JWT
rules:
  - id: gateway
    callers: ["spiffe://td.example/gateway/*"]
    subjects:
      issuers: [https://idp.shop.example, https://other.example, https://loose.example]
      audiences: [https://gw.td.example]
    scopes: [orders.read, orders.write]
  - id: batch
    callers: [spiffe://td.example/batch]
    subjects: { jwt_svids: ["spiffe://td.example/job/*"] }
    scopes: [jobs.run]
    lifetime: 30s
  - id: unscoped
    callers: [spiffe://td.example/lenient]
    subjects: { issuers: [https://idp.shop.example], audiences: [https://gw.td.example] }
    scopes: [orders.read, orders.write]
    default_scopes: [orders.read]
"#;

/// One token endpoint with one issuer's key and one bundle key.
struct World {
    endpoint: Endpoint,
    policy: Policy,
    idp: TestKey,
    bundle: TestKey,
}

impl World {
    fn new() -> Self {
        Self {
            endpoint: Endpoint::new("td.example".parse().unwrap(), "https://tts.td.example"),
            policy: Policy::parse(POLICY).unwrap(),
            idp: TestKey::new("idp-1"),
            bundle: TestKey::new("td-jwt-7"),
        }
    }

    fn bundle_keys(&self) -> KeySet {
        KeySet::from_jwt_authorities(&[self.bundle.authority()])
    }

    fn idp_keys(&self) -> KeySet {
        key_set(&[self.idp.jwk()], &[Algorithm::Es256])
    }

    fn access_token(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = access_claims();
        change(&mut claims);
        self.idp.sign(&self.idp.header("at+jwt"), &claims)
    }

    fn svid(&self, sub: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut claims =
            json!({ "sub": sub, "aud": ["https://tts.td.example"], "iat": NOW_SECS, "exp": NOW_SECS + 300 });
        change(&mut claims);
        self.bundle.sign(&self.bundle.header("JWT"), &claims)
    }

    /// The whole way for a caller proven by TLS.
    fn exchange(&self, caller: &str, parameters: &[(String, String)]) -> Result<TransactionClaims, OAuthError> {
        self.exchange_at(caller, parameters, NOW)
    }

    fn exchange_at(
        &self,
        caller: &str,
        parameters: &[(String, String)],
        now: UnixTime,
    ) -> Result<TransactionClaims, OAuthError> {
        let request = Request::parse(parameters)?;
        let peer: SpiffeId = caller.parse().unwrap();
        let mtls = request.client_assertion.is_none().then_some(&peer);
        let caller = authenticate(&request, mtls, &self.bundle_keys(), &self.endpoint, now)?;
        let claimed = peek(&request, &caller, &self.policy, &self.endpoint)?;
        let keys = match &claimed {
            Claimed::AccessToken { .. } => self.idp_keys(),
            Claimed::JwtSvid { .. } => self.bundle_keys(),
        };
        let subject = verify_subject(&claimed, &keys, &self.endpoint, now)?;
        let grant = decide(&self.policy, &caller, &subject, &request)?;
        let ids = TokenIds { txn: "txn-1".to_owned(), jti: "jti-1".to_owned() };
        TransactionClaims::new(&self.endpoint, &request, &caller, &subject, &grant, ids, now)
    }

    fn refusal_of(&self, subject_token: &str) -> (&'static str, &'static str) {
        let error = self.exchange(GATEWAY, &parameters(subject_token)).unwrap_err();
        assert_eq!(error.status, error.code.status());
        assert!(!error.description.contains(subject_token.split('.').nth(1).unwrap_or("none")));
        (error.code.as_str(), error.reason)
    }
}

fn access_claims() -> Value {
    json!({
        "iss": "https://idp.shop.example", "sub": "u-84213", "aud": "https://gw.td.example", "client_id": "web-7",
        "scope": "orders.read orders.write", "iat": NOW_SECS - 120, "exp": NOW_SECS + 780, "jti": "at-1",
    })
}

fn parameters(subject_token: &str) -> Vec<(String, String)> {
    [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:txn_token"),
        ("audience", "td.example"),
        ("scope", "orders.write"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token", subject_token),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn set(parameters: &mut Vec<(String, String)>, name: &str, value: &str) {
    parameters.retain(|(known, _)| known != name);
    parameters.push((name.to_owned(), value.to_owned()));
}
