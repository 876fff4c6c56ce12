//! One certificate of a chain.

use der::asn1::ObjectIdentifier;
use der::{Decode as _, Encode as _};
use x509_cert::Certificate;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, NameConstraints};

use super::ChainError;
use crate::authority::KeyId;
use crate::x509::signed::{BadSignature, Signed};
use crate::x509::view::CertificateView;
use crate::x509::{SubjectPublicKey, Validity};

/// What rules are about.
pub(super) struct Link {
    pub(super) der: Vec<u8>,
    /// The subject for people, or what stands for it.
    pub(super) name: String,
    pub(super) issuer_name: String,
    /// DER `Name`.
    pub(super) subject: Vec<u8>,
    /// DER `Name`.
    pub(super) issuer: Vec<u8>,
    pub(super) validity: Validity,
    pub(super) public_key: SubjectPublicKey,
    pub(super) subject_key_id: Option<Vec<u8>>,
    pub(super) authority_key_id: Option<Vec<u8>>,
    pub(super) uris: Vec<String>,
    pub(super) is_ca: bool,
    pub(super) path_length: Option<u8>,
    /// Whether there is a key usage, and whether it has keyCertSign.
    pub(super) signs_certificates: Option<bool>,
    pub(super) extended_key_usage: Option<Vec<ObjectIdentifier>>,
    pub(super) permitted: Vec<GeneralName>,
    pub(super) excluded: Vec<GeneralName>,
    pub(super) critical: Vec<ObjectIdentifier>,
}

impl Link {
    /// Reads a certificate, the `nth` of its file.
    pub(super) fn parse(der: &[u8], nth: usize) -> Result<Self, ChainError> {
        let malformed = |problem: String| ChainError::Malformed { nth, problem };
        let view = CertificateView::parse(der).map_err(malformed)?;
        let twice = |what: &'static str| move |_| malformed(format!("{what} is malformed or there twice"));
        let certificate = Certificate::from_der(der).map_err(|cause| malformed(cause.to_string()))?;
        let tbs = certificate.tbs_certificate();
        if tbs.signature() != certificate.signature_algorithm() {
            return Err(malformed("it names two signature algorithms".to_owned()));
        }
        let constraints = tbs.get_extension::<BasicConstraints>().map_err(twice("basicConstraints"))?;
        let names = tbs.get_extension::<NameConstraints>().map_err(twice("nameConstraints"))?;
        let (permitted, excluded) =
            names.map(|(_, names)| (names.permitted_subtrees, names.excluded_subtrees)).unwrap_or_default();
        let bases = |subtrees: Option<Vec<x509_cert::ext::pkix::constraints::name::GeneralSubtree>>| {
            subtrees.unwrap_or_default().into_iter().map(|subtree| subtree.base).collect()
        };
        let extensions = tbs.extensions().map(Vec::as_slice).unwrap_or_default();
        let name = if view.subject_is_empty { format!("number {nth}, without a subject") } else { view.subject_text };
        let public_key = SubjectPublicKey::from_spki(&view.public_key)
            .map_err(|cause| ChainError::Rule { subject: name.clone(), problem: cause.to_string() })?;
        Ok(Self {
            der: der.to_vec(),
            name,
            issuer_name: view.issuer_text,
            subject: view.subject,
            issuer: tbs.issuer().to_der().map_err(|cause| malformed(cause.to_string()))?,
            validity: view.validity,
            public_key,
            subject_key_id: view.subject_key_id,
            authority_key_id: view.authority_key_id,
            uris: view.uris,
            is_ca: view.is_ca == Some(true),
            path_length: constraints.and_then(|(_, constraints)| constraints.path_len_constraint),
            signs_certificates: view.key_usage.map(|usage| usage.key_cert_sign()),
            extended_key_usage: view.extended_key_usage,
            permitted: bases(permitted),
            excluded: bases(excluded),
            critical: extensions.iter().filter(|one| one.critical).map(|one| one.extn_id).collect(),
        })
    }

    pub(super) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Whether the key of `issuer` signed it.
    pub(super) fn signed_by(&self, issuer: &Self) -> Result<(), BadSignature> {
        let signed = Signed::parse(&self.der).map_err(|_| BadSignature::Signature)?;
        signed.check(&issuer.public_key)
    }
}

/// The identifier of a public key, if it is one that we certify.
pub(super) fn key_id(spki: &[u8]) -> Option<KeyId> {
    SubjectPublicKey::from_spki(spki).ok().map(|key| key.authority_id())
}
