use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256};
use serde_json::{Value, json};

use super::*;
use crate::test_keys::{RsaTestKey, TestKey, b64, compact, ed25519, key_set};

const EXPECT: Expect<'static> = Expect { algorithms: Algorithm::ALL, types: &["jwt"], typ_may_be_absent: false };

fn outcome(token: &str, keys: &KeySet) -> Result<(), VerifyError> {
    verify(&Compact::parse(token)?, keys, &EXPECT).map(|_| ())
}

fn claims() -> Value {
    json!({ "sub": "u" })
}

#[test]
fn verifies_every_family() {
    let (ec, rsa) = (TestKey::new("ec"), RsaTestKey::new());
    let header = |alg: &str, kid: &str| json!({ "alg": alg, "kid": kid, "typ": "JWT" });
    let (ed, by_ed) = ed25519("ed", &header("EdDSA", "ed"), &claims());
    let keys = key_set(&[ec.jwk(), rsa.jwk("rs", Some("RS256")), rsa.jwk("ps", Some("PS256")), ed], Algorithm::ALL);
    assert_eq!(outcome(&ec.sign(&ec.header("JWT"), &claims()), &keys), Ok(()));
    assert_eq!(outcome(&rsa.sign(&RSA_PKCS1_SHA256, &header("RS256", "rs"), &claims()), &keys), Ok(()));
    assert_eq!(outcome(&rsa.sign(&RSA_PSS_SHA256, &header("PS256", "ps"), &claims()), &keys), Ok(()));
    assert_eq!(outcome(&by_ed, &keys), Ok(()));
    let swapped = rsa.sign(&RSA_PSS_SHA256, &header("PS256", "rs"), &claims());
    assert_eq!(outcome(&swapped, &keys), Err(VerifyError::Algorithm), "J-05 one key, two algorithms");
}

#[test]
fn refuses_algorithm_tricks() {
    let key = TestKey::new("k");
    let keys = key_set(&[key.jwk()], Algorithm::ALL);
    for alg in ["none", "None", "NONE", "nOnE", "", "es256", "ES256K", "HS256", "HS384", "HS512", "ES384", "RS256"] {
        let header = json!({ "alg": alg, "kid": "k", "typ": "JWT" }).to_string();
        assert_eq!(outcome(&compact(&header, "{}", b""), &keys), Err(VerifyError::Algorithm), "J-01, J-03, J-04 {alg}");
        let signed = key.sign_texts(&header, "{}");
        assert_eq!(outcome(&signed, &keys), Err(VerifyError::Algorithm), "J-01, J-03, J-04 signed as {alg}");
    }
    for alg in [json!(null), json!(1), json!(["ES256"])] {
        let header = json!({ "alg": alg, "kid": "k", "typ": "JWT" });
        assert_eq!(outcome(&key.sign(&header, &claims()), &keys), Err(VerifyError::Algorithm));
    }
    assert_eq!(outcome(&key.sign(&json!({ "kid": "k", "typ": "JWT" }), &claims()), &keys), Err(VerifyError::Algorithm));
}

#[test]
fn a_public_key_is_no_secret() {
    let key = TestKey::new("k");
    let keys = key_set(&[key.jwk()], Algorithm::ALL);
    let header = json!({ "alg": "HS256", "kid": "k", "typ": "JWT" }).to_string();
    let input = format!("{}.{}", b64(&header), b64("{}"));
    for secret in [key.spki(), key.jwk().to_string().into_bytes(), format!("{}\n", key.jwk()).into_bytes(), Vec::new()]
    {
        let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
        let token = format!("{input}.{}", b64(aws_lc_rs::hmac::sign(&secret, input.as_bytes())));
        assert_eq!(outcome(&token, &keys), Err(VerifyError::Algorithm), "J-02, J-03");
    }
}

