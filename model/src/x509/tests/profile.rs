//! The profile of SPIRE and the SPIFFE checklist for X.509-SVIDs, for what an issuer has to do.

use std::time::Duration;

use der::asn1::ObjectIdentifier;
use der::oid::AssociatedOid;
use x509_cert::Certificate;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName, SubjectKeyIdentifier,
};

use super::support::*;
use crate::time::UnixTime;
use crate::x509::ca::IssuerError;
use crate::x509::{IssuerView, SerialNumber, ca, leaf};

/// The value of an extension that must be there, and whether it is critical.
fn extension<T: for<'a> der::Decode<'a, Error = der::Error> + AssociatedOid>(certificate: &Certificate) -> (bool, T) {
    certificate.tbs_certificate().get_extension::<T>().unwrap().unwrap()
}

fn uris(certificate: &Certificate) -> Vec<String> {
    let (_, names) = extension::<SubjectAltName>(certificate);
    let uri = |name: &GeneralName| {
        if let GeneralName::UniformResourceIdentifier(uri) = name { Some(uri.to_string()) } else { None }
    };
    names.0.iter().filter_map(uri).collect()
}

/// Root, issuing CA and leaf.
fn certificates() -> (Domain, [Certificate; 3]) {
    let domain = Domain::new("example.org");
    let certificates =
        [domain.root.certificate(), domain.issuing.certificate(), &domain.leaf(&["a.org", "b.org"])].map(parse);
    (domain, certificates)
}

#[test]
fn line_11_signing_authorities_name_their_trust_domain_without_a_path() {
    let (_, [root, issuing, _]) = certificates();
    assert_eq!(
        (uris(&root), uris(&issuing)),
        (vec!["spiffe://example.org".to_owned()], vec!["spiffe://example.org".to_owned()])
    );
}

#[test]
fn line_12_a_leaf_has_exactly_one_uri() {
    let (_, [_, _, leaf]) = certificates();
    assert_eq!(uris(&leaf), ["spiffe://example.org/workload"]);
}

#[test]
fn line_14_the_subject_is_never_empty_so_names_need_not_be_critical() {
    let (_, certificates) = certificates();
    for certificate in certificates {
        assert!(!certificate.tbs_certificate().subject().is_empty());
        assert!(!extension::<SubjectAltName>(&certificate).0);
    }
}

#[test]
fn line_15_a_leaf_is_no_ca_and_an_authority_is_one() {
    let (_, [root, issuing, leaf]) = certificates();
    for (certificate, is_ca) in [(root, true), (issuing, true), (leaf, false)] {
        let (critical, constraints) = extension::<BasicConstraints>(&certificate);
        assert_eq!((critical, constraints.ca, constraints.path_len_constraint), (true, is_ca, None));
    }
}

#[test]
fn line_16_key_usage_is_there_and_critical() {
    let (_, certificates) = certificates();
    for certificate in certificates {
        assert!(extension::<KeyUsage>(&certificate).0);
    }
}

#[test]
fn lines_17_and_18_a_leaf_signs_data_but_no_certificates() {
    let (_, [_, _, leaf]) = certificates();
    let (_, usage) = extension::<KeyUsage>(&leaf);
    assert!(usage.digital_signature() && usage.key_encipherment() && usage.key_agreement());
    assert!(!usage.key_cert_sign() && !usage.crl_sign() && !usage.non_repudiation() && !usage.data_encipherment());
}

#[test]
fn line_19_an_authority_signs_certificates_and_crls_and_nothing_else() {
    let (_, [root, issuing, _]) = certificates();
    for certificate in [root, issuing] {
        let (_, usage) = extension::<KeyUsage>(&certificate);
        assert!(usage.key_cert_sign() && usage.crl_sign());
        assert!(!usage.digital_signature() && !usage.key_encipherment() && !usage.key_agreement());
    }
}

#[test]
fn line_20_a_leaf_is_for_servers_and_clients() {
    let (_, [_, _, leaf]) = certificates();
    let (critical, usages) = extension::<ExtendedKeyUsage>(&leaf);
    let expected = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"].map(|oid| oid.parse::<ObjectIdentifier>().unwrap());
    assert_eq!((critical, usages.0.as_slice()), (false, &expected[..]));
}

#[test]
fn line_26_no_authority_has_name_constraints() {
    let (_, certificates) = certificates();
    let constraints = ObjectIdentifier::new_unwrap("2.5.29.30");
    for certificate in certificates {
        let extensions = certificate.tbs_certificate().extensions().unwrap();
        assert!(extensions.iter().all(|extension| extension.extn_id != constraints));
    }
}

#[test]
fn subjects_are_those_of_spire() {
    let (domain, [root, issuing, leaf]) = certificates();
    assert_eq!(leaf.tbs_certificate().subject().to_string(), "CN=a.org,O=SPIRE,C=US");
    assert_eq!(parse(&domain.leaf(&[])).tbs_certificate().subject().to_string(), "O=SPIRE,C=US");
    let decimal = |certificate: &Certificate| {
        u128::from_be_bytes(certificate.tbs_certificate().serial_number().as_bytes().try_into().unwrap())
    };
    for authority in [&root, &issuing] {
        let expected = format!("SERIALNUMBER={},O=SPIFFE,C=US", decimal(authority));
        assert_eq!(authority.tbs_certificate().subject().to_string().to_uppercase(), expected);
    }
    assert_ne!(root.tbs_certificate().subject(), issuing.tbs_certificate().subject());
}

