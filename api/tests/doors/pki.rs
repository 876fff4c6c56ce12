//! A trust domain's certificates, good and bad.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use signet_api::client::AgentIdentity;
use signet_api::tls::TlsMaterial;
use signet_model::spiffe_id::TrustDomain;

pub(crate) struct Pki {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) anchor: CertificateDer<'static>,
    pub(crate) anchor_pem: String,
}

pub(crate) fn domain() -> TrustDomain {
    "example.org".parse().unwrap()
}

impl Pki {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri("spiffe://example.org")];
        params.not_after = date_time_ymd(2040, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        let (anchor, anchor_pem) = (certificate.der().clone(), certificate.pem());
        Self { issuer: Issuer::new(params, key), anchor, anchor_pem }
    }

    /// A leaf with these URIs, valid through 2029.
    pub(crate) fn leaf(&self, uris: &[&str]) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = uris.iter().map(|text| uri(text)).collect();
        params.not_after = date_time_ymd(2030, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    pub(crate) fn identity(&self, uris: &[&str]) -> AgentIdentity {
        let (leaf, key) = self.leaf(uris);
        AgentIdentity { chain: vec![leaf], key }
    }

    pub(crate) fn agent(&self) -> AgentIdentity {
        self.identity(&["spiffe://example.org/agent"])
    }

    pub(crate) fn server(&self) -> TlsMaterial {
        let (leaf, key) = self.leaf(&["spiffe://example.org/spire/server"]);
        TlsMaterial { chain: vec![leaf], key, anchors: vec![self.anchor.clone()], trust_domain: domain() }
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}
