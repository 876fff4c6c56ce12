//! Chains of outside CAs: what is taken, and each reason for which one is not.

use std::time::Duration;

use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData, SanType, SignatureAlgorithm,
};

use super::support::{DAY, NOW};
use crate::spiffe_id::TrustDomain;
use crate::time::UnixTime;
use crate::x509::ca_request::{RequestInfo, Subject};
use crate::x509::chain::{CaChain, ChainError, Rules};
use crate::x509::csr::Csr;
use crate::x509::{IssuerView, SubjectPublicKey};

/// A moment as `rcgen` has it.
macro_rules! at {
    ($time:expr) => {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs($time.secs())
    };
}

/// An outside CA of two levels, and a key of ours that the lower one certifies.
struct Company {
    root_key: KeyPair,
    root: CertificateParams,
    middle_key: KeyPair,
    middle: CertificateParams,
    our_key: KeyPair,
    ours: CertificateParams,
}

fn ca(name: &str, days: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params.not_before = at!(NOW.before(DAY));
    params.not_after = at!(NOW.after(Duration::from_secs(days * 24 * 3600)));
    params
}

impl Company {
    fn new() -> Self {
        let mut ours = ca("Signet under Corp", 365);
        ours.subject_alt_names = vec![SanType::URI("spiffe://example.org".try_into().unwrap())];
        Self {
            root_key: KeyPair::generate().unwrap(),
            root: ca("Corp Root", 3650),
            middle_key: KeyPair::generate().unwrap(),
            middle: ca("Corp Issuing", 1000),
            our_key: KeyPair::generate().unwrap(),
            ours,
        }
    }

    fn certificates(&self) -> [String; 3] {
        self.certificates_for(&self.our_key)
    }

    fn certificates_for(&self, key: &impl PublicKeyData) -> [String; 3] {
        let root = self.root.self_signed(&self.root_key).unwrap();
        let root_issuer = Issuer::from_params(&self.root, &self.root_key);
        let middle = self.middle.signed_by(&self.middle_key, &root_issuer).unwrap();
        let middle_issuer = Issuer::from_params(&self.middle, &self.middle_key);
        let ours = self.ours.signed_by(key, &middle_issuer).unwrap();
        [ours.pem(), middle.pem(), root.pem()]
    }

    fn spki(&self) -> Vec<u8> {
        self.our_key.subject_public_key_info()
    }

    fn read(&self) -> Result<CaChain, ChainError> {
        self.read_pem(&self.certificates().concat())
    }

    fn read_pem(&self, pem: &str) -> Result<CaChain, ChainError> {
        read(pem.as_bytes(), &[self.spki()])
    }
}

fn read(pem: &[u8], keys: &[Vec<u8>]) -> Result<CaChain, ChainError> {
    let trust_domain: TrustDomain = "example.org".parse().unwrap();
    CaChain::read(pem, keys, Rules { trust_domain: &trust_domain, now: NOW, at_least: 2 * DAY })
}

/// The refusal after a change, which must say all of `words`.
fn refused(change: impl FnOnce(&mut Company), words: &[&str]) {
    let mut company = Company::new();
    change(&mut company);
    says(&company.read().unwrap_err(), words);
}

fn says(error: &ChainError, words: &[&str]) {
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text}\nlacks one of {words:?}");
}

#[test]
fn takes_a_whole_chain_in_any_order_with_text_around_it() {
    let company = Company::new();
    let [ours, middle, root] = company.certificates();
    let shuffled = format!("Corporate root:\n{root}\nsubject=ours\n{ours}{middle}{middle}");
    let chain = company.read_pem(&shuffled).unwrap();
    assert_eq!(chain.public_key(), company.spki());
    assert_eq!(chain.outside().above.len(), 2);
    assert_eq!(chain.not_after(), UnixTime::from_secs(NOW.after(365 * DAY).secs()));
    assert!(chain.notes().is_empty());
    let view = IssuerView::from_outside(chain.certificate(), chain.public_key(), chain.not_after()).unwrap();
    assert_eq!(view.authority_id(), *chain.id());
}

