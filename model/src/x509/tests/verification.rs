//! Chains held against webpki and our own door, and our DER against `x509-cert`.

use std::net::IpAddr;
use std::time::Duration;

use der::{Decode as _, Encode as _};
use proptest::prelude::*;
use rustls_pki_types::{CertificateDer, ServerName};
use x509_cert::Certificate;

use super::support::*;
use crate::time::UnixTime;
use crate::x509::peer::{PeerError, TrustAnchors, inspect};
use crate::x509::write::{Writer, tag};
use crate::x509::{PublicKeyKind, SerialNumber, SubjectPublicKey, TbsCertificate, Validity, ca, leaf, tbs};

#[test]
fn an_svid_we_issue_is_accepted_by_our_own_door() {
    let domain = Domain::new("example.org");
    assert_eq!(domain.anchors().authenticate(&domain.chain(), NOW), Ok(domain.id("/workload")));
    assert_eq!(inspect(&domain.chain(), Some(&domain.anchors()), NOW).problems, Vec::<String>::new());
}

#[test]
fn a_server_certificate_is_accepted_by_webpki_for_its_names_and_addresses() {
    let domain = Domain::new("example.org");
    let addresses: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    let names = ["tts.example.org".to_owned(), "*.tts.example.org".to_owned()];
    let template = leaf::Template {
        spiffe_id: &domain.id("/spire/server"),
        dns_names: &names,
        ip_addresses: &addresses,
        public_key: &Key::generate().public,
        serial: serial(4),
        validity: leaf::validity(NOW, HOUR, HOUR, &domain.issuing),
        issuer: &domain.issuing,
    };
    let der = CertificateDer::from(domain.issuing_key.sign(&template.to_be_signed()));
    let root = CertificateDer::from(domain.root.certificate());
    let anchors = [webpki::anchor_from_trusted_cert(&root).unwrap()];
    let intermediates = [CertificateDer::from(domain.issuing.certificate())];
    let now = rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(NOW.secs()));
    let leaf = webpki::EndEntityCert::try_from(&der).unwrap();
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    for usage in [webpki::KeyUsage::server_auth(), webpki::KeyUsage::client_auth()] {
        leaf.verify_for_usage(algorithms, &anchors, &intermediates, now, usage, None, None).unwrap();
    }
    for name in ["tts.example.org", "a.tts.example.org", "127.0.0.1", "::1"] {
        leaf.verify_is_valid_for_subject_name(&ServerName::try_from(name).unwrap()).unwrap();
    }
    for name in ["other.example.org", "127.0.0.2"] {
        assert!(leaf.verify_is_valid_for_subject_name(&ServerName::try_from(name).unwrap()).is_err());
    }
}

#[test]
fn line_22_an_authority_authenticates_nobody() {
    let domain = Domain::new("example.org");
    let (root, issuing) = (domain.root.certificate(), domain.issuing.certificate());
    for chain in [vec![root], vec![issuing], vec![issuing, root]] {
        assert_eq!(domain.anchors().authenticate(&chain, NOW), Err(PeerError::Ca));
    }
}

#[test]
fn line_23_a_chain_leads_to_a_trust_anchor_and_every_part_is_valid_now() {
    let domain = Domain::new("example.org");
    let anchors = domain.anchors();
    let chain = domain.chain();
    let says = |chain: &[Vec<u8>], now| anchors.authenticate(chain, now).unwrap_err().to_string();
    assert_eq!(anchors.authenticate::<Vec<u8>>(&[], NOW), Err(PeerError::NoCertificate));
    assert!(says(&chain[..1], NOW).contains("issuer is unknown"));
    assert_eq!(says(&chain, NOW.after(2 * HOUR)), "the certificate chain expired at 2026-11-18T12:06:40Z");
    assert!(says(&chain, NOW.before(HOUR)).contains("not valid before 2026-11-18T11:06:30Z"));
    // The same names and serials under other keys.
    let forged = Domain::new("example.org");
    assert!(says(&[forged.leaf(&[]), chain[1].clone()], NOW).contains("a signature in it is not its issuer's"));
    assert!(matches!(anchors.authenticate(&forged.chain(), NOW), Err(PeerError::Path { .. })));
    let mut cut = chain[0].clone();
    cut.pop();
    assert!(matches!(anchors.authenticate(&[cut, chain[1].clone()], NOW), Err(PeerError::Malformed(_))));
}

