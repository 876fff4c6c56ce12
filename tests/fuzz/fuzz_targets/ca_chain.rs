//! Chains of outside CAs, in PEM.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use signet_model::time::UnixTime;
use signet_model::x509::IssuerView;
use signet_model::x509::chain::{CaChain, Rules};
use signet_model::x509::csr::Csr;

fuzz_target!(|input: &[u8]| {
    // The key is told by a request in front of the chain, whose length comes first.
    let Some((length, rest)) = input.split_first_chunk::<2>() else { return };
    let Some((request, pem)) = rest.split_at_checked(u16::from_be_bytes(*length).into()) else { return };
    let keys: Vec<Vec<u8>> = Csr::parse(request).ok().map(|csr| csr.public_key().as_der().to_vec()).into_iter().collect();
    let trust_domain = "example.org".parse().expect("a trust domain");
    let rules =
        Rules { trust_domain: &trust_domain, now: UnixTime::from_secs(1_795_000_000), at_least: Duration::from_secs(60) };
    if let Ok(chain) = CaChain::read(pem, &keys, rules) {
        // What is taken can sign, and says what it was asked about.
        assert!(keys.iter().any(|key| key == chain.public_key()));
        let view = IssuerView::from_outside(chain.certificate(), chain.public_key(), chain.not_after());
        assert_eq!(&view.expect("a CA").authority_id(), chain.id());
    }
});
