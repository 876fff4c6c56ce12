//! The attack catalogue: what is signed rightly and still must be refused.

use proptest::prelude::*;

use super::*;
use crate::test_keys::ed25519;

const REQUEST: &str = "invalid_request";

#[test]
fn the_honest_user_is_served() {
    let world = World::new();
    let claims = world.exchange(GATEWAY, &parameters(&world.access_token(|_| ()))).unwrap();
    assert_eq!((claims.iat, claims.exp), (NOW_SECS, NOW_SECS + 60));
    assert_eq!(claims.req_wl.to_string(), GATEWAY);
}

#[test]
fn refuses_claims_that_are_not_as_they_must_be() {
    let world = World::new();
    type Change = Box<dyn Fn(&mut Value)>;
    let set = |name: &'static str, value: Value| -> Change { Box::new(move |claims| claims[name] = value.clone()) };
    let drop = |name: &'static str| -> Change {
        Box::new(move |claims| {
            claims.as_object_mut().unwrap().remove(name);
        })
    };
    let cases: Vec<(&str, Change, &str)> = vec![
        ("J-60 missing", drop("aud"), "subject_aud"),
        ("J-60 empty array", set("aud", json!([])), "subject_aud"),
        ("J-60 other", set("aud", json!("https://other")), "subject_aud"),
        ("J-60 case", set("aud", json!("https://GW.td.example")), "subject_aud"),
        ("J-60 slash", set("aud", json!("https://gw.td.example/")), "subject_aud"),
        ("J-60 port", set("aud", json!("https://gw.td.example:443")), "subject_aud"),
        ("J-60 prefix", set("aud", json!("https://gw.td.example.evil")), "subject_aud"),
        ("J-60 number", set("aud", json!([7])), "subject_aud"),
        ("J-61 missing", drop("iss"), "subject_iss"),
        ("J-61 slash", set("iss", json!("https://idp.shop.example/")), "subject_issuer"),
        ("J-61 http", set("iss", json!("http://idp.shop.example")), "subject_issuer"),
        ("J-61 user", set("iss", json!("https://idp.shop.example@evil")), "subject_issuer"),
        ("J-13 another issuer's name", set("iss", json!("https://unknown.example")), "subject_issuer"),
        ("J-62 exp missing", drop("exp"), "subject_times"),
        ("J-62 exp text", set("exp", json!("1795299180")), "subject_times"),
        ("J-62 exp float", set("exp", json!(1_795_299_180.5)), "subject_times"),
        ("J-62 exp negative", set("exp", json!(-1)), "subject_times"),
        ("J-62 exp 2^63", set("exp", json!(9_223_372_036_854_775_808_u64)), "subject_times"),
        ("J-62 exp before iat", set("iat", json!(NOW_SECS + 781)), "subject_times"),
        ("T-42 exp now", set("exp", json!(NOW_SECS)), "subject_expired"),
        ("T-42 exp within leeway", set("exp", json!(NOW_SECS - 1)), "subject_expired"),
        ("J-62 iat missing", drop("iat"), "subject_times"),
        ("J-62 iat ahead", set("iat", json!(NOW_SECS + 31)), "subject_not_yet_valid"),
        ("J-62 nbf ahead", set("nbf", json!(NOW_SECS + 31)), "subject_not_yet_valid"),
        ("J-62 nbf text", set("nbf", json!("1")), "subject_times"),
        ("J-62 lifetime", set("iat", json!(NOW_SECS - 86_400)), "subject_lifetime"),
        ("J-64 missing", drop("sub"), "subject_sub"),
        ("J-64 empty", set("sub", json!("")), "subject_sub"),
        ("J-64 number", set("sub", json!(7)), "subject_sub"),
        ("J-64 array", set("sub", json!(["u"])), "subject_sub"),
        ("J-64 2 KiB", set("sub", json!("u".repeat(2048))), "subject_sub"),
        ("J-49 NUL", set("sub", json!("u\0")), "subject_sub"),
        ("J-65 array", set("scope", json!(["orders.write"])), "subject_scope"),
        ("J-65 tab", set("scope", json!("orders.write\tx")), "subject_scope"),
        ("J-67 act", set("act", json!({ "sub": "x" })), "subject_act"),
        ("J-67 act array", set("act", json!([])), "subject_act"),
        ("J-79 may_act", set("may_act", json!({ "sub": "x" })), "subject_act"),
        ("J-77 cnf", set("cnf", json!({ "jkt": "x" })), "subject_cnf"),
        ("T-48b client_id missing", drop("client_id"), "subject_claims"),
        ("T-48b jti missing", drop("jti"), "subject_claims"),
    ];
    for (name, change, reason) in cases {
        assert_eq!(world.refusal_of(&world.access_token(|claims| change(claims))), (REQUEST, reason), "{name}");
    }
}

