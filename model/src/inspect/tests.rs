use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::jwks::Algorithm;
use crate::svid::TrustBundle;
use crate::test_keys::{TestKey, key_set};

const NOW: UnixTime = UnixTime::from_secs(1_795_298_400);

fn bundle(key: &TestKey) -> TrustBundle {
    TrustBundle {
        trust_domain: "td.example".parse().unwrap(),
        x509_authorities: Vec::new(),
        jwt_authorities: vec![key.authority()],
        refresh_hint_secs: 300,
        sequence_number: 1,
    }
}

fn problems(report: &Report) -> Vec<&'static str> {
    report.checks.iter().filter(|check| check.verdict == Verdict::Problem).map(|check| check.what).collect()
}

#[test]
fn a_good_transaction_token_has_nothing_wrong() {
    let (key, svid_key) = (TestKey::new("t"), TestKey::new("s"));
    let keys = key_set(&[key.jwk()], &[Algorithm::Es256]);
    let bundle = bundle(&svid_key);
    let claims = json!({
        "iss": "https://tts", "iat": NOW.secs(), "exp": NOW.secs() + 60, "aud": "td.example", "txn": "x", "jti": "j",
        "sub": "u", "scope": "a", "req_wl": "spiffe://td.example/gw",
    });
    let token = key.sign(&key.header("txntoken+jwt"), &claims);
    let known = Known { bundle: Some(&bundle), transaction_token_keys: Some(&keys), issuer_keys: None };
    let report = inspect(format!("{token}\n").as_bytes(), &known, NOW);
    assert_eq!(report.kind, "transaction token");
    assert!(report.is_good(), "{report:?}");
    let signature = token.rsplit('.').next().unwrap();
    assert!(!serde_json::to_string(&report).unwrap().contains(signature));
    let late = inspect(token.as_bytes(), &known, UnixTime::from_secs(NOW.secs() + 100));
    assert_eq!(problems(&late), ["exp"]);
    assert!(late.checks.iter().any(|check| check.words == "it expired 40 s ago"));
    let unknown = inspect(token.as_bytes(), &Known::default(), NOW);
    assert!(!unknown.is_good() && problems(&unknown).is_empty());
}

#[test]
fn says_all_that_is_wrong_with_a_jwt_svid() {
    let (key, other) = (TestKey::new("s"), TestKey::new("s"));
    let bundle = bundle(&key);
    let known = Known { bundle: Some(&bundle), transaction_token_keys: None, issuer_keys: None };
    let header = json!({ "alg": "ES256", "kid": "s", "typ": "JWT", "jwk": other.jwk() });
    let claims = json!({ "sub": "spiffe://evil.example/w", "iat": NOW.secs() + 90, "exp": NOW.secs() - 1 });
    let report = inspect(other.sign(&header, &claims).as_bytes(), &known, NOW);
    assert_eq!(report.kind, "JWT-SVID");
    for expected in ["signature", "sub", "header", "aud", "jwk", "exp", "iat", "claims"] {
        assert!(problems(&report).contains(&expected), "{expected} in {report:?}");
    }
    let good = json!({ "sub": "spiffe://td.example/w", "aud": ["a"], "exp": NOW.secs() + 60 });
    assert!(inspect(key.sign(&key.header("JWT"), &good).as_bytes(), &known, NOW).is_good());
}

#[test]
fn an_access_token_is_verified_when_its_issuers_keys_are_given() {
    let (key, other) = (TestKey::new("i"), TestKey::new("i"));
    let claims = json!({
        "iss": "https://idp", "sub": "u", "aud": "a", "client_id": "c", "jti": "j", "iat": NOW.secs(), "exp": NOW.secs() + 60,
    });
    let token = key.sign(&key.header("at+jwt"), &claims);
    let unknown = inspect(token.as_bytes(), &Known::default(), NOW);
    assert!(!unknown.is_good() && problems(&unknown).is_empty(), "{unknown:?}");
    for (signer, good) in [(&key, true), (&other, false)] {
        let keys = key_set(&[signer.jwk()], &[Algorithm::Es256]);
        let report = inspect(token.as_bytes(), &Known { issuer_keys: Some(&keys), ..Known::default() }, NOW);
        assert_eq!((report.kind.as_str(), report.is_good()), ("access token", good), "{report:?}");
    }
}

#[test]
fn says_what_is_no_token() {
    let kind = |input: &[u8]| inspect(input, &Known::default(), NOW).kind;
    for input in
        [&b""[..], b"hello", b"\xff\xfe", b"a.b.c", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    {
        assert!(!inspect(input, &Known::default(), NOW).is_good(), "{input:?}");
    }
    assert_eq!(kind(b"hello"), "unreadable");
    assert_eq!(kind(b"0\x03abc"), "certificate");
}

proptest! {
    #[test]
    fn never_panics(bytes in any::<Vec<u8>>(), text in "\\PC{0,100}") {
        let _ = inspect(&bytes, &Known::default(), NOW);
        let _ = inspect(text.as_bytes(), &Known::default(), NOW);
        let _ = inspect(&[&[0x30][..], &bytes].concat(), &Known::default(), NOW);
    }
}
