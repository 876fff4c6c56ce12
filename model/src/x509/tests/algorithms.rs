//! CAs and tokens of every algorithm, read by readers that are not ours.

use der::Encode as _;

use super::support::*;
use crate::algorithm::KeyAlgorithm;
use crate::authority::AuthorityKind;
use crate::jwk::key_id;
use crate::jwks::KeySet;
use crate::jws::{Compact, HeaderSegment, assemble, signing_input};
use crate::svid::{JwtAuthority, TrustBundle, X509Authority};
use crate::verify::{self, Expect};
use crate::x509::bundle_document::{from_json, to_json};

fn keys() -> Vec<(KeyAlgorithm, Key)> {
    KeyAlgorithm::ALL.iter().map(|algorithm| (*algorithm, Key::of(*algorithm))).collect()
}

/// The standard's name of the signature that each key makes.
const fn signature_oid(algorithm: KeyAlgorithm) -> &'static str {
    match algorithm {
        KeyAlgorithm::EcdsaP256 => "1.2.840.10045.4.3.2",
        KeyAlgorithm::EcdsaP384 => "1.2.840.10045.4.3.3",
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa4096 => "1.2.840.113549.1.1.11",
        KeyAlgorithm::Ed25519 => "1.3.101.112",
    }
}

#[test]
fn a_chain_verifies_whatever_root_and_issuing_ca_sign_with() {
    let (roots, mut issuing) = (keys(), keys());
    for (root_algorithm, root) in &roots {
        for _ in 0..issuing.len() {
            let (algorithm, key) = issuing.remove(0);
            let domain = Domain::under("example.org", root, key);
            let chain = domain.chain();
            assert_eq!(
                domain.anchors().authenticate(&chain, NOW),
                Ok(domain.id("/workload")),
                "{root_algorithm} {algorithm}"
            );
            for (certificate, signer) in [(&chain[0], algorithm), (&chain[1], *root_algorithm)] {
                let read = parse(certificate);
                assert_eq!(&read.to_der().unwrap(), certificate);
                assert_eq!(read.signature_algorithm(), read.tbs_certificate().signature());
                assert_eq!(read.signature_algorithm().oid.to_string(), signature_oid(signer));
            }
            let mut forged = chain.clone();
            let last = forged[0].len() - 1;
            forged[0][last] ^= 1;
            assert!(domain.anchors().authenticate(&forged, NOW).is_err());
            issuing.push((algorithm, domain.issuing_key));
        }
    }
}

#[test]
fn a_bundle_carries_keys_of_every_kind_and_what_they_sign_verifies() {
    const EXPECT: Expect<'static> =
        Expect { algorithms: crate::jwks::Algorithm::ALL, types: &["jwt"], typ_may_be_absent: false };
    for (algorithm, key) in keys() {
        let domain = Domain::under("example.org", &key, Key::generate());
        let public_key = key.public.as_der().to_vec();
        assert_eq!(KeyAlgorithm::of_public_key(&public_key), Some(algorithm));
        let kid = key_id(&public_key);
        let bundle = TrustBundle {
            trust_domain: domain.trust_domain.clone(),
            x509_authorities: vec![X509Authority { certificate: domain.root.certificate().to_vec(), tainted: false }],
            jwt_authorities: vec![JwtAuthority { key_id: kid.clone(), public_key, expires_at_secs: 0, tainted: false }],
            refresh_hint_secs: 300,
            sequence_number: 1,
        };
        let read = from_json(&to_json(&bundle).unwrap(), &domain.trust_domain).unwrap();
        assert_eq!(read, bundle, "{algorithm}");
        let set = KeySet::from_jwt_authorities(&read.jwt_authorities);
        let jwt_svid = KeyAlgorithm::of_kind(AuthorityKind::JwtSvid).contains(&algorithm);
        // An RSA key of 4096 bits verifies JWT-SVIDs of others, though ours are not signed with it.
        assert_eq!(set.keys().len(), usize::from(jwt_svid || algorithm == KeyAlgorithm::Rsa4096), "{algorithm}");
        let header = HeaderSegment::new(algorithm.jws(), &kid, "JWT");
        let input = signing_input(&header, &serde_json::json!({ "sub": "s" }));
        let signature = key.sign_bytes(input.as_bytes());
        let token = assemble(input, &signature);
        let verified = verify::verify(&Compact::parse(&token).unwrap(), &set, &EXPECT).map(|key| key.algorithm());
        assert_eq!(verified.is_ok(), algorithm != KeyAlgorithm::Ed25519, "{algorithm}: {verified:?}");
    }
}

#[test]
fn an_issuer_knows_what_it_signs_with() {
    let (root, issuing) = (Key::of(KeyAlgorithm::EcdsaP384), Key::of(KeyAlgorithm::EcdsaP256));
    let domain = Domain::under("example.org", &root, issuing);
    assert_eq!(domain.root.key_kind(), root.public.kind());
    assert_eq!(domain.issuing.key_kind(), domain.issuing_key.public.kind());
}
