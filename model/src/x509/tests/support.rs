//! A trust domain in memory: keys, CAs and leaves as the server makes them.

use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256,
};
use der::Decode as _;
use x509_cert::Certificate;

use crate::algorithm::KeyAlgorithm;
use crate::spiffe_id::{SpiffeId, TrustDomain};
use crate::test_keys::rsa_pkcs8;
use crate::time::UnixTime;
use crate::x509::peer::TrustAnchors;
use crate::x509::{IssuerView, SerialNumber, SubjectPublicKey, TbsCertificate, ca, leaf};

pub(super) const NOW: UnixTime = UnixTime::from_secs(1_795_000_000);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) struct Key {
    pair: Pair,
    pub(super) public: SubjectPublicKey,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa(rsa::KeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    pub(super) fn generate() -> Self {
        Self::of(KeyAlgorithm::EcdsaP256)
    }

    pub(super) fn of(algorithm: KeyAlgorithm) -> Self {
        let pair = match algorithm {
            KeyAlgorithm::EcdsaP256 => Pair::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()),
            KeyAlgorithm::EcdsaP384 => Pair::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()),
            KeyAlgorithm::Rsa2048 => Pair::Rsa(rsa::KeyPair::from_pkcs8(rsa_pkcs8(2048)).unwrap()),
            KeyAlgorithm::Rsa4096 => Pair::Rsa(rsa::KeyPair::from_pkcs8(rsa_pkcs8(4096)).unwrap()),
            KeyAlgorithm::Ed25519 => Pair::Ed25519(Ed25519KeyPair::generate().unwrap()),
        };
        let der: PublicKeyX509Der<'_> = match &pair {
            Pair::Ecdsa(pair) => pair.public_key().as_der().unwrap(),
            Pair::Rsa(pair) => pair.public_key().as_der().unwrap(),
            Pair::Ed25519(pair) => pair.public_key().as_der().unwrap(),
        };
        let public = SubjectPublicKey::from_spki(der.as_ref()).unwrap();
        Self { pair, public }
    }

    pub(super) fn sign_bytes(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
        }
    }

    pub(super) fn sign(&self, tbs: &TbsCertificate) -> Vec<u8> {
        tbs.assemble(&self.sign_bytes(tbs.as_bytes()))
    }

    pub(super) fn pkcs8(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Ecdsa(pair) => pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.to_pkcs8v1().unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair).unwrap().as_ref().to_vec(),
        }
    }
}

/// A root and an issuing CA below it.
pub(super) struct Domain {
    pub(super) trust_domain: TrustDomain,
    pub(super) root: IssuerView,
    pub(super) issuing_key: Key,
    pub(super) issuing: IssuerView,
}

impl Domain {
    pub(super) fn new(name: &str) -> Self {
        Self::under(name, &Key::generate(), Key::generate())
    }

    /// With these keys of root and issuing CA.
    pub(super) fn under(name: &str, root_key: &Key, issuing_key: Key) -> Self {
        let trust_domain: TrustDomain = name.parse().unwrap();
        let mut template = ca::Template {
            trust_domain: &trust_domain,
            public_key: &root_key.public,
            serial: serial(1),
            validity: ca::validity(NOW, 365 * DAY),
            issuer: None,
        };
        let root = root_key.sign(&template.to_be_signed());
        let root = IssuerView::new(&root, root_key.public.as_der(), &trust_domain).unwrap();
        template.public_key = &issuing_key.public;
        template.serial = serial(2);
        template.validity = ca::validity(NOW, 2 * DAY);
        template.issuer = Some(&root);
        let issuing = root_key.sign(&template.to_be_signed());
        let issuing = IssuerView::new(&issuing, issuing_key.public.as_der(), &trust_domain).unwrap();
        Self { trust_domain, root, issuing_key, issuing }
    }

    pub(super) fn id(&self, path: &str) -> SpiffeId {
        self.trust_domain.join(path).unwrap()
    }

    /// A leaf for `/workload` with these DNS names, valid for an hour.
    pub(super) fn leaf(&self, dns_names: &[&str]) -> Vec<u8> {
        let dns_names: Vec<_> = dns_names.iter().map(|name| (*name).to_owned()).collect();
        let template = leaf::Template {
            spiffe_id: &self.id("/workload"),
            dns_names: &dns_names,
            ip_addresses: &[],
            public_key: &Key::generate().public,
            serial: serial(3),
            validity: leaf::validity(NOW, Duration::ZERO, HOUR, &self.issuing),
            issuer: &self.issuing,
        };
        self.issuing_key.sign(&template.to_be_signed())
    }

    pub(super) fn chain(&self) -> Vec<Vec<u8>> {
        vec![self.leaf(&[]), self.issuing.certificate().to_vec()]
    }

    pub(super) fn anchors(&self) -> TrustAnchors {
        TrustAnchors::new(self.trust_domain.clone(), [self.root.certificate()]).unwrap()
    }
}

pub(super) fn serial(number: u8) -> SerialNumber {
    SerialNumber::from_random([number; 16])
}

pub(super) fn parse(der: &[u8]) -> Certificate {
    Certificate::from_der(der).unwrap()
}
