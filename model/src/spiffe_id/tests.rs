//! The SPIFFE ID lines of the checklist, by their numbers.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<SpiffeId, SpiffeIdError> {
    text.parse()
}

/// Every one of these is refused, in parsing and when it is put together from its parts.
fn refused(texts: &[&str]) {
    for text in texts {
        assert!(parse(text).is_err(), "{text:?} was accepted");
    }
}

#[test]
fn line_1_the_scheme_is_spiffe_with_a_trust_domain_and_without_query_or_fragment() {
    let id = parse("spiffe://example.org/web/db").unwrap();
    assert_eq!((id.trust_domain().as_str(), id.path()), ("example.org", "/web/db"));
    refused(&[
        "",
        "spiffe",
        "spiffe:",
        "spiffe:/",
        "spiffe:/example.org",
        "https://example.org/web",
        "example.org/web",
    ]);
    refused(&[
        "spiffe://",
        "spiffe:///",
        "spiffe:///web",
        "//example.org/web",
        " spiffe://example.org",
        "xspiffe://a/b",
    ]);
    refused(&[
        "spiffe://example.org?x",
        "spiffe://example.org/web?x=1",
        "spiffe://example.org/web#x",
        "spiffe://example.org#",
    ]);
}

#[test]
fn line_2_there_is_no_userinfo_and_no_port() {
    refused(&["spiffe://user@example.org/web", "spiffe://user:pw@example.org/web", "spiffe://@example.org/web"]);
    refused(&["spiffe://example.org:8443/web", "spiffe://example.org:/web", "spiffe://[::1]/web"]);
}

#[test]
fn line_3_a_trust_domain_is_lower_case_letters_digits_dots_hyphens_and_underscores() {
    for name in ["a", "example.org", "a-b_c.d", "0", "-", "_", ".", "a..b"] {
        assert_eq!(parse(&format!("spiffe://{name}/x")).unwrap().trust_domain().as_str(), name);
    }
    refused(&["spiffe://Example.org/web", "spiffe://exämple.org/web", "spiffe://exa mple.org/web", "spiffe://a+b/web"]);
    refused(&["spiffe://a\0b/web", "spiffe://a\nb/web", "spiffe://a~b/web", "spiffe://a,b/web", "spiffe://a*b/web"]);
}

#[test]
fn line_4_nothing_is_percent_encoded() {
    refused(&[
        "spiffe://example%2eorg/web",
        "spiffe://example.org/w%65b",
        "spiffe://example.org/%2e%2e/x",
        "spiffe://example.org/%",
    ]);
}

#[test]
fn line_5_a_path_has_no_empty_or_dot_segments_and_no_slash_at_its_end() {
    for (text, error) in [
        ("spiffe://a/", SpiffeIdError::TrailingSlash),
        ("spiffe://a/b/", SpiffeIdError::TrailingSlash),
        ("spiffe://a//b", SpiffeIdError::EmptySegment),
        ("spiffe://a/./b", SpiffeIdError::DotSegment),
        ("spiffe://a/b/..", SpiffeIdError::DotSegment),
        ("spiffe://a/../b", SpiffeIdError::DotSegment),
    ] {
        assert_eq!(parse(text), Err(error), "{text}");
    }
    for text in ["spiffe://a/...", "spiffe://a/.b", "spiffe://a/b..c"] {
        assert!(parse(text).is_ok(), "{text}");
    }
}

#[test]
fn line_6_a_segment_is_letters_digits_dots_hyphens_and_underscores() {
    assert!(parse("spiffe://a/AZaz09._-").is_ok());
    for c in (0..=127u8).map(char::from).filter(|c| !c.is_ascii_alphanumeric() && !"._-/".contains(*c)) {
        assert_eq!(parse(&format!("spiffe://a/b{c}c")), Err(SpiffeIdError::PathCharacter(c)), "{c:?}");
    }
    assert_eq!(parse("spiffe://a/ü"), Err(SpiffeIdError::PathCharacter('ü')));
}

#[test]
fn line_7_a_trust_domain_like_an_ipv4_address_is_like_any_other() {
    assert_eq!(parse("spiffe://192.0.2.1/web").unwrap().trust_domain().as_str(), "192.0.2.1");
}

#[test]
fn line_8_ids_of_2048_bytes_are_supported_and_none_longer() {
    let domain: TrustDomain = "example.org".parse().unwrap();
    let longest = 2048 - "spiffe://example.org".len();
    let path = format!("/{}", "a".repeat(longest - 1));
    let id = domain.join(&path).unwrap();
    assert_eq!(id.to_string().len(), 2048);
    assert_eq!(parse(&id.to_string()), Ok(id));
    assert_eq!(domain.join(&format!("{path}a")), Err(SpiffeIdError::TooLong));
    assert_eq!(parse(&format!("spiffe://example.org{path}a")), Err(SpiffeIdError::TooLong));
}

#[test]
fn line_9_a_trust_domain_has_at_most_255_bytes() {
    assert!("a".repeat(255).parse::<TrustDomain>().is_ok());
    assert_eq!("a".repeat(256).parse::<TrustDomain>(), Err(SpiffeIdError::TrustDomainTooLong));
    assert_eq!(parse(&format!("spiffe://{}/b", "a".repeat(256))), Err(SpiffeIdError::TrustDomainTooLong));
}

#[test]
fn line_10_no_two_spellings_name_one_identity() {
    // Scheme and trust domain would compare without case: the other spellings are refused. Paths compare with case.
    refused(&["SPIFFE://example.org/web", "Spiffe://example.org/web", "spiffe://EXAMPLE.org/web"]);
    assert_ne!(parse("spiffe://example.org/web"), parse("spiffe://example.org/Web"));
}

#[test]
fn line_11_a_trust_domain_has_an_id_of_its_own_without_a_path() {
    let domain: TrustDomain = "example.org".parse().unwrap();
    assert_eq!(domain.id().to_string(), "spiffe://example.org");
    assert_eq!(parse("spiffe://example.org"), Ok(domain.id()));
    assert_eq!(domain.join(""), Ok(domain.id()));
    assert!(domain.id().is_member_of(&domain));
    assert!(!parse("spiffe://example.org.evil/web").unwrap().is_member_of(&domain));
}

#[test]
fn a_path_is_joined_with_its_slash() {
    let domain: TrustDomain = "example.org".parse().unwrap();
    for path in ["web", "/", "//", "/web/", "/a b", "?x"] {
        assert!(domain.join(path).is_err(), "{path:?}");
    }
}

#[test]
fn a_trust_domain_is_a_name_and_not_an_id() {
    for text in ["", "spiffe://example.org", "example.org/", "example.org/web", "Example.org", "a:1"] {
        assert!(text.parse::<TrustDomain>().is_err(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn an_id_comes_back_from_its_text_and_its_parts(
        name in "[a-z0-9._-]{1,40}",
        path in "(/[a-zA-Z0-9._-]{0,10}[a-zA-Z0-9]){0,12}",
    ) {
        let text = format!("spiffe://{name}{path}");
        let id = parse(&text).unwrap();
        prop_assert_eq!(id.to_string(), text);
        prop_assert_eq!(id.trust_domain().join(id.path()), Ok(id.clone()));
        prop_assert_eq!(crate::stored::from_bytes::<SpiffeId>(&crate::stored::to_bytes(&id)).unwrap(), id);
    }

    #[test]
    fn whatever_parses_prints_as_it_was(text in "(spiffe://)?[ -~]{0,30}") {
        if let Ok(id) = parse(&text) {
            prop_assert_eq!(id.to_string(), text);
        }
    }
}
