//! Requests, honest and otherwise. The files were made by OpenSSL 3.0.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair};

use super::support::*;
use crate::refusal::{Reason, Refusal};
use crate::spiffe_id::TrustDomain;
use crate::x509::csr::{Csr, CsrError};
use crate::x509::write::{Writer, tag};
use crate::x509::{PublicKeyKind, SubjectPublicKey};

const GOOD: &[u8] = include_bytes!("requests/p256.der");

fn example() -> TrustDomain {
    "example.org".parse().unwrap()
}

/// A request with a URI and DNS names, signed by `sign`, which says it signs with `algorithm`.
fn request(spki: &[u8], names: &[(u8, &str)], algorithm: &[u8], sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut info = Writer::with_capacity(0);
    info.nested(tag::SEQUENCE, |w| {
        w.value(tag::INTEGER, &[0]);
        w.value(tag::SEQUENCE, &[]);
        w.raw(spki);
        w.nested(0xa0, |w| {
            w.nested(tag::SEQUENCE, |w| {
                w.value(tag::OID, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e]);
                w.nested(tag::SET, |w| {
                    w.nested(tag::SEQUENCE, |w| {
                        w.nested(tag::SEQUENCE, |w| {
                            w.value(tag::OID, &[0x55, 29, 17]);
                            w.nested(tag::OCTET_STRING, |w| {
                                w.nested(tag::SEQUENCE, |w| {
                                    names.iter().for_each(|(tag, name)| w.value(*tag, name.as_bytes()))
                                });
                            });
                        });
                    });
                });
            });
        });
    });
    let info = info.into_der();
    let mut w = Writer::with_capacity(0);
    w.nested(tag::SEQUENCE, |w| {
        w.raw(&info);
        w.nested(tag::SEQUENCE, |w| w.value(tag::OID, algorithm));
        w.value(tag::BIT_STRING, &[&[0], sign(&info).as_slice()].concat());
    });
    w.into_der()
}

const SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];

fn signed(names: &[(u8, &str)]) -> Csr {
    let key = Key::generate();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.pkcs8()).unwrap();
    let sign = |info: &[u8]| pair.sign(&SystemRandom::new(), info).unwrap().as_ref().to_vec();
    Csr::parse(&request(key.public.as_der(), names, SHA256, sign)).unwrap()
}

fn uri(uri: &str) -> (u8, &str) {
    (tag::IMPLICIT_6, uri)
}

fn dns(name: &str) -> (u8, &str) {
    (tag::IMPLICIT_2, name)
}

#[test]
fn accepts_every_kind_of_key_that_we_certify() {
    for (der, kind) in [
        (GOOD, PublicKeyKind::P256),
        (include_bytes!("requests/p256-sha512.der"), PublicKeyKind::P256),
        (include_bytes!("requests/p384.der"), PublicKeyKind::P384),
        (include_bytes!("requests/ed25519.der"), PublicKeyKind::Ed25519),
        (include_bytes!("requests/rsa2048.der"), PublicKeyKind::Rsa),
        (include_bytes!("requests/rsa2048-pss.der"), PublicKeyKind::Rsa),
    ] {
        let request = Csr::parse(der).unwrap();
        assert_eq!(request.public_key().kind(), kind);
        let mint = request.for_mint(&example()).unwrap();
        assert_eq!(mint.spiffe_id.to_string(), "spiffe://example.org/web");
        assert_eq!(mint.dns_names, ["web.example.org"]);
        assert!(der.windows(mint.public_key.as_der().len()).any(|window| window == mint.public_key.as_der()));
    }
}

#[test]
fn a_request_without_names_is_enough_where_names_come_from_the_entry() {
    let request = Csr::parse(include_bytes!("requests/no-names.der")).unwrap();
    assert_eq!((request.uris().len(), request.dns_names().len()), (0, 0));
    assert_eq!(request.for_mint(&example()), Err(CsrError::NoUri));
}

#[test]
fn refuses_weak_and_unusual_keys_and_signatures() {
    for (der, says) in [
        (&include_bytes!("requests/rsa1024.der")[..], "RSA of 2048 to 4096 bits"),
        (include_bytes!("requests/rsa5120.der"), "RSA of 2048 to 4096 bits"),
        (include_bytes!("requests/p521.der"), "are not certified; use P-256"),
        (include_bytes!("requests/secp256k1.der"), "are not certified; use P-256"),
        (include_bytes!("requests/p256-compressed.der"), "an uncompressed point of 65 bytes"),
        (include_bytes!("requests/p256-explicit.der"), "named by its object identifier"),
        (include_bytes!("requests/rsa2048-sha1.der"), "invalid CSR signature: the signature algorithm is weak"),
        (include_bytes!("requests/p256-sha1.der"), "invalid CSR signature: the signature algorithm is weak"),
    ] {
        let error = Csr::parse(der).unwrap_err().to_string();
        assert!(error.contains(says), "{says}: {error}");
    }
}

