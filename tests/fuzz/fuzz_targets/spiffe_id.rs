//! SPIFFE IDs.

#![no_main]

use libfuzzer_sys::fuzz_target;
use signet_model::spiffe_id::SpiffeId;

fuzz_target!(|text: &str| {
    // One spelling for one identity.
    if let Ok(id) = text.parse::<SpiffeId>() {
        assert_eq!(id.to_string(), text);
    }
});