#[test]
fn a_dns_name_too_long_for_a_common_name_stands_in_the_names_alone() {
    let domain = Domain::new("example.org");
    let long = format!("{}.{}.org", "a".repeat(40), "b".repeat(40));
    let leaf = parse(&domain.leaf(&[&long]));
    assert_eq!(leaf.tbs_certificate().subject().to_string(), "O=SPIRE,C=US");
    assert_eq!(extension::<SubjectAltName>(&leaf).1.0.len(), 2);
}

#[test]
fn authority_key_identifiers_are_copied_from_the_issuer() {
    let (domain, [root, issuing, leaf]) = certificates();
    let subject = |certificate: &Certificate| extension::<SubjectKeyIdentifier>(certificate).1.0.as_bytes().to_vec();
    let issuer = |certificate: &Certificate| {
        extension::<AuthorityKeyIdentifier>(certificate).1.key_identifier.unwrap().as_bytes().to_vec()
    };
    assert_eq!(issuer(&leaf), subject(&issuing));
    assert_eq!(issuer(&issuing), subject(&root));
    assert!(root.tbs_certificate().get_extension::<AuthorityKeyIdentifier>().unwrap().is_none());
    assert_eq!(domain.issuing.authority_id(), domain.issuing_key.public.authority_id());
    assert_eq!(leaf.tbs_certificate().issuer(), issuing.tbs_certificate().subject());
}

#[test]
fn a_key_identifier_is_the_sha1_of_the_key_bits() {
    // openssl req -in p256.der -inform DER -pubkey -noout | openssl pkey -pubin -outform DER | tail -c 65 | sha1sum
    let request = crate::x509::csr::Csr::parse(include_bytes!("requests/p256.der")).unwrap();
    assert_eq!(request.public_key().authority_id(), KEY_ID_BY_SHA1SUM);
}

#[test]
fn a_leaf_begins_ten_seconds_ago_and_lives_as_long_as_asked() {
    let issuing = &Domain::new("example.org").issuing;
    let later = NOW.after(HOUR);
    let default = leaf::validity(later, Duration::ZERO, HOUR, issuing);
    assert_eq!((default.not_before, default.not_after), (later.before(Duration::from_secs(10)), later.after(HOUR)));
    assert_eq!(leaf::validity(later, 2 * HOUR, HOUR, issuing).not_after, later.after(2 * HOUR));
}

#[test]
fn nothing_is_valid_when_its_issuer_is_not() {
    let domain = Domain::new("example.org");
    let asked = leaf::validity(NOW, 30 * DAY, HOUR, &domain.issuing);
    assert_eq!(asked, domain.issuing.validity());
    let forever = crate::x509::Validity { not_before: UnixTime::from_secs(0), not_after: NOW.after(3650 * DAY) };
    let leaf = leaf::Template {
        spiffe_id: &domain.id("/workload"),
        dns_names: &[],
        ip_addresses: &[],
        public_key: &Key::generate().public,
        serial: serial(9),
        validity: forever,
        issuer: &domain.issuing,
    };
    assert_eq!(leaf.to_be_signed().validity(), domain.issuing.validity());
    let intermediate = ca::Template {
        trust_domain: &domain.trust_domain,
        public_key: &domain.issuing_key.public,
        serial: serial(9),
        validity: forever,
        issuer: Some(&domain.root),
    };
    assert_eq!(intermediate.to_be_signed().validity(), domain.root.validity());
}

#[test]
fn serial_numbers_are_positive_and_16_bytes_long() {
    for random in [[0; 16], [0xff; 16], [0x80; 16]] {
        let first = SerialNumber::from_random(random).as_bytes()[0];
        assert_eq!(first & 0xc0, 0x40, "{first:02x}");
        assert_eq!(SerialNumber::from_random(random).as_bytes()[1..], random[1..]);
    }
}

#[test]
fn an_issuer_is_a_ca_of_its_trust_domain_with_the_expected_key() {
    let domain = Domain::new("example.org");
    let (certificate, key) = (domain.issuing.certificate(), domain.issuing_key.public.as_der());
    let other: crate::spiffe_id::TrustDomain = "other.org".parse().unwrap();
    assert_eq!(IssuerView::new(certificate, key, &domain.trust_domain), Ok(domain.issuing.clone()));
    let other_key = Key::generate();
    let wrong_key = IssuerView::new(certificate, other_key.public.as_der(), &domain.trust_domain);
    assert_eq!(wrong_key, Err(IssuerError::WrongPublicKey));
    let wrong_domain = IssuerView::new(certificate, key, &other);
    assert_eq!(wrong_domain, Err(IssuerError::WrongTrustDomain("spiffe://other.org".to_owned())));
    let leaf = domain.leaf(&[]);
    let leaf_key = crate::x509::view::CertificateView::parse(&leaf).unwrap().public_key;
    assert!(matches!(IssuerView::new(&leaf, &leaf_key, &domain.trust_domain), Err(IssuerError::NotCa(_))));
    let cut = IssuerView::new(&certificate[1..], key, &domain.trust_domain);
    assert!(matches!(cut, Err(IssuerError::Malformed(_))));
}

const KEY_ID_BY_SHA1SUM: &str = "32dce0e5b03157357ab704aed1f5b2c057d32e55";
