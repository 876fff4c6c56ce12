//! Compact tokens.

#![no_main]

use libfuzzer_sys::fuzz_target;
use signet_model::jws::Compact;

fuzz_target!(|token: &str| {
    if let Ok(token) = Compact::parse(token) {
        assert!(token.token().starts_with(token.signing_input()));
    }
});
