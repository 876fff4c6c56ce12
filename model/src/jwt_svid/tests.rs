use serde_json::json;

use super::*;
use crate::test_keys::TestKey;

const NOW: UnixTime = UnixTime::from_secs(1_795_298_400);

fn request<'a>(id: &'a SpiffeId, audience: &'a [String], ttl_secs: u64) -> JwtSvidRequest<'a> {
    JwtSvidRequest { spiffe_id: id, audience, ttl: Duration::from_secs(ttl_secs), issuer: "", jti: None }
}

#[test]
fn has_the_claims_of_the_profile() {
    let (id, audience) = ("spiffe://td.example/w".parse().unwrap(), ["a".to_owned()]);
    let claims = template(request(&id, &audience, 300), NOW.after(Duration::from_secs(3600)), NOW).unwrap();
    let expected = json!({ "sub": "spiffe://td.example/w", "aud": ["a"], "exp": 1_795_298_700, "iat": 1_795_298_400 });
    assert_eq!(serde_json::to_value(claims).unwrap(), expected);
    let full = JwtSvidRequest { issuer: "https://i", jti: Some("j".to_owned()), ..request(&id, &audience, 300) };
    let claims = serde_json::to_value(template(full, NOW.after(Duration::from_secs(3600)), NOW).unwrap()).unwrap();
    assert_eq!((&claims["iss"], &claims["jti"]), (&json!("https://i"), &json!("j")));
}

#[test]
fn never_outlives_its_key() {
    let (id, audience) = ("spiffe://td.example/w".parse().unwrap(), ["a".to_owned()]);
    let claims = template(request(&id, &audience, 300), NOW.after(Duration::from_secs(10)), NOW).unwrap();
    assert_eq!(claims.exp, NOW.secs() + 10);
    assert!(template(request(&id, &audience, 300), NOW, NOW).is_err(), "the key has expired");
    assert!(template(request(&id, &audience, 0), NOW.after(Duration::from_secs(10)), NOW).is_err());
}

#[test]
fn refuses_to_name_nobody() {
    let id: SpiffeId = "spiffe://td.example/w".parse().unwrap();
    let key_end = NOW.after(Duration::from_secs(3600));
    for audience in [vec![], vec![String::new()], vec!["a".to_owned(); 33], vec!["a".repeat(5000)]] {
        assert!(template(request(&id, &audience, 300), key_end, NOW).is_err(), "34 {audience:?}");
    }
    let domain = "spiffe://td.example".parse().unwrap();
    assert!(template(request(&domain, &["a".to_owned()], 300), key_end, NOW).is_err());
}

#[test]
fn what_is_issued_is_accepted_for_its_audience_until_it_expires() {
    let key = TestKey::new("k");
    let keys = KeySet::from_jwt_authorities(&[key.authority()]);
    let domain: TrustDomain = "td.example".parse().unwrap();
    let (id, audience) = ("spiffe://td.example/w".parse().unwrap(), ["a".to_owned(), "b".to_owned()]);
    let claims = template(request(&id, &audience, 300), NOW.after(Duration::from_secs(3600)), NOW).unwrap();
    let input = crate::jws::signing_input(&crate::jws::HeaderSegment::new(Algorithm::Es256, "k", TYP), &claims);
    let signature = key.raw_signature(input.as_bytes());
    let token = crate::jws::assemble(input, &signature);
    let check =
        |rule, now| validate(&Compact::parse(&token).unwrap(), &keys, &domain, rule, now).map(|svid| svid.spiffe_id);
    assert_eq!(check(AudienceRule::AnyOf(&["b"]), NOW), Ok(id.clone()));
    assert_eq!(check(AudienceRule::AnyOf(&["c"]), NOW), Err(JwtSvidError::Audience), "34");
    assert_eq!(check(AudienceRule::Solely("a"), NOW), Err(JwtSvidError::Audience));
    assert_eq!(check(AudienceRule::AnyOf(&["b"]), UnixTime::from_secs(NOW.secs() + 299)), Ok(id));
    assert_eq!(
        check(AudienceRule::AnyOf(&["b"]), UnixTime::from_secs(NOW.secs() + 300)),
        Err(JwtSvidError::Expired),
        "35"
    );
}

#[test]
fn refuses_headers_that_no_jwt_svid_has() {
    let key = TestKey::new("k");
    let keys = KeySet::from_jwt_authorities(&[key.authority()]);
    let domain: TrustDomain = "td.example".parse().unwrap();
    let claims = json!({ "sub": "spiffe://td.example/w", "aud": "a", "exp": NOW.secs() + 60 });
    let check = |header: serde_json::Value| {
        let token = key.sign(&header, &claims);
        validate(&Compact::parse(&token).unwrap(), &keys, &domain, AudienceRule::Solely("a"), NOW).map(|_| ())
    };
    assert_eq!(check(json!({ "alg": "ES256", "kid": "k" })), Ok(()), "32 typ may be absent");
    assert_eq!(check(json!({ "alg": "ES256", "kid": "k", "typ": "JOSE" })), Ok(()), "32");
    assert_eq!(check(json!({ "alg": "ES256", "kid": "k", "typ": "wit+jwt" })), Err(VerifyError::Type.into()), "32");
    assert_eq!(check(json!({ "alg": "ES256", "typ": "JWT" })), Err(JwtSvidError::NoKeyName), "38");
    assert_eq!(check(json!({ "alg": "ES256", "kid": "k", "jku": "https://x" })), Err(JwtSvidError::Header), "31, J-21");
    assert_eq!(check(json!({ "alg": "HS256", "kid": "k" })), Err(VerifyError::Algorithm.into()), "30");
    assert_eq!(check(json!({ "alg": "EdDSA", "kid": "k" })), Err(VerifyError::Algorithm.into()), "30");
}
