//! Policy documents.

#![no_main]

use libfuzzer_sys::fuzz_target;
use signet_model::policy::Policy;

fuzz_target!(|document: &str| {
    if let Err(mistakes) = Policy::parse(document) {
        assert!(!mistakes.0.is_empty());
    }
});
