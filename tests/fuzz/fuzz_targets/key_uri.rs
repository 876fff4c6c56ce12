//! The URI of a key backend is refused, or prints as one that reads back as the same and holds no plain http to others.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signet_kms::aws::AwsUri;
use signet_kms::uri::KeyUri;

fuzz_target!(|text: &str| {
    let _ = text.parse::<KeyUri>();
    if let Ok(uri) = text.parse::<AwsUri>() {
        assert_eq!(uri.to_string().parse::<AwsUri>().unwrap(), uri);
    }
});
