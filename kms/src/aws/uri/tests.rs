use proptest::prelude::*;

use super::*;

const ID: &str = "79774875-1f19-4d5f-98c1-9b1826b0015f";
const MRK: &str = "mrk-0123456789abcdef0123456789abcdef";

fn parsed(text: &str) -> AwsUri {
    text.parse().unwrap()
}

#[test]
fn reads_every_part() {
    let uri = parsed(
        "awskms:alias/signet/prod?region=eu-west-1,eu-central-1&endpoint=https://a.example,https://b.example:8443&deployment=prod.example&credentials_file=/etc/signet/aws=1&profile=signet",
    );
    assert_eq!(uri.key, WrappingKeyName { owner: None, name: "alias/signet/prod".to_owned() });
    let at = |name: &str, endpoint: &str| RegionAt { name: name.to_owned(), endpoint: Some(endpoint.to_owned()) };
    assert_eq!(uri.regions, [at("eu-west-1", "https://a.example"), at("eu-central-1", "https://b.example:8443")]);
    assert_eq!(uri.deployment, "prod.example");
    let (path, profile) = (PathBuf::from("/etc/signet/aws=1"), "signet".to_owned());
    assert_eq!(uri.credentials, CredentialsFrom::File { path, profile });
}

#[test]
fn an_arn_brings_its_region_and_is_followed_into_others() {
    let uri = parsed(&format!("awskms:arn:aws:kms:eu-west-1:123456789012:key/{ID}"));
    assert_eq!(uri.regions.len(), 1);
    assert_eq!(uri.key.in_region("eu-west-1"), format!("arn:aws:kms:eu-west-1:123456789012:key/{ID}"));
    let uri = parsed(&format!(
        "awskms:arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/{MRK}?region=us-gov-east-1,us-gov-west-1"
    ));
    assert_eq!(uri.key.in_region("us-gov-east-1"), format!("arn:aws-us-gov:kms:us-gov-east-1:123456789012:key/{MRK}"));
    let alias = parsed("awskms:arn:aws:kms:eu-west-1:123456789012:alias/x");
    assert!(alias.key.is_alias());
    assert_eq!(alias.key.in_region("eu-west-2"), "arn:aws:kms:eu-west-2:123456789012:alias/x");
}

#[test]
fn one_endpoint_serves_all_regions_and_loopback_may_be_plain() {
    for url in
        ["http://127.0.0.1:4566", "http://localhost:1/", "http://[::1]:4566", "http://127.8.8.8", "https://[::2]:1"]
    {
        let uri = parsed(&format!("awskms:{MRK}?region=eu-west-1,eu-west-2&endpoint={url}"));
        assert!(uri.regions.iter().all(|region| region.endpoint.as_deref() == Some(url)));
    }
}

#[test]
fn refuses_every_other_form_and_says_what_is_expected() {
    for (text, fix) in [
        ("awskms:", "awskms:KEY?region=REGION"),
        ("awskms:?region=eu-west-1", "awskms:KEY?region=REGION"),
        ("awskms:root?region=eu-west-1", "KEY is alias/NAME"),
        ("awskms:alias/?region=eu-west-1", "KEY is alias/NAME"),
        ("awskms:alias/prod.example?region=eu-west-1", "letters, digits"),
        ("awskms:alias/x", "the region is missing"),
        ("awskms:alias/x?region=", "a region is written"),
        ("awskms:alias/x?region=EU-west-1", "a region is written"),
        ("awskms:alias/x?region=eu-west-1,", "a region is written"),
        ("awskms:alias/x?region=eu-west-1,eu-west-1", "named twice"),
        ("awskms:alias/x?region=aa-b-1,aa-b-2,aa-b-3,aa-b-4,aa-b-5", "at most 4"),
        ("awskms:alias/x?region=eu-west-1&region=eu-west-2", "given twice"),
        ("awskms:alias/x?region=eu-west-1&regions=eu-west-2", "something else than region"),
        ("awskms:79774875-1f19-4d5f-98c1-9b1826b0015f?region=eu-west-1,eu-west-2", "multi-Region key"),
        ("awskms:arn:aws:kms:eu-west-1:1234:key/79774875-1f19-4d5f-98c1-9b1826b0015f", "an ARN of a key is"),
        ("awskms:arn:aws:s3:::bucket?region=eu-west-1", "an ARN of a key is"),
        ("awskms:arn:aws:kms:eu-west-1:123456789012:alias/x?region=eu-west-2", "not among those named"),
        ("awskms:alias/x?region=eu-west-1&endpoint=kms.example", "https://HOST"),
        ("awskms:alias/x?region=eu-west-1&endpoint=ftp://kms.example", "https://HOST"),
        ("awskms:alias/x?region=eu-west-1&endpoint=https://", "https://HOST"),
        ("awskms:alias/x?region=eu-west-1&endpoint=https://h:0", "https://HOST"),
        ("awskms:alias/x?region=eu-west-1&endpoint=https://h:99999", "https://HOST"),
        ("awskms:alias/x?region=eu-west-1&endpoint=https://h/path", "without path"),
        ("awskms:alias/x?region=eu-west-1&endpoint=http://kms.example", "in the clear"),
        ("awskms:alias/x?region=eu-west-1&endpoint=http://127.0.0.1.example", "in the clear"),
        ("awskms:alias/x?region=eu-west-1&endpoint=http://10.0.0.1:4566", "in the clear"),
        ("awskms:alias/x?region=eu-west-1&endpoint=https://a.example,https://b.example", "one for each"),
        ("awskms:alias/x?region=eu-west-1&deployment=", "a deployment is"),
        ("awskms:alias/x?region=eu-west-1&deployment=a/b", "a deployment is"),
        ("awskms:alias/x?region=eu-west-1&credentials_file=", "credentials_file=PATH"),
        ("awskms:alias/x?region=eu-west-1&profile=", "a profile has a name"),
    ] {
        let error = text.parse::<AwsUri>().expect_err(text).to_string();
        assert!(error.contains(fix), "{text}: {error}");
        assert!(error.contains(text.split('?').next().unwrap()), "{text}: {error}");
    }
}