#[test]
fn a_needless_or_foreign_intermediate_does_no_harm() {
    let (domain, other) = (Domain::new("example.org"), Domain::new("other.org"));
    let chain = [
        domain.leaf(&[]),
        other.issuing.certificate().to_vec(),
        domain.issuing.certificate().to_vec(),
        domain.root.certificate().to_vec(),
    ];
    assert_eq!(domain.anchors().authenticate(&chain, NOW), Ok(domain.id("/workload")));
}

#[test]
fn an_identity_of_another_trust_domain_is_refused_even_under_our_anchors() {
    let other = Domain::new("other.org");
    let confused = TrustAnchors::new("example.org".parse().unwrap(), [other.root.certificate()]).unwrap();
    let refused = confused.authenticate(&other.chain(), NOW).unwrap_err();
    assert_eq!(refused.to_string(), "the SPIFFE ID spiffe://other.org/workload is not of trust domain example.org");
}

#[test]
fn a_trust_anchor_is_a_ca_certificate() {
    let domain = Domain::new("example.org");
    for bad in [domain.leaf(&[]), b"nonsense".to_vec()] {
        let refused = TrustAnchors::new(domain.trust_domain.clone(), [bad.as_slice()]);
        assert!(matches!(refused, Err(PeerError::Anchor(_))));
    }
}

/// A certificate signed by the issuing CA with whatever extensions the test writes.
fn odd(domain: &Domain, subject: &[u8], extensions: impl FnOnce(&mut Writer)) -> Vec<Vec<u8>> {
    let issuer = parse(domain.issuing.certificate());
    let parts = tbs::Parts {
        serial: serial(7),
        issuer: &issuer.tbs_certificate().subject().to_der().unwrap(),
        validity: leaf::validity(NOW, HOUR, HOUR, &domain.issuing),
        subject,
        public_key: &Key::generate().public,
        signer: PublicKeyKind::P256,
    };
    vec![domain.issuing_key.sign(&TbsCertificate::write(&parts, extensions)), domain.issuing.certificate().to_vec()]
}

fn key_usage(w: &mut Writer, critical: bool, bits: &[u8]) {
    tbs::extension(w, tbs::oid::KEY_USAGE, critical, |w| w.value(tag::BIT_STRING, bits));
}

fn uris(w: &mut Writer, uris: &[&str]) {
    tbs::extension(w, tbs::oid::SUBJECT_ALT_NAME, false, |w| {
        w.nested(tag::SEQUENCE, |w| uris.iter().for_each(|uri| w.value(tag::IMPLICIT_6, uri.as_bytes())));
    });
}

fn ca_true(w: &mut Writer) {
    tbs::extension(w, tbs::oid::BASIC_CONSTRAINTS, true, |w| {
        w.nested(tag::SEQUENCE, |w| w.value(tag::BOOLEAN, &[0xff]))
    });
}

fn extended_usage(w: &mut Writer, last: u8) {
    tbs::extension(w, &[0x55, 29, 37], false, |w| {
        w.nested(tag::SEQUENCE, |w| w.value(tag::OID, &[0x2b, 6, 1, 5, 5, 7, 3, last]));
    });
}

const WEB: &str = "spiffe://example.org/web";
/// digitalSignature
const DIGITAL_SIGNATURE: &[u8] = &[7, 0x80];