#[test]
fn the_chain_ends_when_its_first_certificate_does() {
    let mut company = Company::new();
    company.middle.not_after = at!(NOW.after(10 * DAY));
    assert_eq!(company.read().unwrap().not_after(), NOW.after(10 * DAY));
    company.root.not_after = at!(NOW.after(5 * DAY));
    let chain = company.read().unwrap();
    assert_eq!(chain.not_after(), NOW.after(5 * DAY));
    let view = IssuerView::from_outside(chain.certificate(), chain.public_key(), chain.not_after()).unwrap();
    assert_eq!(view.validity().not_after, NOW.after(5 * DAY), "nothing under it outlives the root");
}

#[test]
fn takes_a_root_that_signed_itself_and_one_without_a_uri() {
    let company = Company::new();
    let pem = company.ours.self_signed(&company.our_key).unwrap().pem();
    assert!(company.read_pem(&pem).unwrap().outside().above.is_empty());
    let mut company = Company::new();
    company.ours.subject_alt_names.clear();
    company.read().unwrap();
}

#[test]
fn a_request_asks_for_what_the_rules_want_and_proves_its_key() {
    let key = super::support::Key::generate();
    let trust_domain: TrustDomain = "example.org".parse().unwrap();
    let subject = Subject::parse("CN=Signet CA,O=Example Inc").unwrap();
    for subject in [subject, Subject::of(&key.public)] {
        let info = RequestInfo::new(&trust_domain, &subject, &key.public);
        let request = info.assemble(&key.sign_bytes(info.as_bytes()));
        let csr = Csr::parse(&request).unwrap();
        assert_eq!((csr.public_key(), csr.uris()), (&key.public, &["spiffe://example.org".to_owned()][..]));
    }
    for text in ["", "nonsense", "CN=a,", &format!("CN={}", "a".repeat(600))] {
        let error = Subject::parse(text).unwrap_err().to_string();
        assert!(error.contains("is not a distinguished name"), "{text:?}: {error}");
    }
}

#[test]
fn refuses_what_is_not_a_chain_in_pem() {
    let company = Company::new();
    let [ours, middle, root] = company.certificates();
    for (pem, words) in [
        ("", &["no certificate in PEM", "openssl"][..]),
        ("rubbish", &["no certificate in PEM"]),
        ("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", &["not good PEM"]),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n", &["not good PEM"]),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &["certificate 1", "cannot be read"]),
        (&format!("{}{ours}{middle}{root}", company.our_key.serialize_pem()), &["holds a private key", "take it out"]),
        (&ours.replace("CERTIFICATE", "CERTIFICATE REQUEST"), &["certificate request"]),
        (&"x".repeat(65 * 1024), &["larger than 65536"]),
    ] {
        says(&company.read_pem(pem).unwrap_err(), words);
    }
    let many: String = (0..9).map(|_| Company::new().certificates()[0].clone()).collect();
    says(&company.read_pem(&many).unwrap_err(), &["more than 8"]);
}

#[test]
fn refuses_a_chain_that_is_not_whole_or_not_for_our_key() {
    let company = Company::new();
    let [ours, middle, root] = company.certificates();
    let [stranger, ..] = Company::new().certificates();
    says(&company.read_pem(&ours).unwrap_err(), &["breaks off", "Signet under Corp", "Corp Issuing", "Append"]);
    says(&company.read_pem(&format!("{ours}{middle}")).unwrap_err(), &["Corp Root", "is missing"]);
    says(&company.read_pem(&format!("{middle}{root}")).unwrap_err(), &["expected key", "signet authority csr"]);
    says(&company.read_pem(&format!("{ours}{middle}{root}{stranger}")).unwrap_err(), &["not part of the chain"]);
    let twin = company.ours.self_signed(&company.our_key).unwrap().pem();
    says(&company.read_pem(&format!("{ours}{twin}{middle}{root}")).unwrap_err(), &["1 and 2", "leave one"]);
    // A certificate of the issuer's name with another key.
    let renewed = Company::new().certificates()[1].clone();
    says(&company.read_pem(&format!("{ours}{renewed}{root}")).unwrap_err(), &["was not signed by the key of"]);
    // Either of two of the same name, whichever comes first: the one that signed is taken.
    says(&company.read_pem(&format!("{ours}{renewed}{middle}{root}")).unwrap_err(), &["not part of the chain"]);
}