#[test]
fn takes_times_at_the_very_edge() {
    let world = World::new();
    let accepted =
        |change: &dyn Fn(&mut Value)| world.exchange(GATEWAY, &parameters(&world.access_token(|c| change(c))));
    assert_eq!(
        accepted(&|c| c["exp"] = json!(NOW_SECS + 1)).unwrap().exp,
        NOW_SECS + 1,
        "T-42, cut to the subject's end"
    );
    assert!(accepted(&|c| c["iat"] = json!(NOW_SECS + 30)).is_ok(), "J-63 within leeway");
    assert!(accepted(&|c| c["nbf"] = json!(NOW_SECS + 30)).is_ok(), "J-63 within leeway");
    assert!(accepted(&|c| c["aud"] = json!(["https://x", "https://gw.td.example"])).is_ok(), "J-60 ours among others");
}

#[test]
fn refuses_tokens_of_another_kind() {
    let world = World::new();
    for typ in
        ["JWT", "txntoken+jwt", "txn_token", "dpop+jwt", "wit+jwt", "logout+jwt", "oauth-id-jag+jwt", "secevent+jwt"]
    {
        let token = world.idp.sign(&world.idp.header(typ), &access_claims());
        assert_eq!(world.refusal_of(&token), (REQUEST, "subject_typ"), "J-70, J-73, J-74 {typ}");
    }
    let svid = world.svid("spiffe://td.example/job/1", |_| ());
    assert_eq!(world.refusal_of(&svid), (REQUEST, "subject_iss"), "J-70 a JWT-SVID as access_token");
    assert_eq!(world.refusal_of("e30.e30..AAAA.AAAA"), (REQUEST, "subject_malformed"), "J-43, J-90");
    let loose = |change: &dyn Fn(&mut Value)| {
        let mut claims = access_claims();
        claims["iss"] = json!("https://loose.example");
        change(&mut claims);
        world.idp.sign(&world.idp.header("JWT"), &claims)
    };
    assert!(world.exchange(GATEWAY, &parameters(&loose(&|_| ()))).is_ok());
    for (name, claim) in [("ID token", "nonce"), ("ID token", "at_hash"), ("logout token", "events"), ("DPoP", "htm")] {
        let token = loose(&|claims| claims[claim] = json!("x"));
        assert_eq!(world.refusal_of(&token), (REQUEST, "subject_kind"), "J-70 {name}");
    }
    let refresh = loose(&|claims| claims["typ"] = json!("Refresh"));
    assert_eq!(world.refusal_of(&refresh), (REQUEST, "subject_kind"), "J-73");
}

