//! Stored forms, as a peer could send them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use signet_model::command::{Outcome, Proposal};
use signet_model::record::IssuanceRecord;
use signet_model::stored::{from_bytes, to_bytes};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(proposal) = from_bytes::<Proposal>(bytes) {
        assert_eq!(from_bytes::<Proposal>(&to_bytes(&proposal)).expect("what was written is read"), proposal);
    }
    let _ = from_bytes::<Outcome>(bytes);
    let _ = from_bytes::<IssuanceRecord>(bytes);
});
