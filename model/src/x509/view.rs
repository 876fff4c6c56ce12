//! What a certificate says, read strictly once.

use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use x509_cert::Certificate;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::time::Time;

use super::Validity;
use crate::time::UnixTime;

/// The parts of a certificate that SPIFFE and we have rules for.
#[derive(Debug)]
pub(super) struct CertificateView {
    /// DER `Name`.
    pub(super) subject: Vec<u8>,
    pub(super) subject_text: String,
    pub(super) subject_is_empty: bool,
    pub(super) issuer_text: String,
    /// Lower-case hex.
    pub(super) serial: String,
    pub(super) validity: Validity,
    /// `SubjectPublicKeyInfo`, DER.
    pub(super) public_key: Vec<u8>,
    pub(super) uris: Vec<String>,
    pub(super) dns_names: Vec<String>,
    pub(super) names_are_critical: bool,
    pub(super) key_usage: Option<KeyUsage>,
    pub(super) key_usage_is_critical: bool,
    pub(super) is_ca: Option<bool>,
    pub(super) extended_key_usage: Option<Vec<ObjectIdentifier>>,
    pub(super) subject_key_id: Option<Vec<u8>>,
    pub(super) authority_key_id: Option<Vec<u8>>,
}

impl CertificateView {
    /// Reads a DER certificate; the error says in words why it cannot be read.
    pub(super) fn parse(der: &[u8]) -> Result<Self, String> {
        let certificate = Certificate::from_der(der).map_err(|cause| format!("not a DER certificate: {cause}"))?;
        let tbs = certificate.tbs_certificate();
        let names = tbs.get_extension::<SubjectAltName>().map_err(malformed("subjectAltName"))?;
        let key_usage = tbs.get_extension::<KeyUsage>().map_err(malformed("keyUsage"))?;
        let constraints = tbs.get_extension::<BasicConstraints>().map_err(malformed("basicConstraints"))?;
        let extended = tbs.get_extension::<ExtendedKeyUsage>().map_err(malformed("extKeyUsage"))?;
        let subject_key_id = tbs.get_extension::<SubjectKeyIdentifier>().map_err(malformed("subjectKeyIdentifier"))?;
        let authority_key_id =
            tbs.get_extension::<AuthorityKeyIdentifier>().map_err(malformed("authorityKeyIdentifier"))?;
        let (uris, dns_names) = uris_and_dns_names(names.as_ref().map_or(&[], |(_, names)| names.0.as_slice()));
        Ok(Self {
            subject: tbs.subject().to_der().map_err(malformed("subject"))?,
            subject_text: tbs.subject().to_string(),
            subject_is_empty: tbs.subject().is_empty(),
            issuer_text: tbs.issuer().to_string(),
            serial: super::hex(tbs.serial_number().as_bytes()),
            validity: Validity {
                not_before: unix_time(&tbs.validity().not_before),
                not_after: unix_time(&tbs.validity().not_after),
            },
            public_key: tbs.subject_public_key_info().to_der().map_err(malformed("subjectPublicKeyInfo"))?,
            uris,
            dns_names,
            names_are_critical: names.is_some_and(|(critical, _)| critical),
            key_usage: key_usage.as_ref().map(|(_, usage)| *usage),
            key_usage_is_critical: key_usage.is_some_and(|(critical, _)| critical),
            is_ca: constraints.map(|(_, constraints)| constraints.ca),
            extended_key_usage: extended.map(|(_, usages)| usages.0),
            subject_key_id: subject_key_id.map(|(_, id)| id.0.as_bytes().to_vec()),
            authority_key_id: authority_key_id.and_then(|(_, id)| id.key_identifier).map(|id| id.as_bytes().to_vec()),
        })
    }
}

/// The URIs and DNS names among subject alternative names, in order.
pub(super) fn uris_and_dns_names(names: &[GeneralName]) -> (Vec<String>, Vec<String>) {
    let (mut uris, mut dns_names) = (Vec::new(), Vec::new());
    for name in names {
        match name {
            GeneralName::UniformResourceIdentifier(uri) => uris.push(uri.to_string()),
            GeneralName::DnsName(name) => dns_names.push(name.to_string()),
            GeneralName::OtherName(_)
            | GeneralName::Rfc822Name(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EdiPartyName(_)
            | GeneralName::IpAddress(_)
            | GeneralName::RegisteredId(_) => {}
        }
    }
    (uris, dns_names)
}

fn malformed(what: &'static str) -> impl Fn(der::Error) -> String {
    move |_| format!("{what} is malformed or there twice")
}

fn unix_time(time: &Time) -> UnixTime {
    UnixTime::from_secs(time.to_unix_duration().as_secs())
}
