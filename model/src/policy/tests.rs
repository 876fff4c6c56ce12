use proptest::prelude::*;

use super::*;

const GOOD: &str = r#"
issuers:
  - issuer: https://idp.shop.example
    jwks_uri: https://idp.shop.example/jwks
    algorithms: [ES256, RS256]
    audiences: [https://gw.td.example]
    subject_prefix: shop
  - issuer: http://127.0.0.1:9000
    audiences: [api]
    typ: JWT
    max_lifetime: 1h
    leeway: 0s
    demo: true
rules:
  - id: gateway-orders
    callers: ["spiffe://td.example/gateway/*", spiffe://td.example/edge]
    subjects:
      issuers: [https://idp.shop.example]
      audiences: [https://gw.td.example]
    scopes: [orders.read, orders.write]
    default_scopes: [orders.read]
    lifetime: 2m
  - id: agents
    callers: [spiffe://td.example/agent]
    subjects:
      jwt_svids: ["spiffe://td.example/batch/*"]
    scopes: [jobs.run]
"#;

#[test]
fn reads_a_whole_document() {
    let policy = Policy::parse(GOOD).unwrap();
    let shop = policy.issuer("https://idp.shop.example").unwrap();
    assert_eq!(shop.subject_prefix, "shop:");
    assert_eq!(shop.keys, KeySource::JwksUri("https://idp.shop.example/jwks".to_owned()));
    assert_eq!(shop.types, ["at+jwt"]);
    let local = policy.issuer("http://127.0.0.1:9000").unwrap();
    assert_eq!(local.subject_prefix, "http://127.0.0.1:9000#");
    assert_eq!((local.keys.clone(), local.demo), (KeySource::Discovery, true));
    assert_eq!((local.max_lifetime, local.leeway), (Duration::from_secs(3600), Duration::ZERO));
    assert_eq!(local.algorithms, [Algorithm::Es256]);
    let rules = policy.rules();
    assert_eq!(rules[0].lifetime, Duration::from_secs(120));
    assert_eq!(rules[1].lifetime, Duration::from_secs(60));
    assert_eq!(rules[1].default_scopes.as_ref().map(Scope::to_string).as_deref(), Some("jobs.run"));
    assert!(policy.issuer("https://idp.shop.example/").is_none(), "J-61 compared exactly");
}

#[test]
fn finds_rules_by_caller_pattern_and_subject() {
    let policy = Policy::parse(GOOD).unwrap();
    let found = |caller: &str, issuer: &str, audience: &str| {
        let audiences = [audience.to_owned()];
        let rules = policy.rules_for(&caller.parse().unwrap(), Sought::AccessToken { issuer, audiences: &audiences });
        rules.iter().map(|rule| rule.id.clone()).collect::<Vec<_>>()
    };
    let (shop, gateway) = ("https://idp.shop.example", "https://gw.td.example");
    assert_eq!(found("spiffe://td.example/gateway/eu-1", shop, gateway), ["gateway-orders"]);
    assert_eq!(found("spiffe://td.example/gateway/eu/1", shop, gateway), ["gateway-orders"]);
    assert_eq!(found("spiffe://td.example/edge", shop, gateway), ["gateway-orders"]);
    for caller in [
        "spiffe://td.example/gateway",
        "spiffe://td.example/gateway2/x",
        "spiffe://td.example/edge/x",
        "spiffe://td.example.evil/gateway/x",
        "spiffe://td.example/Gateway/x",
        "spiffe://td.example/agent",
    ] {
        assert!(found(caller, shop, gateway).is_empty(), "J-64 {caller}");
    }
    assert!(found("spiffe://td.example/edge", shop, "api").is_empty(), "another audience");
    assert!(found("spiffe://td.example/edge", "http://127.0.0.1:9000", "api").is_empty(), "another issuer");
    let agent = "spiffe://td.example/agent".parse().unwrap();
    assert_eq!(policy.rules_for(&agent, Sought::JwtSvid(&"spiffe://td.example/batch/7".parse().unwrap())).len(), 1);
    assert!(policy.rules_for(&agent, Sought::JwtSvid(&"spiffe://td.example/batch".parse().unwrap())).is_empty());
    assert!(policy.knows_caller(&agent));
    assert!(!policy.knows_caller(&"spiffe://td.example/batch/7".parse().unwrap()), "a subject is no caller");
}

#[test]
fn reports_all_mistakes_at_once_with_their_places() {
    let document = r#"
issuers:
  - issuer: http://idp.example
    audiences: []
    algorithms: [HS256]
    typ: id
    leeway: 1h
    subject_prefix: https
    jwks_url: https://x
  - issuer: 7
    audiences: [a, a]
    jwks_uri: ftp://x
    discovery: true
rules:
  - id: "a b"
    callers: [spiffe://TD/x, "spiffe://td/*/x", "spiffe://td/x*"]
    subjects: { issuers: [https://nobody.example], audiences: [a] }
    scopes: ["two words"]
    default_scopes: [other]
    lifetime: 301s
  - callers: []
    scopes: []
extra: 1
"#;
    let mistakes = Policy::parse(document).unwrap_err();
    let paths: Vec<&str> = mistakes.0.iter().map(|mistake| mistake.path.as_str()).collect();
    for expected in [
        "extra",
        "issuers[0].jwks_url",
        "issuers[0].issuer",
        "issuers[0].audiences",
        "issuers[0].algorithms[0]",
        "issuers[0].typ",
        "issuers[0].leeway",
        "issuers[0].subject_prefix",
        "issuers[1].issuer",
        "issuers[1].audiences[1]",
        "issuers[1].jwks_uri",
        "rules[0].id",
        "rules[0].callers[0]",
        "rules[0].callers[1]",
        "rules[0].callers[2]",
        "rules[0].subjects.issuers[0]",
        "rules[0].scopes[0]",
        "rules[0].default_scopes",
        "rules[0].lifetime",
        "rules[1].id",
        "rules[1].callers",
        "rules[1].subjects",
        "rules[1].scopes",
    ] {
        assert!(paths.contains(&expected), "{expected} is not reported in {paths:?}");
    }
    let line = |path: &str| mistakes.0.iter().find(|mistake| mistake.path == path).unwrap().line;
    assert_eq!(line("issuers[0].leeway"), 7);
    assert_eq!(line("rules[0].lifetime"), 20);
    assert!(mistakes.to_string().contains("line 20: rules[0].lifetime: must be a duration"), "{mistakes}");
}

#[test]
fn refuses_twins() {
    for (find, replace, path) in [
        ("issuer: http://127.0.0.1:9000", "issuer: https://idp.shop.example", "issuers[1].issuer"),
        ("typ: JWT", "subject_prefix: shop", "issuers[1].subject_prefix"),
        ("id: agents", "id: gateway-orders", "rules[1].id"),
        ("lifetime: 2m", "id: twice", "rules[0].id"),
        ("subject_prefix: shop", "subject_prefix: \"a:b\"", "issuers[0].subject_prefix"),
    ] {
        let mistakes = Policy::parse(&GOOD.replace(find, replace)).unwrap_err();
        assert_eq!(mistakes.0[0].path, path, "{mistakes}");
    }
}

#[test]
fn refuses_what_is_no_policy() {
    for document in
        ["", "[]", "rules", "issuers: []", "rules: [", "rules: {}", "rules: []\n---\nrules: []", "a: &a [*a]"]
    {
        assert!(Policy::parse(document).is_err(), "{document:?}");
    }
    assert!(Policy::parse("rules: []").unwrap().rules().is_empty());
    assert!(Policy::parse(&" ".repeat(5 << 20)).is_err());
}

#[test]
fn urls_we_may_be_sent_to() {
    for good in ["https://idp.example", "https://idp.example:8443/a/b", "http://localhost:1/x", "http://[::1]:8080"] {
        assert_eq!(value::web_url(good), Ok(()), "{good}");
    }
    for bad in [
        "http://idp.example",
        "http://169.254.169.254/x",
        "http://localhost.evil",
        "http://127.0.0.1.evil",
        "https://idp@evil",
        "https://idp.example?x",
        "https://idp.example#x",
        "https://IDP.example",
        "https://",
        "https:///x",
        "https://idp.example:0",
        "https://idp.example:99999",
        "https://idp.example:",
        "https://idp example",
        "https://[::1",
        "file:///etc/passwd",
        "https://idp.éxample",
    ] {
        assert!(value::web_url(bad).is_err(), "J-61 {bad}");
    }
}

#[test]
fn metadata_of_another_issuer_is_not_followed() {
    let issuer = "https://idp.example/tenant";
    let document = |issuer: &str, uri: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"{uri}"}}"#);
    let uri = "https://idp.example/keys";
    assert_eq!(jwks_uri(document(issuer, uri).as_bytes(), issuer), Ok(uri.to_owned()));
    let mixed_up = document("https://idp.example/tenant/", uri);
    assert_eq!(jwks_uri(mixed_up.as_bytes(), issuer), Err(DiscoveryError::OtherIssuer), "J-61");
    let downgraded = document(issuer, "http://idp.example/keys");
    assert_eq!(jwks_uri(downgraded.as_bytes(), issuer), Err(DiscoveryError::JwksUri));
    let urls = discovery::metadata_urls(issuer);
    assert_eq!(urls[0], "https://idp.example/tenant/.well-known/openid-configuration");
    assert_eq!(urls[1], "https://idp.example/.well-known/oauth-authorization-server/tenant");
}

#[test]
fn ten_thousand_rules_are_read_and_each_is_found() {
    let mut document = String::from("issuers: [{issuer: https://i.example, audiences: [a]}]\nrules:\n");
    for n in 0..10_000 {
        document.push_str(&format!(
            "- {{id: r{n}, callers: [spiffe://td/w{n}], subjects: {{issuers: [https://i.example], audiences: [a]}}, scopes: [s]}}\n"
        ));
    }
    let policy = Policy::parse(&document).unwrap();
    let audiences = ["a".to_owned()];
    for n in [0, 4_999, 9_999] {
        let caller = format!("spiffe://td/w{n}").parse().unwrap();
        let rules =
            policy.rules_for(&caller, Sought::AccessToken { issuer: "https://i.example", audiences: &audiences });
        assert_eq!(rules.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(), [format!("r{n}")]);
    }
    document.push_str("- {id: one-more}\n");
    assert!(Policy::parse(&document).is_err());
}

#[test]
fn refuses_a_crowd_of_rules_for_one_caller_and_subject() {
    let mut document = String::from("rules:\n");
    for n in 0..17 {
        document.push_str(&format!(
            "- {{id: r{n}, callers: [spiffe://td/w], subjects: {{jwt_svids: [spiffe://td/x]}}, scopes: [s]}}\n"
        ));
    }
    let mistakes = Policy::parse(&document).unwrap_err();
    assert_eq!(mistakes.0.len(), 1);
    assert_eq!(mistakes.0[0].path, "rules[16]");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, ..ProptestConfig::default() })]

    #[test]
    fn never_panics(text in "\\PC{0,200}") {
        let _ = Policy::parse(&text);
    }

    #[test]
    fn never_panics_on_a_damaged_document(at in 0usize..600, with in "[\\-:\\[\\]{}'\"*&#a0 \n]{0,3}") {
        let mut document = GOOD.to_owned();
        document.replace_range(at..=at, &with);
        let _ = Policy::parse(&document);
    }

    #[test]
    fn the_index_finds_what_the_pattern_matches(
        pattern in "spiffe://td(/[ab]){0,3}(/\\*)?",
        id in "spiffe://td(/[ab]){0,4}",
    ) {
        let parsed: Pattern = pattern.parse().unwrap();
        prop_assert_eq!(parsed.to_string(), pattern.clone());
        let document = format!("rules: [{{id: r, callers: [\"{pattern}\"], subjects: {{jwt_svids: [\"spiffe://td/*\"]}}, scopes: [s]}}]");
        let policy = Policy::parse(&document).unwrap();
        let id = id.parse().unwrap();
        prop_assert_eq!(policy.knows_caller(&id), parsed.matches(&id));
    }
}
