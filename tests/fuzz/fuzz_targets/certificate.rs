//! Callers' certificates.

#![no_main]

use libfuzzer_sys::fuzz_target;
use signet_model::time::UnixTime;
use signet_model::x509::peer;

fuzz_target!(|der: &[u8]| {
    // Without a trust anchor nothing is ever found to be in order.
    let found = peer::inspect(&[der], None, UnixTime::from_secs(1_800_000_000));
    assert!(!found.problems.is_empty());
});
