use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::test_keys::{RsaTestKey, TestKey, b64, ed25519, key_set, no_demo};

const ALL: &[Algorithm] = Algorithm::ALL;

fn only_skip(jwk: Value) -> SkipReason {
    let set = key_set(&[jwk], ALL);
    assert!(set.keys().is_empty(), "the key was taken");
    assert_eq!(set.skipped().len(), 1);
    set.skipped()[0].reason
}

fn with(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk[name] = value;
    jwk
}

#[test]
fn leaves_out_keys_that_must_not_be_believed() {
    let ec = || TestKey::new("k").jwk();
    let rsa = RsaTestKey::new();
    let small = b64([0xff; 128]);
    let cases = [
        ("J-02 symmetric", json!({ "kty": "oct", "k": "AAAA" }), SkipReason::Type),
        ("private half", with(ec(), "d", "AAAA".into()), SkipReason::Private),
        ("for encryption", with(ec(), "use", "enc".into()), SkipReason::Use),
        ("J-14 for X.509-SVIDs", with(ec(), "use", "x509-svid".into()), SkipReason::Use),
        ("for signing only", with(ec(), "key_ops", json!(["sign"])), SkipReason::Use),
        ("key_ops of a wrong type", with(ec(), "key_ops", "verify".into()), SkipReason::Use),
        ("J-04 alg of another curve", with(ec(), "alg", "ES384".into()), SkipReason::Algorithm),
        ("J-04 ES256K", with(ec(), "alg", "ES256K".into()), SkipReason::Algorithm),
        ("J-03 HS256", with(ec(), "alg", "HS256".into()), SkipReason::Algorithm),
        ("J-01 none", with(ec(), "alg", "none".into()), SkipReason::Algorithm),
        ("secp256k1", with(ec(), "crv", "secp256k1".into()), SkipReason::Type),
        ("J-10 off the curve", with(ec(), "x", b64([1; 32]).into()), SkipReason::Value),
        ("J-10 short coordinate", with(ec(), "x", b64([1; 31]).into()), SkipReason::Value),
        ("J-10 the origin", with(with(ec(), "x", b64([0; 32]).into()), "y", b64([0; 32]).into()), SkipReason::Value),
        ("J-46 padded coordinate", with(ec(), "x", format!("{}=", b64([1; 32])).into()), SkipReason::Value),
        ("J-24 kid a number", with(ec(), "kid", 7.into()), SkipReason::Kid),
        ("J-24 kid empty", with(ec(), "kid", "".into()), SkipReason::Kid),
        ("J-24 kid 64 KiB", with(ec(), "kid", "k".repeat(65_536).into()), SkipReason::Kid),
        ("J-09 RSA 1024", json!({ "kty": "RSA", "alg": "RS256", "n": small, "e": "AQAB" }), SkipReason::Value),
        ("J-09 e=1", with(rsa.jwk("r", Some("RS256")), "e", "AQ".into()), SkipReason::Value),
        ("J-09 e=3", with(rsa.jwk("r", Some("RS256")), "e", "Aw".into()), SkipReason::Value),
        ("J-09 e even", with(rsa.jwk("r", Some("RS256")), "e", b64([1, 0, 2]).into()), SkipReason::Value),
        ("J-92 RSA 16384", with(rsa.jwk("r", Some("RS256")), "n", b64([0xff; 2048]).into()), SkipReason::Value),
        ("RSA modulus even", with(rsa.jwk("r", Some("RS256")), "n", b64([0xfe; 256]).into()), SkipReason::Value),
        ("J-05 RSA without alg", rsa.jwk("r", None), SkipReason::Ambiguous),
        ("J-11 small order", json!({ "kty": "OKP", "crv": "Ed25519", "x": b64([0; 32]) }), SkipReason::Weak),
        ("not an object", json!("key"), SkipReason::NotAnObject),
        ("demo kid", with(ec(), "kid", "signet-demo-1".into()), SkipReason::Demo),
        ("demo mark", with(ec(), "signet_demo", "c".repeat(32).into()), SkipReason::Demo),
    ];
    for (name, jwk, expected) in cases {
        assert_eq!(only_skip(jwk), expected, "{name}");
    }
}

#[test]
fn refuses_an_rsa_modulus_with_the_roca_fingerprint() {
    // One more than a multiple of all the small primes: 65537 to the power of zero modulo each of them.
    let primes = (3u32..168).filter(|n| (2..*n).all(|d| n % d != 0));
    let mut product = vec![1u8];
    for prime in primes {
        let mut carry = 0;
        for digit in product.iter_mut().rev() {
            let sum = u32::from(*digit) * prime + carry;
            *digit = u8::try_from(sum & 0xff).unwrap();
            carry = sum >> 8;
        }
        product.insert(0, u8::try_from(carry).unwrap());
    }
    let mut modulus: Vec<u8> = product.into_iter().skip_while(|digit| *digit == 0).collect();
    modulus.resize(257, 0);
    modulus[256] = 1;
    let jwk = json!({ "kty": "RSA", "alg": "RS256", "n": b64(&modulus), "e": "AQAB" });
    assert_eq!(only_skip(jwk), SkipReason::Weak, "J-09 ROCA");
}

