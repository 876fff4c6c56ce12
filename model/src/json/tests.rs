use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { bytes: 1000, depth: 4, members: 8, exact_integers: true };

#[test]
fn refuses_what_two_parsers_could_read_differently() {
    let cases: &[(&str, &[u8], JsonError)] = &[
        ("J-40 twice the same", br#"{"a":1,"a":2}"#, JsonError::Duplicate),
        ("J-40 nested", br#"{"act":{"sub":1,"sub":2}}"#, JsonError::Duplicate),
        ("J-40 in an array", br#"{"a":[{"b":1,"b":1}]}"#, JsonError::Duplicate),
        ("J-51 escaped", br#"{"sub":1,"\u0073ub":2}"#, JsonError::Duplicate),
        ("J-47 array", b"[]", JsonError::NotAnObject),
        ("J-47 text", br#""x""#, JsonError::NotAnObject),
        ("J-47 null", b"null", JsonError::NotAnObject),
        ("J-47 number", b"7", JsonError::NotAnObject),
        ("J-48 trailing bytes", b"{} x", JsonError::Syntax),
        ("J-48 two objects", b"{}{}", JsonError::Syntax),
        ("J-48 comment", b"{/**/}", JsonError::Syntax),
        ("J-48 NaN", br#"{"a":NaN}"#, JsonError::Syntax),
        ("J-48 1e400", br#"{"a":1e400}"#, JsonError::Syntax),
        ("J-48 trailing comma", br#"{"a":1,}"#, JsonError::Syntax),
        ("J-48 nested", br#"{"a":{"a":{"a":{"a":{}}}}}"#, JsonError::TooDeep),
        ("J-48 nested arrays", br#"{"a":[[[[[1]]]]]}"#, JsonError::TooDeep),
        ("J-49 BOM", b"\xef\xbb\xbf{}", JsonError::Syntax),
        ("J-49 UTF-16", b"{\0\"\0a\0\"\0:\x001\0}\0", JsonError::Syntax),
        ("J-49 overlong", b"{\"a\":\"\xc0\xaf\"}", JsonError::Encoding),
        ("J-49 lone surrogate", br#"{"a":"\ud800"}"#, JsonError::Syntax),
        ("J-49 raw NUL", b"{\"a\":\"\0\"}", JsonError::Syntax),
        ("T-15 beyond 2^53", br#"{"a":9007199254740992}"#, JsonError::Number),
        ("T-15 beyond -2^53", br#"{"a":-9007199254740992}"#, JsonError::Number),
        ("T-15 1e16", br#"{"a":1e16}"#, JsonError::Number),
        ("T-15 members", br#"{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":{"h":1,"i":1}}"#, JsonError::TooManyMembers),
        ("J-48 empty", b"", JsonError::Syntax),
    ];
    for (name, text, expected) in cases {
        assert_eq!(parse_object(text, LIMITS), Err(*expected), "{name}");
    }
    assert_eq!(parse_object(&[b' '; 1001], LIMITS), Err(JsonError::TooLong));
    let long_integer = format!("{{\"a\":{}}}", "9".repeat(900));
    assert!(parse_object(long_integer.as_bytes(), LIMITS).is_err(), "J-48 long integer");
}

#[test]
fn takes_what_is_plain() {
    let text = br#" {"a":[1,-2,3.5,true,null,"x"],"b":{"a":9007199254740991}} "#;
    let object = parse_object(text, LIMITS).unwrap();
    assert_eq!(Value::Object(object), serde_json::from_slice::<Value>(text).unwrap());
}

proptest! {
    #[test]
    fn never_panics_and_agrees_with_serde_json(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(object) = parse_object(&bytes, LIMITS) {
            prop_assert_eq!(Value::Object(object), serde_json::from_slice::<Value>(&bytes).unwrap());
        }
    }

    #[test]
    fn reads_near_json_without_panic(text in r#"[\{\}\[\]",:0-9a-c\\u \-eE.]{0,60}"#) {
        let _ = parse_object(text.as_bytes(), LIMITS);
    }

    #[test]
    fn print_and_parse_agree(names in proptest::collection::btree_map("[a-zA-Z\u{80}-\u{2ff}\"\\\\]{0,6}", any::<i32>(), 0..8)) {
        let object: Object = names.into_iter().map(|(name, value)| (name, value.into())).collect();
        let text = Value::Object(object.clone()).to_string();
        prop_assert_eq!(parse_object(text.as_bytes(), LIMITS), Ok(object));
    }
}
