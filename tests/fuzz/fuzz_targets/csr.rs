//! Certificate requests.

#![no_main]

use libfuzzer_sys::fuzz_target;
use signet_model::x509::csr::Csr;

fuzz_target!(|der: &[u8]| {
    if let Ok(csr) = Csr::parse(der) {
        let trust_domain = "example.org".parse().expect("a trust domain");
        // Whatever is minted from a request is in our trust domain and has a path.
        if let Ok(request) = csr.for_mint(&trust_domain) {
            assert!(request.spiffe_id.is_member_of(&trust_domain) && !request.spiffe_id.path().is_empty());
        }
    }
});