#[test]
fn refuses_signatures_that_are_none() {
    let key = TestKey::new("k");
    let keys = key_set(&[key.jwk()], Algorithm::ALL);
    let header = key.header("JWT").to_string();
    let input = format!("{}.{}", b64(&header), b64("{}"));
    let good = key.raw_signature(input.as_bytes());
    let der = crate::jwk::signature_to_der(&good);
    let order = hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    let mut cases = vec![
        ("zeros", vec![0; 64]),
        ("r = s = n", [order.clone(), order.clone()].concat()),
        ("s = n", [good[..32].to_vec(), order].concat()),
        ("DER", der),
        ("63 bytes", good[..63].to_vec()),
        ("65 bytes", [good.clone(), vec![0]].concat()),
        ("nothing", Vec::new()),
        ("32 bytes", good[..32].to_vec()),
    ];
    let mut flipped = good.clone();
    flipped[40] ^= 1;
    cases.push(("one bit", flipped));
    for (name, signature) in cases {
        assert_eq!(outcome(&format!("{input}.{}", b64(signature)), &keys), Err(VerifyError::Signature), "J-06 {name}");
    }
    assert_eq!(outcome(&format!("{input}.{}", b64(good)), &keys), Ok(()));
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn keys_in_the_header_are_not_looked_at() {
    let (ours, attacker) = (TestKey::new("k"), TestKey::new("k"));
    let keys = key_set(&[ours.jwk()], Algorithm::ALL);
    let injections = [
        ("J-20 jwk", "jwk", attacker.jwk()),
        ("J-21 jku", "jku", json!("http://169.254.169.254/keys")),
        ("J-22 x5u", "x5u", json!("file:///etc/passwd")),
        ("J-23 x5c", "x5c", json!([b64(attacker.spki())])),
        ("J-31 unknown", "foo", json!({ "a": [1] })),
    ];
    for (name, member, value) in injections {
        let mut header = ours.header("JWT");
        header[member] = value;
        assert_eq!(outcome(&attacker.sign(&header, &claims()), &keys), Err(VerifyError::Signature), "{name}");
        assert_eq!(outcome(&ours.sign(&header, &claims()), &keys), Ok(()), "{name}, ignored");
    }
}

#[test]
fn refuses_headers_that_change_the_meaning() {
    let key = TestKey::new("k");
    let keys = key_set(&[key.jwk()], Algorithm::ALL);
    let cases = [
        ("J-26 crit", "crit", json!(["exp"]), VerifyError::Extension),
        ("J-26 crit empty", "crit", json!([]), VerifyError::Extension),
        ("J-26 crit absent parameter", "crit", json!(["nope"]), VerifyError::Extension),
        ("J-27 b64", "b64", json!(false), VerifyError::Extension),
        ("J-29 cty", "cty", json!("JWT"), VerifyError::Extension),
        ("J-29 zip", "zip", json!("DEF"), VerifyError::Extension),
        ("J-28 typ other", "typ", json!("at+jwt"), VerifyError::Type),
        ("J-28 typ array", "typ", json!(["JWT"]), VerifyError::Type),
        ("J-28 typ number", "typ", json!(7), VerifyError::Type),
        ("J-24 path", "kid", json!("../../dev/null"), VerifyError::UnknownKey),
        ("J-24 SQL", "kid", json!("' OR 1=1--"), VerifyError::UnknownKey),
        ("J-24 LDAP", "kid", json!("*)("), VerifyError::UnknownKey),
        ("J-24 NUL", "kid", json!("k\0"), VerifyError::UnknownKey),
        ("J-24 CRLF", "kid", json!("k\r\nx"), VerifyError::UnknownKey),
        ("J-24 case", "kid", json!("K"), VerifyError::UnknownKey),
        ("J-24 long", "kid", json!("k".repeat(600)), VerifyError::KeyName),
        ("J-24 number", "kid", json!(1), VerifyError::KeyName),
        ("J-24 array", "kid", json!(["k"]), VerifyError::KeyName),
    ];
    for (name, member, value, expected) in cases {
        let mut header = key.header("JWT");
        header[member] = value;
        assert_eq!(outcome(&key.sign(&header, &claims()), &keys), Err(expected), "{name}");
    }
    let untyped = key.sign(&json!({ "alg": "ES256", "kid": "k" }), &claims());
    assert_eq!(outcome(&untyped, &keys), Err(VerifyError::Type), "J-28 typ missing");
    let long_form = key.sign(&key.header("application/JWT"), &claims());
    assert_eq!(outcome(&long_form, &keys), Ok(()), "the long form of typ");
}

#[test]
fn an_unnamed_key_is_found_only_when_it_is_the_only_one() {
    let (a, b) = (TestKey::new("a"), TestKey::new("b"));
    let token = a.sign(&json!({ "alg": "ES256", "typ": "JWT" }), &claims());
    assert_eq!(outcome(&token, &key_set(&[a.jwk()], Algorithm::ALL)), Ok(()));
    assert_eq!(outcome(&token, &key_set(&[a.jwk(), b.jwk()], Algorithm::ALL)), Err(VerifyError::UnnamedKey), "J-24");
}

#[test]
fn errors_hold_no_token() {
    let key = TestKey::new("k");
    let keys = key_set(&[key.jwk()], Algorithm::ALL);
    for header in [json!({ "alg": "canary" }), json!({ "alg": "ES256", "kid": "canary", "typ": "JWT" })] {
        let error = outcome(&key.sign(&header, &json!({ "sub": "canary" })), &keys).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
