//! Issuers' key sets and metadata.

#![no_main]

use libfuzzer_sys::fuzz_target;
use signet_model::jwks::{Algorithm, DemoRule, KeySet};
use signet_model::policy;

fuzz_target!(|document: &[u8]| {
    let demo = DemoRule { demo: false, cluster_id: "0".repeat(32) };
    let _ = KeySet::parse(document, Algorithm::ALL, &demo);
    if let Ok(uri) = policy::jwks_uri(document, "https://idp.example") {
        assert!(uri.starts_with("https://") || uri.starts_with("http://"));
    }
});
