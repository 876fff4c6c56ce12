use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::test_keys::{TestKey, b64, compact};

#[test]
fn what_is_written_reads_back_and_verifies() {
    let key = TestKey::new("k");
    let header = HeaderSegment::new(Algorithm::Es256, "k", "txntoken+jwt");
    let claims = json!({ "sub": "u", "n": 1 });
    let input = signing_input(&header, &claims);
    let signature = key.raw_signature(input.as_bytes());
    let token = assemble(input.clone(), &signature);
    let parsed = Compact::parse(&token).unwrap();
    assert_eq!(parsed.signing_input(), input);
    assert_eq!(parsed.signature(), signature);
    assert_eq!(serde_json::Value::Object(parsed.claims().clone()), claims);
    assert_eq!(json::text(parsed.header(), "alg"), Some("ES256"));
    assert_eq!(parsed.typ(), Ok(Some("txntoken+jwt".to_owned())));
}

#[test]
fn refuses_what_is_not_one_compact_jws() {
    let header = b64(r#"{"alg":"ES256"}"#);
    let claims = b64(r#"{"sub":"u"}"#);
    let part = "AAAA";
    let cases: Vec<(&str, String, JwsError)> = vec![
        ("J-01 missing third segment", format!("{header}.{claims}"), JwsError::Segments),
        ("J-43 JWE", format!("{header}.{part}.{part}.{part}.{part}"), JwsError::Encrypted),
        ("J-45 no dot", "a".to_owned(), JwsError::Segments),
        ("J-45 one dot", ".".to_owned(), JwsError::Segments),
        ("J-45 four dots", "....".to_owned(), JwsError::Encrypted),
        ("J-45 six dots", "......".to_owned(), JwsError::Segments),
        ("J-45 many dots", ".".repeat(16_000), JwsError::Segments),
        ("J-45 a million dots", ".".repeat(1_000_000), JwsError::TooLong),
        ("J-42 JSON serialization", format!(r#"{{"payload":"{claims}","signature":"AA"}}"#), JwsError::Segments),
        ("J-42 polyglot", format!(r#"{{"a":"{header}.{claims}.AA"}}"#), JwsError::Base64),
        ("J-46 padding", format!("{header}=.{claims}.AA"), JwsError::Base64),
        ("J-46 plus", format!("{header}.{claims}.A+"), JwsError::Base64),
        ("J-46 slash", format!("{header}.{claims}.A/"), JwsError::Base64),
        ("J-46 whitespace", format!("{header}. {claims}.AA"), JwsError::Base64),
        ("J-46 line end", format!("{header}.{claims}.AA\r\n"), JwsError::Base64),
        ("J-46 U+FEFF", format!("\u{feff}{header}.{claims}.AA"), JwsError::Base64),
        ("J-46 percent", format!("{header}.{claims}.A%41"), JwsError::Base64),
        ("J-08 last character not canonical", format!("{header}.{claims}.AB"), JwsError::Base64),
        ("J-47 header array", compact("[]", "{}", b""), JwsError::Header(JsonError::NotAnObject)),
        ("J-47 payload null", compact("{}", "null", b""), JwsError::Payload(JsonError::NotAnObject)),
        (
            "J-30 alg twice",
            compact(r#"{"alg":"none","alg":"ES256"}"#, "{}", b""),
            JwsError::Header(JsonError::Duplicate),
        ),
        ("J-40 sub twice", compact("{}", r#"{"sub":"a","sub":"b"}"#, b""), JwsError::Payload(JsonError::Duplicate)),
        (
            "J-51 escaped twin",
            compact("{}", r#"{"sub":"a","\u0073ub":"b"}"#, b""),
            JwsError::Payload(JsonError::Duplicate),
        ),
        ("J-67 act depth 1000", compact("{}", &deep(1000), b""), JwsError::Payload(JsonError::TooDeep)),
        ("J-52 64 KiB", compact("{}", &format!(r#"{{"a":"{}"}}"#, "x".repeat(65_536)), b""), JwsError::TooLong),
        ("empty", String::new(), JwsError::Segments),
    ];
    for (name, token, expected) in cases {
        assert_eq!(Compact::parse(&token).map(|_| ()), Err(expected), "{name}");
    }
    let eight_kib = compact("{}", &format!(r#"{{"a":"{}"}}"#, "x".repeat(6000)), b"");
    assert!(Compact::parse(&eight_kib).is_ok(), "J-52 8 KiB");
}

fn deep(levels: usize) -> String {
    format!("{}1{}", r#"{"act":"#.repeat(levels), "}".repeat(levels))
}

#[test]
fn does_not_print_the_token() {
    let token = compact(r#"{"alg":"ES256"}"#, r#"{"sub":"secret"}"#, b"sig");
    let shown = format!("{:?}", Compact::parse(&token).unwrap());
    assert!(!shown.contains("secret") && !shown.contains(&b64("sig")), "{shown}");
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,300}") {
        let _ = Compact::parse(&text);
    }

    #[test]
    fn never_panics_on_three_segments(a in "\\PC{0,80}", b in "\\PC{0,80}", c in any::<Vec<u8>>()) {
        let _ = Compact::parse(&compact(&a, &b, &c));
    }

    #[test]
    fn any_other_text_of_an_accepted_token_is_another_token(at in 0usize..60, to in "[A-Za-z0-9_-]") {
        let token = compact(r#"{"alg":"ES256"}"#, r#"{"sub":"u"}"#, &[7; 20]);
        let mut changed = token.clone();
        changed.replace_range(at..=at, &to);
        if let Ok(parsed) = Compact::parse(&changed) {
            let again = compact(
                &serde_json::Value::Object(parsed.header().clone()).to_string(),
                &serde_json::Value::Object(parsed.claims().clone()).to_string(),
                parsed.signature(),
            );
            // Same meaning in two spellings would be malleable.
            prop_assert!(again != token || changed == token);
        }
    }
}