#[test]
fn refuses_a_signature_of_another_key_or_over_other_bytes() {
    for at in [GOOD.len() - 1, 40] {
        let mut bad = GOOD.to_vec();
        bad[at] ^= 1;
        let refusal = Refusal::from(Csr::parse(&bad).unwrap_err());
        assert_eq!(refusal.reason, Reason::InvalidArgument);
        assert!(refusal.detail.starts_with("invalid CSR signature"), "{refusal}");
    }
}

#[test]
fn refuses_a_key_that_signs_under_the_name_of_another_curve() {
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap();
    let sign = |info: &[u8]| p384.sign(&SystemRandom::new(), info).unwrap().as_ref().to_vec();
    let p256 = Key::generate();
    let names = [uri("spiffe://example.org/web")];
    // The key says P-256, the signature was made on P-384.
    let der = request(p256.public.as_der(), &names, SHA384, sign);
    assert_eq!(Csr::parse(&der), Err(CsrError::Signature));
    // The point is one of P-384, the curve says P-256.
    let spki = [&p256.public.as_der()[..26], &[4; 97]].concat();
    assert!(SubjectPublicKey::from_spki(&spki).is_err());
    assert!(matches!(
        Csr::parse(&request(&spki, &names, SHA384, sign)),
        Err(CsrError::Malformed(_) | CsrError::PublicKey(_))
    ));
}

#[test]
fn refuses_a_point_that_is_not_on_the_curve() {
    let mut spki = Key::generate().public.as_der().to_vec();
    spki[90] ^= 1;
    let der = request(&spki, &[], SHA256, |_| crate::jwk::signature_to_der(&[1; 64]));
    assert_eq!(Csr::parse(&der), Err(CsrError::Signature));
}

#[test]
fn refuses_bytes_behind_a_request_and_requests_that_are_cut_off() {
    assert_eq!(Csr::parse(b""), Err(CsrError::Missing));
    assert!(matches!(Csr::parse(&[GOOD, &[0]].concat()), Err(CsrError::Malformed(_))));
    assert!(matches!(Csr::parse(b"-----BEGIN CERTIFICATE REQUEST-----"), Err(CsrError::Malformed(_))));
    assert_eq!(Csr::parse(&vec![0x30; 65 * 1024]), Err(CsrError::TooLarge));
    for length in 1..GOOD.len() {
        assert!(matches!(Csr::parse(&GOOD[..length]), Err(CsrError::Malformed(_))), "{length}");
    }
}

#[test]
fn no_byte_of_a_request_can_be_changed_unseen() {
    for at in 0..GOOD.len() {
        let mut bad = GOOD.to_vec();
        bad[at] ^= 0x10;
        assert!(Csr::parse(&bad).is_err(), "byte {at}");
    }
}

#[test]
fn the_wish_to_be_a_ca_is_not_even_read() {
    let wish = Csr::parse(include_bytes!("requests/ca-true.der")).unwrap();
    let mint = wish.for_mint(&example()).unwrap();
    assert_eq!((mint.public_key, mint.dns_names.len()), (wish.public_key().clone(), 1));
}

#[test]
fn a_mint_request_has_exactly_one_uri() {
    let two = Csr::parse(include_bytes!("requests/two-uris.der")).unwrap();
    assert_eq!(two.uris().len(), 2);
    assert_eq!(two.for_mint(&example()).unwrap_err().to_string(), "only one URI SAN is expected: the CSR has 2");
    assert!(
        signed(&[dns("a.org")]).for_mint(&example()).unwrap_err().to_string().starts_with("CSR URI SAN is required")
    );
}

#[test]
fn a_mint_request_names_a_workload_of_our_trust_domain() {
    for (bad, says) in [
        ("https://example.org/web", "begins with \"spiffe://\""),
        ("spiffe://example.org/web?x", "a path segment holds only"),
        ("spiffe://EXAMPLE.org/web", "holds only lower-case letters"),
        ("spiffe://other.org/web", "not a member of trust domain \"example.org\""),
        ("spiffe://example.org/spire", "reserved namespace /spire"),
        ("spiffe://example.org/spire/agent/x", "reserved namespace /spire"),
    ] {
        let error = signed(&[uri(bad)]).for_mint(&example()).unwrap_err().to_string();
        assert!(error.starts_with("CSR URI SAN is invalid") && error.contains(says), "{bad}: {error}");
    }
    assert!(signed(&[uri("spiffe://example.org/spirea")]).for_mint(&example()).is_ok());
}

#[test]
fn line_13_no_leaf_is_minted_without_a_path() {
    let error = signed(&[uri("spiffe://example.org")]).for_mint(&example()).unwrap_err().to_string();
    assert!(error.starts_with("CSR URI SAN is invalid") && error.contains("path is empty"), "{error}");
}

#[test]
fn a_mint_request_has_good_dns_names_and_no_overlap() {
    let id = uri("spiffe://example.org/web");
    let error = |names: &[(u8, &str)]| signed(names).for_mint(&example()).unwrap_err().to_string();
    assert!(error(&[id, dns("a.org"), dns("bad name")]).starts_with("CSR DNS name is invalid: \"bad name\""));
    let overlap = "CSR DNS name contains a wildcard that covers another non-wildcard name: \"a.b.org\"";
    assert!(error(&[id, dns("a.b.org"), dns("*.b.org")]).starts_with(overlap));
}