#[test]
fn refuses_what_is_no_ca_or_has_no_room_below_it() {
    refused(|c| c.ours.is_ca = IsCa::ExplicitNoCa, &["Signet under Corp", "not a CA", "cA=TRUE"]);
    refused(|c| c.middle.is_ca = IsCa::NoCa, &["Corp Issuing", "not a CA"]);
    refused(|c| c.ours.key_usages = vec![KeyUsagePurpose::CrlSign], &["Signet under Corp", "keyCertSign"]);
    refused(|c| c.ours.key_usages.clear(), &["keyCertSign is missing"]);
    refused(|c| c.ours.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)), &["path length is 0", "pathlen 1 or more"]);
    refused(|c| c.middle.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)), &["Corp Issuing", "pathlen 2 or more"]);
    refused(|c| c.root.is_ca = IsCa::Ca(BasicConstraints::Constrained(2)), &["Corp Root", "pathlen 3 or more"]);
    let mut company = Company::new();
    company.ours.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    company.middle.is_ca = IsCa::Ca(BasicConstraints::Constrained(2));
    let chain = company.read().unwrap();
    assert!(chain.notes()[0].contains("no room for downstream CAs") && chain.notes().len() == 2, "{:?}", chain.notes());
}

#[test]
fn refuses_what_is_not_valid_or_not_for_long() {
    refused(
        |c| c.ours.not_after = at!(NOW.before(Duration::from_secs(1))),
        &["Signet under Corp", "expired at", "anew"],
    );
    refused(|c| c.root.not_after = at!(NOW), &["Corp Root", "expired at"]);
    refused(|c| c.middle.not_before = at!(NOW.after(DAY)), &["Corp Issuing", "not valid before", "clock"]);
    refused(|c| c.ours.not_after = at!(NOW.after(DAY)), &["ends at", "lives 48 h", "for longer"]);
}

#[test]
fn refuses_another_trust_domain_and_names_that_are_not_permitted() {
    let san = |uris: &[&str]| uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect::<Vec<_>>();
    refused(
        |c| c.ours.subject_alt_names = san(&["spiffe://other.org"]),
        &["spiffe://other.org", "spiffe://example.org"],
    );
    refused(|c| c.middle.subject_alt_names = san(&["spiffe://other.org"]), &["Corp Issuing", "spiffe://other.org"]);
    refused(
        |c| c.ours.subject_alt_names = san(&["spiffe://example.org", "https://corp.example"]),
        &["2 URIs", "alone"],
    );
    let uris = |permitted: bool, host: &str| {
        let mut w = crate::x509::write::Writer::with_capacity(0);
        w.nested(0x30, |w| {
            w.nested(if permitted { 0xa0 } else { 0xa1 }, |w| w.nested(0x30, |w| w.value(0x86, host.as_bytes())));
        });
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], w.into_der());
        extension.set_criticality(true);
        extension
    };
    refused(|c| c.middle.custom_extensions.push(uris(true, ".corp.example")), &["do not permit", "example.org"]);
    refused(|c| c.root.custom_extensions.push(uris(false, "example.org")), &["Corp Root", "do not permit"]);
    refused(|c| c.middle.custom_extensions.push(uris(true, "example.org")), &["URIs", "rustls", "without"]);
    let names = |permitted| NameConstraints { permitted_subtrees: permitted, excluded_subtrees: Vec::new() };
    let dns = || names(vec![GeneralSubtree::DnsName("corp.example".into())]);
    refused(|c| c.middle.name_constraints = Some(dns()), &["Corp Issuing", "DNS names"]);
    let mail = names(vec![GeneralSubtree::Rfc822Name("corp.example".into())]);
    let mut company = Company::new();
    company.middle.name_constraints = Some(mail);
    company.read().unwrap();
}