#[test]
fn lines_16_to_25_a_strange_leaf_is_refused_in_words() {
    type Case = (&'static str, fn(&mut Writer));
    let cases: [Case; 13] = [
        ("has exactly one URI SAN, this certificate has 2", |w| {
            key_usage(w, true, DIGITAL_SIGNATURE);
            uris(w, &[WEB, "spiffe://example.org/db"]);
        }),
        ("has exactly one URI SAN, this certificate has 0", |w| key_usage(w, true, DIGITAL_SIGNATURE)),
        ("begins with \"spiffe://\"", |w| {
            key_usage(w, true, DIGITAL_SIGNATURE);
            uris(w, &["https://example.org/web"]);
        }),
        ("has no path", |w| {
            key_usage(w, true, DIGITAL_SIGNATURE);
            uris(w, &["spiffe://example.org"]);
        }),
        ("does not end with '/'", |w| {
            key_usage(w, true, DIGITAL_SIGNATURE);
            uris(w, &["spiffe://example.org/"]);
        }),
        ("is not of trust domain example.org", |w| {
            key_usage(w, true, DIGITAL_SIGNATURE);
            uris(w, &["spiffe://example.org.evil.org/web"]);
        }),
        ("this is a CA certificate", |w| {
            key_usage(w, true, DIGITAL_SIGNATURE);
            ca_true(w);
            uris(w, &[WEB]);
        }),
        ("keyUsage is missing", |w| uris(w, &[WEB])),
        ("keyUsage is not critical", |w| {
            key_usage(w, false, DIGITAL_SIGNATURE);
            uris(w, &[WEB]);
        }),
        ("keyUsage lacks digitalSignature", |w| {
            key_usage(w, true, &[5, 0x20]);
            uris(w, &[WEB]);
        }),
        ("keyUsage has keyCertSign", |w| {
            key_usage(w, true, &[2, 0x84]);
            uris(w, &[WEB]);
        }),
        ("keyUsage has cRLSign", |w| {
            key_usage(w, true, &[1, 0x82]);
            uris(w, &[WEB]);
        }),
        ("extKeyUsage lacks clientAuth", |w| {
            key_usage(w, true, DIGITAL_SIGNATURE);
            extended_usage(w, 1);
            uris(w, &[WEB]);
        }),
    ];
    let domain = Domain::new("example.org");
    let subject = tbs::name([(tbs::oid::COUNTRY, tag::PRINTABLE_STRING, "US")]);
    for (says, extensions) in cases {
        let chain = odd(&domain, &subject, extensions);
        let refused = domain.anchors().authenticate(&chain, NOW).unwrap_err().to_string();
        assert!(refused.contains(says), "{says}: {refused}");
        let problems = inspect(&chain, Some(&domain.anchors()), NOW).problems;
        assert!(problems.iter().any(|problem| problem.contains(says)), "{says}: {problems:?}");
    }
    let plain = odd(&domain, &subject, |w| {
        key_usage(w, true, DIGITAL_SIGNATURE);
        uris(w, &[WEB]);
    });
    assert_eq!(domain.anchors().authenticate(&plain, NOW), Ok(domain.id("/web")), "the cases differ in one thing only");
}

#[test]
fn line_14_an_empty_subject_makes_critical_names_necessary() {
    let domain = Domain::new("example.org");
    let empty = [0x30, 0];
    let chain = odd(&domain, &empty, |w| {
        key_usage(w, true, DIGITAL_SIGNATURE);
        uris(w, &[WEB]);
    });
    assert_eq!(domain.anchors().authenticate(&chain, NOW), Err(PeerError::NamesNotCritical));
}

#[test]
fn a_leaf_for_clients_alone_may_come_in_but_is_pointed_out() {
    let domain = Domain::new("example.org");
    let subject = tbs::name([(tbs::oid::COUNTRY, tag::PRINTABLE_STRING, "US")]);
    let chain = odd(&domain, &subject, |w| {
        key_usage(w, true, DIGITAL_SIGNATURE);
        extended_usage(w, 2);
        uris(w, &[WEB]);
    });
    assert_eq!(domain.anchors().authenticate(&chain, NOW), Ok(domain.id("/web")));
    assert_eq!(inspect(&chain, None, NOW).problems, ["extKeyUsage lacks serverAuth"]);
}

/// A leaf below an intermediate that the root has signed with whatever extensions the test writes.
fn below(intermediate: impl FnOnce(&mut Writer)) -> Result<crate::spiffe_id::SpiffeId, PeerError> {
    let (root_key, key) = (Key::generate(), Key::generate());
    let trust_domain: crate::spiffe_id::TrustDomain = "example.org".parse().unwrap();
    let validity = ca::validity(NOW, DAY);
    let template = ca::Template {
        trust_domain: &trust_domain,
        public_key: &root_key.public,
        serial: serial(1),
        validity,
        issuer: None,
    };
    let root = root_key.sign(&template.to_be_signed());
    let subject = parse(&root).tbs_certificate().subject().to_der().unwrap();
    let name = tbs::name([(tbs::oid::ORGANIZATION, tag::PRINTABLE_STRING, "middle")]);
    let certify = |issuer: &[u8],
                   subject: &[u8],
                   public_key: &SubjectPublicKey,
                   signer: &Key,
                   extensions: &mut dyn FnMut(&mut Writer)| {
        let parts =
            tbs::Parts { serial: serial(5), issuer, validity, subject, public_key, signer: PublicKeyKind::P256 };
        signer.sign(&TbsCertificate::write(&parts, extensions))
    };
    let mut intermediate = Some(intermediate);
    let middle = certify(&subject, &name, &key.public, &root_key, &mut |w| (intermediate.take().unwrap())(w));
    let leaf = certify(&name, &subject, &Key::generate().public, &key, &mut |w| {
        key_usage(w, true, DIGITAL_SIGNATURE);
        uris(w, &[WEB]);
    });
    TrustAnchors::new(trust_domain, [root.as_slice()]).unwrap().authenticate(&[leaf, middle], NOW)
}

#[test]
fn lines_19_and_21_an_intermediate_signs_certificates_and_names_no_workload() {
    const CERT_SIGN: &[u8] = &[2, 0x04];
    let good = below(|w| {
        key_usage(w, true, CERT_SIGN);
        ca_true(w);
    });
    assert_eq!(good.unwrap().to_string(), WEB);
    let no_usage = below(ca_true);
    assert!(no_usage.unwrap_err().to_string().contains("lacks keyUsage keyCertSign"));
    let not_ca = below(|w| key_usage(w, true, CERT_SIGN));
    assert!(not_ca.unwrap_err().to_string().contains("a certificate that is not a CA's signs another one"));
    for uri in ["spiffe://example.org/web", "spiffe://other.org"] {
        let named = below(|w| {
            key_usage(w, true, CERT_SIGN);
            ca_true(w);
            uris(w, &[uri]);
        });
        assert!(named.unwrap_err().to_string().contains("names another identity"), "{uri}");
    }
}

#[test]
fn line_26_name_constraints_are_honoured() {
    let constrained = below(|w| {
        key_usage(w, true, &[2, 0x04]);
        ca_true(w);
        // nameConstraints: permitted subtree of the URI host other.org
        tbs::extension(w, &[0x55, 29, 30], true, |w| {
            w.nested(tag::SEQUENCE, |w| {
                w.nested(0xa0, |w| w.nested(tag::SEQUENCE, |w| w.value(tag::IMPLICIT_6, b"other.org")))
            });
        });
    });
    assert!(matches!(constrained, Err(PeerError::Path { .. })));
}

#[test]
fn inspection_lists_everything_that_is_wrong_and_what_the_certificate_says() {
    let domain = Domain::new("example.org");
    let root = inspect(&[domain.root.certificate()], None, NOW.after(3650 * DAY));
    assert_eq!(root.problems.len(), 6, "{:?}", root.problems);
    let leaf = inspect(&[domain.leaf(&["a.org"])], None, NOW);
    assert_eq!(leaf.spiffe_id, Some(domain.id("/workload")));
    assert_eq!(
        (leaf.subject.as_str(), leaf.dns_names.as_slice()),
        ("CN=a.org,O=SPIRE,C=US", &["a.org".to_owned()][..])
    );
    assert_eq!(
        (leaf.authority_id, leaf.serial.as_str()),
        (domain.issuing.authority_id(), "43030303030303030303030303030303")
    );
    assert_eq!((leaf.not_before_secs, leaf.not_after_secs), (NOW.secs() - 10, NOW.secs() + 3600));
    assert_eq!(leaf.problems, Vec::<String>::new());
    assert_eq!(inspect::<&[u8]>(&[], None, NOW).problems, ["no certificate was presented"]);
    assert_eq!(inspect(&[b"junk"], None, NOW).problems.len(), 1);
}

fn dns_name() -> impl Strategy<Value = String> {
    "(\\*\\.)?[a-z0-9]{1,12}(\\.[a-z0-9]{1,20}){0,3}"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    #[test]
    fn what_we_write_is_canonical_and_says_what_was_meant(
        path in "(/[a-zA-Z0-9._-]{0,10}[a-z]){1,20}",
        dns_names in proptest::collection::vec(dns_name(), 0..12),
        random in any::<[u8; 16]>(),
        start in 0..4_000_000_000u64,
        lifetime in 1..4_000_000_000u64,
        signature in any::<[u8; 32]>(),
    ) {
        let domain = Domain::new("example.org");
        let eternal = Validity { not_before: UnixTime::from_secs(0), not_after: UnixTime::from_secs(u64::MAX / 1000) };
        let root = ca::Template {
            trust_domain: &domain.trust_domain,
            public_key: &domain.issuing_key.public,
            serial: serial(1),
            validity: eternal,
            issuer: None,
        };
        let root = domain.issuing_key.sign(&root.to_be_signed());
        let issuer = crate::x509::IssuerView::new(&root, domain.issuing_key.public.as_der(), &domain.trust_domain).unwrap();
        let id = domain.id(&path);
        let template = leaf::Template {
            spiffe_id: &id,
            dns_names: &dns_names,
            ip_addresses: &[],
            public_key: &domain.issuing_key.public,
            serial: SerialNumber::from_random(random),
            validity: Validity { not_before: UnixTime::from_secs(start), not_after: UnixTime::from_secs(start + lifetime) },
            issuer: &issuer,
        };
        let tbs = template.to_be_signed();
        let mut fixed = [1; 64];
        fixed[..32].copy_from_slice(&signature);
        let der = tbs.assemble(&fixed);
        let certificate = Certificate::from_der(&der).unwrap();
        prop_assert_eq!(&certificate.to_der().unwrap(), &der);
        prop_assert_eq!(certificate.tbs_certificate().to_der().unwrap(), tbs.as_bytes());
        let read = inspect(&[&der], None, UnixTime::from_secs(start));
        prop_assert_eq!(read.spiffe_id, Some(id.clone()));
        prop_assert_eq!(&read.dns_names, &dns_names);
        prop_assert_eq!((read.not_before_secs, read.not_after_secs), (start, start + lifetime));
        prop_assert_eq!(certificate.tbs_certificate().serial_number().as_bytes(), template.serial.as_bytes());
        prop_assert_eq!(certificate.signature().as_bytes().unwrap(), crate::jwk::signature_to_der(&fixed));
        let root = Certificate::from_der(&root).unwrap();
        let again = root.to_der().unwrap();
        prop_assert_eq!(again.as_slice(), issuer.certificate());
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = inspect(&[&bytes], None, NOW);
        let _ = crate::x509::csr::Csr::parse(&bytes);
    }
}

#[test]
fn no_byte_of_a_leaf_can_be_changed_unseen() {
    let domain = Domain::new("example.org");
    let (anchors, chain) = (domain.anchors(), domain.chain());
    for at in 0..chain[0].len() {
        let mut bad = chain.clone();
        bad[0][at] ^= 0x10;
        assert!(anchors.authenticate(&bad, NOW).is_err(), "byte {at}");
    }
}
