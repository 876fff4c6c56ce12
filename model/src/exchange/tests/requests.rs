//! The form of a request.

use proptest::prelude::*;

use super::*;

fn refusal(name: &str, value: &str) -> (&'static str, &'static str) {
    let mut form = parameters("a.b.c");
    set(&mut form, name, value);
    let error = Request::parse(&form).unwrap_err();
    (error.code.as_str(), error.reason)
}

#[test]
fn refuses_what_the_profile_forbids() {
    let token_type = |kind: &str| format!("urn:ietf:params:oauth:token-type:{kind}");
    let request = "invalid_request";
    let cases = [
        ("T-21", "grant_type", "authorization_code".to_owned(), ("unsupported_grant_type", "grant_type")),
        ("T-21 missing", "grant_type", String::new(), (request, "missing_parameter")),
        ("T-22", "requested_token_type", token_type("access_token"), (request, "requested_token_type")),
        ("T-22 missing", "requested_token_type", String::new(), (request, "missing_parameter")),
        ("T-23 missing", "audience", String::new(), (request, "missing_parameter")),
        ("T-24", "scope", String::new(), (request, "missing_parameter")),
        ("J-65 tab", "scope", "a\tb".to_owned(), ("invalid_scope", "scope_syntax")),
        ("J-65 two spaces", "scope", "a  b".to_owned(), ("invalid_scope", "scope_syntax")),
        ("J-65 unicode space", "scope", "a\u{a0}b".to_owned(), ("invalid_scope", "scope_syntax")),
        ("J-65 many", "scope", vec!["a"; 10_000].join(" "), ("invalid_scope", "scope_syntax")),
        ("T-25", "subject_token", String::new(), (request, "missing_parameter")),
        ("T-26", "subject_token_type", String::new(), (request, "missing_parameter")),
        ("T-26 no URI", "subject_token_type", "jwt".to_owned(), (request, "subject_token_type")),
        ("T-31", "subject_token_type", token_type("refresh_token"), (request, "subject_token_type")),
        ("T-32", "subject_token_type", token_type("self_signed"), (request, "subject_token_type")),
        ("T-33", "subject_token_type", token_type("unsigned_json"), (request, "subject_token_type")),
        ("T-36", "subject_token_type", token_type("txn_token"), (request, "subject_token_type")),
        ("T-36 hyphen", "subject_token_type", token_type("txn-token"), (request, "subject_token_type")),
        ("T-30 saml2", "subject_token_type", token_type("saml2"), (request, "subject_token_type")),
        ("T-30 id_token", "subject_token_type", token_type("id_token"), (request, "subject_token_type")),
        ("X-03", "actor_token_type", token_type("jwt"), (request, "actor_token_type")),
        ("X-03 other way", "actor_token", "x".to_owned(), (request, "actor_token_type")),
        ("X-02 resource", "resource", "https://r.example".to_owned(), ("invalid_target", "resource")),
        ("T-70", "client_secret", "s".to_owned(), ("invalid_client", "client_secret")),
        ("C-01 type alone", "client_assertion_type", "x".to_owned(), (request, "client_assertion_type")),
        ("T-27 array", "request_context", "[]".to_owned(), (request, "context_malformed")),
        ("T-27 syntax", "request_details", "{".to_owned(), (request, "context_malformed")),
        ("T-27 duplicate", "request_details", r#"{"a":1,"a":2}"#.to_owned(), (request, "context_malformed")),
        ("T-15 size", "request_details", format!(r#"{{"a":"{}"}}"#, "x".repeat(4096)), (request, "context_malformed")),
        ("T-15 number", "request_details", r#"{"a":9007199254740993}"#.to_owned(), (request, "context_malformed")),
        (
            "T-15 depth",
            "request_context",
            format!("{}1{}", r#"{"a":"#.repeat(9), "}".repeat(9)),
            (request, "context_malformed"),
        ),
    ];
    for (name, parameter, value, expected) in cases {
        assert_eq!(refusal(parameter, &value), expected, "{name}");
    }
}

#[test]
fn refuses_repeated_parameters_and_ignores_unknown_ones() {
    let mut form = parameters("a.b.c");
    form.push(("scope".to_owned(), "orders.read".to_owned()));
    assert_eq!(Request::parse(&form).unwrap_err().reason, "duplicate_parameter", "J-95");
    let mut form = parameters("a.b.c");
    form.push(("audience".to_owned(), "td.example".to_owned()));
    assert_eq!(Request::parse(&form).unwrap_err().code, OAuthCode::InvalidTarget, "T-23 two audiences");
    let mut form = parameters("a.b.c");
    form.extend(["foo", "foo"].map(|name| (name.to_owned(), "x".to_owned())));
    assert!(Request::parse(&form).is_ok(), "T-28");
    form.extend(vec![("foo".to_owned(), String::new()); 100]);
    assert_eq!(Request::parse(&form).unwrap_err().reason, "too_many_parameters");
}

#[test]
fn refuses_two_kinds_of_client_authentication() {
    let mut form = parameters("a.b.c");
    set(&mut form, "client_secret", "s");
    set(&mut form, "client_assertion", "x.y.z");
    set(&mut form, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe");
    assert_eq!(Request::parse(&form).unwrap_err().code, OAuthCode::InvalidRequest, "J-95");
    form.retain(|(name, _)| name != "client_secret");
    let request = Request::parse(&form).unwrap();
    let world = World::new();
    let peer = GATEWAY.parse().unwrap();
    let both = authenticate(&request, Some(&peer), &world.bundle_keys(), &world.endpoint, NOW).unwrap_err();
    assert_eq!((both.status, both.code), (400, OAuthCode::InvalidRequest));
}

#[test]
fn no_credential_gets_into_the_transaction_token() {
    let world = World::new();
    let token = world.access_token(|_| ());
    let payload = token.split('.').nth(1).unwrap().to_owned();
    for leak in [
        json!({ "authorization": format!("Bearer {token}") }),
        json!({ "a": [{ "b": payload }] }),
        json!({ payload.as_str(): 1 }),
        json!({ "jws": format!("x.{payload}.y") }),
    ] {
        for name in ["request_context", "request_details"] {
            let mut form = parameters(&token);
            set(&mut form, name, &leak.to_string());
            assert_eq!(world.exchange(GATEWAY, &form).unwrap_err().reason, "token_in_context", "T-14 {name}");
        }
    }
}

#[test]
fn details_cannot_set_claims_of_the_token() {
    let world = World::new();
    let mut form = parameters(&world.access_token(|_| ()));
    set(&mut form, "request_details", r#"{"sub":"root","aud":"evil","scope":"all","exp":9}"#);
    let claims = world.exchange(GATEWAY, &form).unwrap();
    assert_eq!(
        (claims.sub.as_str(), claims.aud.as_str(), claims.scope.as_str()),
        ("shop:u-84213", "td.example", "orders.write")
    );
}

#[test]
fn descriptions_hold_only_what_oauth_allows() {
    let error = OAuthError::new(OAuthCode::InvalidRequest, "x", "a\"b\\c\r\n\u{e9}\0d");
    assert_eq!(error.description, "a'b?c????d");
    let body: Value = serde_json::from_slice(&error.body()).unwrap();
    assert_eq!(body["error"], "invalid_request");
}

proptest! {
    #[test]
    fn never_panics(form in proptest::collection::vec((
        prop_oneof![Just("scope".to_owned()), Just("request_context".to_owned()), Just("subject_token".to_owned()), "\\PC{0,8}"],
        "\\PC{0,60}",
    ), 0..6)) {
        let _ = Request::parse(&form);
        let mut whole = parameters("a.b.c");
        whole.retain(|(name, _)| !form.iter().any(|(other, _)| other == name));
        whole.extend(form);
        if let Err(error) = Request::parse(&whole) {
            prop_assert!(error.description.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\'));
        }
    }

    #[test]
    fn scope_prints_and_parses(words in proptest::collection::vec("[!#-\\[\\]-~]{1,8}", 0..8)) {
        let scope: Scope = words.into_iter().collect();
        prop_assert_eq!(scope.to_string().parse::<Scope>(), Ok(scope));
    }

    #[test]
    fn scope_never_panics(text in "\\PC{0,80}") {
        let _ = text.parse::<Scope>();
    }
}