#[test]
fn refuses_limits_that_verifiers_would_hold_against_every_svid() {
    refused(
        |c| c.ours.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
        &["extKeyUsage lacks clientAuth", "without extKeyUsage"],
    );
    let strange = || {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        extension
    };
    refused(|c| c.middle.custom_extensions.push(strange()), &["Corp Issuing", "1.2.3.4"]);
    let mut company = Company::new();
    company.ours.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    company.root.custom_extensions.push(strange());
    company.read().unwrap();
}

#[test]
fn refuses_weak_and_unknown_keys() {
    struct WeakRsa(Vec<u8>);
    impl PublicKeyData for WeakRsa {
        fn der_bytes(&self) -> &[u8] {
            &self.0
        }
        fn algorithm(&self) -> &'static SignatureAlgorithm {
            &rcgen::PKCS_RSA_SHA256
        }
    }
    // RSAPublicKey of 1024 bits.
    let modulus = [&[0, 0x80][..], &[1; 127]].concat();
    let mut key = crate::x509::write::Writer::with_capacity(0);
    key.nested(0x30, |w| {
        w.value(2, &modulus);
        w.value(2, &[1, 0, 1]);
    });
    let company = Company::new();
    let pem = company.certificates_for(&WeakRsa(key.into_der())).concat();
    says(&company.read_pem(&pem).unwrap_err(), &["Signet under Corp", "RSA of 2048 to 4096 bits"]);
    refused(
        |c| c.root_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap(),
        &["Corp Root", "curve 1.3.132.0.35"],
    );
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let mut company = Company::new();
        company.middle_key = KeyPair::generate_for(algorithm).unwrap();
        company.read().unwrap();
    }
}

#[test]
fn refuses_a_certificate_whose_issuer_has_another_identifier() {
    let company = Company::new();
    let [ours, _, root] = company.certificates();
    let mut renewed = company.middle.clone();
    renewed.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![7; 20]);
    let issuer = Issuer::from_params(&company.root, &company.root_key);
    let renewed = renewed.signed_by(&company.middle_key, &issuer).unwrap().pem();
    says(
        &company.read_pem(&format!("{ours}{renewed}{root}")).unwrap_err(),
        &["authorityKeyIdentifier", "Corp Issuing"],
    );
}

#[test]
fn nobody_finds_a_key_where_none_is_waited_for() {
    let pem = Company::new().certificates().concat();
    let error = read(pem.as_bytes(), &[]).unwrap_err();
    assert!(matches!(error, ChainError::OtherKey { .. }), "{error}");
    assert!(SubjectPublicKey::from_spki(b"").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever is changed in a chain, it is refused or says exactly what it said before.
    #[test]
    fn a_damaged_chain_is_refused_or_unchanged(at in 0..10_000usize, byte: u8, cut: bool) {
        let company = &*COMPANY;
        let whole = company.read().unwrap();
        let mut pem = PEM.clone().into_bytes();
        let at = at % pem.len();
        if cut { pem.truncate(at) } else { pem[at] = byte }
        if let Ok(chain) = read(&pem, &[company.spki()]) {
            prop_assert_eq!(chain, read(PEM.as_bytes(), &[company.spki()]).unwrap());
        }
        prop_assert_eq!(whole.public_key(), company.spki());
    }

    #[test]
    fn anything_at_all_is_answered(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut pem = b"-----BEGIN CERTIFICATE-----\n".to_vec();
        pem.extend(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &bytes).into_bytes());
        pem.extend(b"\n-----END CERTIFICATE-----\n");
        prop_assert!(read(&pem, std::slice::from_ref(&bytes)).is_err());
        prop_assert!(read(&bytes, std::slice::from_ref(&bytes)).is_err());
    }
}

static COMPANY: std::sync::LazyLock<Company> = std::sync::LazyLock::new(Company::new);
static PEM: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| COMPANY.certificates().concat());