#[test]
fn a_secret_written_into_it_by_mistake_is_not_repeated() {
    for text in [
        "awskms:alias/x?region=eu-west-1&secret_access_key=hunter2",
        "awskms:alias/x?region=eu-west-1&hunter2",
        "awskms:alias/x?region=eu-west-1&endpoint=https://user:hunter2@kms.example",
    ] {
        let error = text.parse::<AwsUri>().expect_err(text);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

/// Something that is nearly a URI: pieces that occur in URIs, in any order, which gets further than random bytes do.
fn nearly() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "awskms:",
        "alias/",
        "x",
        "arn:aws:kms:",
        "eu-west-1",
        ":",
        "123456789012",
        "key/",
        MRK,
        ID,
        "?",
        "region=",
        ",",
        "&",
        "endpoint=",
        "http://",
        "https://",
        "[::1]",
        "127.0.0.1",
        "localhost",
        "@",
        "/",
        "deployment=",
        "profile=",
        "credentials_file=",
        "=",
        "é",
        "\0",
        "%",
        ".",
    ]);
    prop::collection::vec(piece, 0..16).prop_map(|pieces| format!("awskms:{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever is taken prints as a URI that reads back as the same, and sends nothing in the clear to another host.
    #[test]
    fn what_is_taken_prints_as_itself(text in prop_oneof![nearly(), any::<String>().prop_map(|rest| format!("awskms:{rest}"))]) {
        let Ok(uri) = text.parse::<AwsUri>() else { return Ok(()) };
        prop_assert_eq!(&parsed(&uri.to_string()), &uri);
        for region in &uri.regions {
            let endpoint = region.endpoint.as_deref().unwrap_or("https://");
            prop_assert!(!endpoint.starts_with("http://") || endpoint.contains("://127.") || endpoint.contains("://localhost") || endpoint.contains("://[::1]"));
        }
    }

    #[test]
    fn a_sound_uri_is_taken(
        name in "[A-Za-z0-9/_-]{1,40}", regions in prop::collection::btree_set("[a-z]{2}-[a-z]{4,9}-[1-9]", 1..4),
        deployment in "[A-Za-z0-9._-]{1,48}", profile in prop::option::of("[a-z]{1,8}"), file in prop::option::of("/[a-z/=.]{1,20}"),
        port in 1..u16::MAX,
    ) {
        let mut text = format!("awskms:alias/{name}?region={}", regions.into_iter().collect::<Vec<_>>().join(","));
        text.push_str(&format!("&endpoint=https://kms.example:{port}&deployment={deployment}"));
        if let Some(file) = file {
            text.push_str(&format!("&credentials_file={file}"));
        }
        if let Some(profile) = profile {
            text.push_str(&format!("&profile={profile}"));
        }
        let uri = parsed(&text);
        prop_assert_eq!(&parsed(&uri.to_string()), &uri);
    }
}