#[test]
fn refuses_wrong_keys_and_algorithms() {
    let world = World::new();
    let stranger = TestKey::new("idp-1");
    let forged = stranger.sign(&stranger.header("at+jwt"), &access_claims());
    assert_eq!(world.refusal_of(&forged), (REQUEST, "subject_signature"), "J-20");
    let unknown = TestKey::new("idp-2");
    let token = unknown.sign(&unknown.header("at+jwt"), &access_claims());
    assert_eq!(world.refusal_of(&token), (REQUEST, UNKNOWN_KEY), "J-25");
    let header = json!({ "alg": "EdDSA", "kid": "idp-1", "typ": "at+jwt" });
    let (_, token) = ed25519("idp-1", &header, &access_claims());
    assert_eq!(world.refusal_of(&token), (REQUEST, "subject_algorithm"), "J-12 not allowed for this issuer");
    let unsigned = crate::test_keys::compact(r#"{"alg":"none","typ":"at+jwt"}"#, &access_claims().to_string(), b"");
    assert_eq!(world.refusal_of(&unsigned), (REQUEST, "subject_algorithm"), "J-01");
}

#[test]
fn refuses_client_assertions_that_prove_nothing() {
    let world = World::new();
    let assertion = |sub: &str, change: &dyn Fn(&mut Value)| world.svid(sub, |claims| change(claims));
    let header = |name: &str, value: Value| {
        let mut header = world.bundle.header("JWT");
        header[name] = value;
        let claims = json!({ "sub": GATEWAY, "aud": "https://tts.td.example", "exp": NOW_SECS + 60 });
        world.bundle.sign(&header, &claims)
    };
    let cases = [
        ("J-60 several", assertion(GATEWAY, &|c| c["aud"] = json!(["https://tts.td.example", "x"])), "assertion_aud"),
        ("J-60 token URL", assertion(GATEWAY, &|c| c["aud"] = json!("https://tts.td.example/token")), "assertion_aud"),
        ("J-60 trust domain", assertion(GATEWAY, &|c| c["aud"] = json!("td.example")), "assertion_aud"),
        ("J-62 expired", assertion(GATEWAY, &|c| c["exp"] = json!(NOW_SECS)), "assertion_expired"),
        ("J-62 nbf", assertion(GATEWAY, &|c| c["nbf"] = json!(NOW_SECS + 60)), "assertion_times"),
        ("J-62 no exp", assertion(GATEWAY, &|c| c["exp"] = json!(null)), "assertion_times"),
        ("C-08 lifetime", assertion(GATEWAY, &|c| c["exp"] = json!(NOW_SECS + 301)), "assertion_lifetime"),
        ("J-64 other domain", assertion("spiffe://td.example.evil/gateway/x", &|_| ()), "assertion_sub"),
        ("J-64 upper case", assertion("spiffe://TD.example/gateway/x", &|_| ()), "assertion_sub"),
        ("J-64 scheme", assertion("SPIFFE://td.example/gateway/x", &|_| ()), "assertion_sub"),
        ("J-64 query", assertion("spiffe://td.example/gateway/x?y", &|_| ()), "assertion_sub"),
        ("J-64 percent", assertion("spiffe://td.example/gateway/%78", &|_| ()), "assertion_sub"),
        ("J-64 dots", assertion("spiffe://td.example/gateway/../x", &|_| ()), "assertion_sub"),
        ("J-64 no path", assertion("spiffe://td.example", &|_| ()), "assertion_sub"),
        ("31 extra header", header("foo", json!(1)), "assertion_header"),
        ("32 typ", header("typ", json!("at+jwt")), "assertion_typ"),
        ("T-73 transaction token", header("typ", json!("txntoken+jwt")), "assertion_typ"),
        ("30 EdDSA", header("alg", json!("EdDSA")), "assertion_algorithm"),
        ("J-24 kid", header("kid", json!("nobody")), "assertion_unknown_key"),
        ("J-26 crit", header("crit", json!(["exp"])), "assertion_header"),
        ("J-42 JSON", r#"{"payload":"e30"}"#.to_owned(), "assertion_malformed"),
    ];
    for (name, assertion, reason) in cases {
        let mut form = parameters(&world.access_token(|_| ()));
        set(&mut form, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe");
        set(&mut form, "client_assertion", &assertion);
        let error = world.exchange(GATEWAY, &form).unwrap_err();
        assert_eq!((error.status, error.code.as_str(), error.reason), (401, "invalid_client", reason), "{name}");
    }
}

#[test]
fn the_client_is_who_it_proved_to_be() {
    let world = World::new();
    let request = |client_id: &str| {
        let mut form = parameters("a.b.c");
        set(&mut form, "client_id", client_id);
        Request::parse(&form).unwrap()
    };
    let authenticated = |request: &Request, peer: Option<&str>| {
        let peer = peer.map(|peer| peer.parse().unwrap());
        authenticate(request, peer.as_ref(), &world.bundle_keys(), &world.endpoint, NOW).map_err(|error| error.reason)
    };
    assert!(authenticated(&request(GATEWAY), Some(GATEWAY)).is_ok());
    assert_eq!(authenticated(&request("spiffe://td.example/other"), Some(GATEWAY)), Err("client_id"), "J-95");
    assert_eq!(authenticated(&request(""), None), Err("no_authentication"));
    assert_eq!(authenticated(&request(""), Some("spiffe://other.example/x")), Err("caller_trust_domain"));
}

#[test]
fn scope_is_never_wider_than_subject_and_rule() {
    let world = World::new();
    let refusal = |caller: &str, scope: &str, token: &str| {
        let mut form = parameters(token);
        set(&mut form, "scope", scope);
        world.exchange(caller, &form).map(|claims| claims.scope).map_err(|error| (error.code, error.reason))
    };
    let scope = Err;
    let token = world.access_token(|c| c["scope"] = json!("orders.read admin"));
    assert_eq!(
        refusal(GATEWAY, "orders.write", &token),
        scope((OAuthCode::InvalidScope, "scope_exceeds_subject")),
        "T-44"
    );
    assert_eq!(refusal(GATEWAY, "admin", &token), scope((OAuthCode::InvalidScope, "scope_exceeds_rule")), "T-44");
    assert_eq!(refusal(GATEWAY, "orders.read", &token), Ok("orders.read".to_owned()));
    let bare = world.access_token(|c| {
        c.as_object_mut().unwrap().remove("scope");
    });
    assert_eq!(refusal(GATEWAY, "orders.read", &bare), scope((OAuthCode::InvalidScope, "scope_unknown")), "T-45, J-66");
    let lenient = "spiffe://td.example/lenient";
    assert_eq!(refusal(lenient, "orders.read", &bare), Ok("orders.read".to_owned()), "T-45");
    assert_eq!(refusal(lenient, "orders.write", &bare), scope((OAuthCode::InvalidScope, "scope_exceeds_rule")), "T-45");
    let empty = world.access_token(|c| c["scope"] = json!(""));
    assert_eq!(refusal(lenient, "orders.read", &empty), scope((OAuthCode::InvalidScope, "scope_exceeds_subject")));
}

#[test]
fn who_has_no_rule_gets_nothing() {
    let world = World::new();
    let token = world.access_token(|_| ());
    let refusal = |caller: &str| world.exchange(caller, &parameters(&token)).unwrap_err();
    assert_eq!(refusal("spiffe://td.example/thief").code, OAuthCode::UnauthorizedClient, "T-48b");
    let batch = refusal("spiffe://td.example/batch");
    assert_eq!((batch.code, batch.reason), (OAuthCode::InvalidRequest, "no_rule_for_subject"), "T-48b");
    let mut form = parameters(&token);
    set(&mut form, "audience", "other.example");
    assert_eq!(world.exchange(GATEWAY, &form).unwrap_err().code, OAuthCode::InvalidTarget, "T-23");
}

#[test]
fn a_jwt_svid_is_redeemed_as_jwt_alone() {
    let world = World::new();
    let exchange = |svid: &str, scope: &str| {
        let mut form = parameters(svid);
        set(&mut form, "subject_token_type", "urn:ietf:params:oauth:token-type:jwt");
        set(&mut form, "scope", scope);
        world.exchange("spiffe://td.example/batch", &form).map_err(|error| error.reason)
    };
    let claims = exchange(&world.svid("spiffe://td.example/job/1", |_| ()), "jobs.run").unwrap();
    assert_eq!((claims.sub.as_str(), claims.exp), ("spiffe://td.example/job/1", NOW_SECS + 30), "T-35");
    let by_domain = world.svid("spiffe://td.example/job/1", |c| c["aud"] = json!(["x", "td.example"]));
    assert!(exchange(&by_domain, "jobs.run").is_ok());
    let other_aud = world.svid("spiffe://td.example/job/1", |c| c["aud"] = json!("x"));
    assert_eq!(exchange(&other_aud, "jobs.run"), Err("subject_aud"));
    let other_sub = world.svid("spiffe://td.example/user/1", |_| ());
    assert_eq!(exchange(&other_sub, "jobs.run"), Err("no_rule_for_subject"));
    assert_eq!(exchange(&world.svid("spiffe://td.example/job/1", |_| ()), "orders.read"), Err("scope_exceeds_rule"));
    let forged = world.idp.sign(
        &world.idp.header("JWT"),
        &json!({ "sub": "spiffe://td.example/job/1", "aud": "td.example", "exp": NOW_SECS + 60, "iss": "https://idp.shop.example" }),
    );
    assert_eq!(exchange(&forged, "jobs.run"), Err(UNKNOWN_KEY), "J-13, J-14");
}

#[test]
fn two_issuers_never_share_a_subject() {
    let world = World::new();
    let sub = |iss: &str, sub: &str| {
        let token = world.access_token(|c| {
            c["iss"] = json!(iss);
            c["sub"] = json!(sub);
        });
        world.exchange(GATEWAY, &parameters(&token)).unwrap().sub
    };
    assert_eq!(sub("https://idp.shop.example", "u"), "shop:u");
    assert_eq!(sub("https://other.example", "u"), "https://other.example#u", "T-08");
    assert_ne!(sub("https://idp.shop.example", "e\u{301}"), sub("https://idp.shop.example", "\u{e9}"), "J-50");
    assert_eq!(sub("https://idp.shop.example", "spiffe://td.example/job/1"), "shop:spiffe://td.example/job/1");
}

#[test]
fn a_kept_subject_still_expires() {
    let world = World::new();
    let form = parameters(&world.access_token(|_| ()));
    let request = Request::parse(&form).unwrap();
    let claimed = peek(&request, &GATEWAY.parse().unwrap(), &world.policy, &world.endpoint).unwrap();
    let subject = verify_subject(&claimed, &world.idp_keys(), &world.endpoint, NOW).unwrap();
    assert!(subject.check_time(UnixTime::from_secs(NOW_SECS + 779)).is_ok());
    assert!(subject.check_time(UnixTime::from_secs(NOW_SECS + 780)).is_err(), "T-42");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_granted_was_asked_for_held_and_allowed(
        asked in proptest::sample::subsequence(vec!["orders.read", "orders.write", "admin", "jobs.run"], 1..4),
        held in proptest::option::of(proptest::sample::subsequence(vec!["orders.read", "orders.write", "admin"], 0..4)),
        caller in proptest::sample::select(vec![GATEWAY, "spiffe://td.example/lenient", "spiffe://td.example/batch"]),
    ) {
        let policy = Policy::parse(POLICY).unwrap();
        let issuer = policy.issuer("https://idp.shop.example").unwrap().clone();
        let subject = Subject {
            source: SubjectSource::Issuer(issuer), sub: "s".to_owned(), scope: held.clone().map(|h| h.iter().map(|w| (*w).to_owned()).collect()),
            audiences: vec!["https://gw.td.example".to_owned()], expires_at: NOW, not_before: NOW, client_id: None,
        };
        let mut form = parameters("a.b.c");
        set(&mut form, "scope", &asked.join(" "));
        let request = Request::parse(&form).unwrap();
        if let Ok(grant) = decide(&policy, &caller.parse().unwrap(), &subject, &request) {
            for word in grant.scope.words() {
                prop_assert!(asked.contains(&word));
                prop_assert!(held.as_ref().is_none_or(|held| held.contains(&word)));
                prop_assert!(["orders.read", "orders.write"].contains(&word));
                prop_assert!(held.is_some() || word == "orders.read");
            }
        }
    }

    #[test]
    fn any_bytes_as_tokens_are_refused_in_order(token in "\\PC{1,200}", claims in "\\PC{0,80}") {
        let world = World::new();
        let _ = world.exchange(GATEWAY, &parameters(&token));
        let made = world.idp.sign_texts(&world.idp.header("at+jwt").to_string(), &claims);
        prop_assert!(world.exchange(GATEWAY, &parameters(&made)).is_err());
    }
}