#[test]
fn a_key_has_one_algorithm() {
    let rsa = RsaTestKey::new();
    let one = key_set(&[rsa.jwk("r", None)], &[Algorithm::Es256, Algorithm::Rs256]);
    assert_eq!(one.keys()[0].algorithm(), Algorithm::Rs256, "the only RSA algorithm allowed");
    let named = key_set(&[rsa.jwk("r", Some("PS256"))], ALL);
    assert_eq!(named.find(Some("r"), Algorithm::Rs256).map(|_| ()), Err(NoKey::OtherAlgorithm), "J-05");
    let (ed, _) = ed25519("e", &json!({}), &json!({}));
    assert_eq!(key_set(&[ed], ALL).keys()[0].algorithm(), Algorithm::EdDsa);
    let narrow = key_set(&[rsa.jwk("r", Some("RS256"))], &[Algorithm::Es256]);
    assert!(narrow.keys().is_empty(), "J-12 an algorithm the issuer may not use");
}

#[test]
fn keys_that_share_a_kid_are_all_refused() {
    let (a, b, c) = (TestKey::new("same"), TestKey::new("same"), TestKey::new("other"));
    let encryption = with(TestKey::new("other").jwk(), "use", "enc".into());
    let set = key_set(&[a.jwk(), b.jwk(), c.jwk(), encryption], ALL);
    assert_eq!(set.keys().len(), 1);
    assert_eq!(set.find(Some("same"), Algorithm::Es256).map(|_| ()), Err(NoKey::Unknown), "J-24");
    assert!(set.find(Some("other"), Algorithm::Es256).is_ok());
    assert_eq!(set.skipped().iter().filter(|skip| skip.reason == SkipReason::DuplicateKid).count(), 2);
}

#[test]
fn a_token_without_kid_finds_a_key_only_when_one_fits() {
    let (a, b) = (TestKey::new("a"), TestKey::new("b"));
    assert!(key_set(&[a.jwk()], ALL).find(None, Algorithm::Es256).is_ok());
    assert_eq!(key_set(&[a.jwk()], ALL).find(None, Algorithm::Es384).map(|_| ()), Err(NoKey::Unnamed));
    assert_eq!(key_set(&[a.jwk(), b.jwk()], ALL).find(None, Algorithm::Es256).map(|_| ()), Err(NoKey::Unnamed), "J-24");
}

#[test]
fn demo_keys_serve_only_the_cluster_that_made_them() {
    let marked = with(TestKey::new("signet-demo-1").jwk(), "signet_demo", "a".repeat(32).into());
    let document = json!({ "keys": [marked] }).to_string();
    let taken = |demo, cluster: &str| {
        let rule = DemoRule { demo, cluster_id: cluster.to_owned() };
        KeySet::parse(document.as_bytes(), ALL, &rule).unwrap().keys().len()
    };
    assert_eq!(taken(true, &"a".repeat(32)), 1);
    assert_eq!(taken(false, &"a".repeat(32)), 0, "not a demonstration");
    assert_eq!(taken(true, &"b".repeat(32)), 0, "another demonstration");
}

#[test]
fn a_bundle_key_verifies_by_its_spki() {
    let key = TestKey::new("k");
    let set = KeySet::from_jwt_authorities(&[key.authority()]);
    let found = set.find(Some("k"), Algorithm::Es256).unwrap();
    assert!(found.verifies(b"message", &key.raw_signature(b"message")));
    assert!(!found.verifies(b"massage", &key.raw_signature(b"message")));
    let mut damaged = key.authority();
    damaged.public_key.truncate(60);
    assert!(KeySet::from_jwt_authorities(&[damaged]).keys().is_empty());
}

#[test]
fn refuses_documents_that_are_no_jwk_set() {
    let parse = |text: &str| KeySet::parse(text.as_bytes(), ALL, &no_demo()).map(|_| ());
    assert_eq!(parse("{}"), Err(JwksError::NoKeys));
    assert_eq!(parse(r#"{"keys":{}}"#), Err(JwksError::NoKeys));
    assert_eq!(parse(r#"{"keys":[],"keys":[]}"#), Err(JwksError::Json(JsonError::Duplicate)));
    assert_eq!(parse(&format!(r#"{{"keys":[{}]}}"#, vec!["{}"; 101].join(","))), Err(JwksError::TooManyKeys));
    assert_eq!(parse(&" ".repeat(300_000)), Err(JwksError::Json(JsonError::TooLong)));
    assert_eq!(parse(r#"{"keys":[]}"#), Ok(()));
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,200}", n in any::<Vec<u8>>(), e in proptest::collection::vec(any::<u8>(), 0..10)) {
        let _ = KeySet::parse(text.as_bytes(), ALL, &no_demo());
        let jwks = [
            json!({ "kty": "RSA", "alg": "RS256", "n": b64(&n), "e": b64(&e) }),
            json!({ "kty": "EC", "crv": "P-256", "x": b64(&n), "y": b64(&e) }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(&n) }),
        ];
        key_set(&jwks, ALL);
        let authority = JwtAuthority { public_key: n, key_id: "k".to_owned(), expires_at_secs: 0, tainted: false };
        let _ = KeySet::from_jwt_authorities(&[authority]);
    }
}
