//! CA certificates: the root, and the issuing CAs that it signs.

use std::time::Duration;

use super::tbs::{Parts, extension, name, oid};
use super::view::CertificateView;
use super::write::{Writer, tag};
use super::{PublicKeyError, PublicKeyKind, SerialNumber, SubjectPublicKey, TbsCertificate, Validity};
use crate::authority::KeyId;
use crate::spiffe_id::TrustDomain;
use crate::time::UnixTime;

/// Everything that a CA certificate says. No path length and no name constraints: downstream CAs may be signed, and
/// rustls-webpki refuses every SVID below a URI name constraint.
#[derive(Debug, Clone, Copy)]
pub struct Template<'a> {
    /// Whose CA it is.
    pub trust_domain: &'a TrustDomain,
    /// Its key.
    pub public_key: &'a SubjectPublicKey,
    /// Its serial number. Stands in the subject too, so that no two CAs have the same one.
    pub serial: SerialNumber,
    /// How long it is valid, from [`validity`]. Cut to the issuer's.
    pub validity: Validity,
    /// Who signs; `None` for a root, which signs itself.
    pub issuer: Option<&'a IssuerView>,
}

impl Template<'_> {
    /// The bytes to be signed. Spec: X509-SVID §3 and §4.
    #[must_use]
    pub fn to_be_signed(&self) -> TbsCertificate {
        let subject = name([
            (oid::COUNTRY, tag::PRINTABLE_STRING, "US"),
            (oid::ORGANIZATION, tag::PRINTABLE_STRING, "SPIFFE"),
            (oid::SERIAL_NUMBER, tag::PRINTABLE_STRING, &self.serial.decimal()),
        ]);
        let parts = Parts {
            serial: self.serial,
            issuer: self.issuer.map_or(&subject, IssuerView::subject),
            validity: self.issuer.map_or(self.validity, |issuer| self.validity.within(issuer.validity())),
            subject: &subject,
            public_key: self.public_key,
            signer: self.issuer.map_or(self.public_key.kind(), IssuerView::key_kind),
        };
        TbsCertificate::write(&parts, |w| {
            // keyCertSign and cRLSign
            extension(w, oid::KEY_USAGE, true, |w| w.value(tag::BIT_STRING, &[1, 0x06]));
            extension(w, oid::BASIC_CONSTRAINTS, true, |w| {
                w.nested(tag::SEQUENCE, |w| w.value(tag::BOOLEAN, &[0xff]));
            });
            subject_key_identifier(w, self.public_key);
            // A root has no need of it: it would say the same as its subject key identifier (RFC 5280 §4.2.1.1).
            if let Some(issuer) = self.issuer {
                w.raw(issuer.authority_key_identifier());
            }
            extension(w, oid::SUBJECT_ALT_NAME, false, |w| {
                let uri = self.trust_domain.id().to_string();
                w.nested(tag::SEQUENCE, |w| w.value(tag::IMPLICIT_6, uri.as_bytes()));
            });
        })
    }
}

/// A CA as seen by what it signs: made once per CA certificate, used for every leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerView {
    certificate: Vec<u8>,
    subject: Vec<u8>,
    key_id: Vec<u8>,
    authority_key_identifier: Vec<u8>,
    validity: Validity,
    key_kind: PublicKeyKind,
}

/// A certificate that is not one of our CAs. It was stored wrongly, or the node was given another cluster's data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// Not a certificate.
    #[error("the CA certificate cannot be read: {0}")]
    Malformed(String),
    /// The certificate's key is another one.
    #[error("the CA certificate does not belong to the public key it was stored with")]
    WrongPublicKey,
    /// The key is of a kind that signs no certificates here.
    #[error("the CA certificate's key cannot be used: {0}")]
    Key(PublicKeyError),
    /// It may not sign certificates.
    #[error("the certificate may not sign others: {0} is missing")]
    NotCa(&'static str),
    /// It is of another trust domain.
    #[error("the CA certificate does not name {0} as its only URI")]
    WrongTrustDomain(String),
}

impl IssuerView {
    /// Reads a CA certificate of `trust_domain` (DER) that must belong to `public_key` (`SubjectPublicKeyInfo`, DER).
    ///
    /// # Errors
    /// [`IssuerError`].
    pub fn new(certificate: &[u8], public_key: &[u8], trust_domain: &TrustDomain) -> Result<Self, IssuerError> {
        let view = CertificateView::parse(certificate).map_err(IssuerError::Malformed)?;
        if view.public_key != public_key {
            return Err(IssuerError::WrongPublicKey);
        }
        if view.is_ca != Some(true) {
            return Err(IssuerError::NotCa("basicConstraints cA=TRUE"));
        }
        if !view.key_usage.is_some_and(|usage| usage.key_cert_sign()) {
            return Err(IssuerError::NotCa("keyUsage keyCertSign"));
        }
        let id = trust_domain.id().to_string();
        if view.uris != [id.as_str()] {
            return Err(IssuerError::WrongTrustDomain(id));
        }
        let key_id = view.subject_key_id.ok_or(IssuerError::NotCa("subjectKeyIdentifier"))?;
        let key_kind = SubjectPublicKey::from_spki(public_key).map_err(IssuerError::Key)?.kind();
        Ok(Self {
            key_kind,
            certificate: certificate.to_vec(),
            subject: view.subject,
            authority_key_identifier: authority_key_identifier(&key_id),
            key_id,
            validity: view.validity,
        })
    }

    /// Reads a CA certificate that was made or signed elsewhere, and held against the rules of [`chain`](super::chain)
    /// when it was imported. What it signs ends at `not_after` at the latest, when the first certificate above it does.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub fn from_outside(certificate: &[u8], public_key: &[u8], not_after: UnixTime) -> Result<Self, IssuerError> {
        let view = CertificateView::parse(certificate).map_err(IssuerError::Malformed)?;
        if view.public_key != public_key {
            return Err(IssuerError::WrongPublicKey);
        }
        let key_id = view.subject_key_id.ok_or(IssuerError::NotCa("subjectKeyIdentifier"))?;
        let key_kind = SubjectPublicKey::from_spki(public_key).map_err(IssuerError::Key)?.kind();
        Ok(Self {
            key_kind,
            certificate: certificate.to_vec(),
            subject: view.subject,
            authority_key_identifier: authority_key_identifier(&key_id),
            key_id,
            validity: Validity { not_after: view.validity.not_after.min(not_after), ..view.validity },
        })
    }

    /// The certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// How long it is valid.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// The authority's id: its subject key identifier in lower-case hex.
    #[must_use]
    pub fn authority_id(&self) -> KeyId {
        super::hex(&self.key_id)
    }

    /// What its key is, and so how it signs.
    #[must_use]
    pub const fn key_kind(&self) -> PublicKeyKind {
        self.key_kind
    }

    /// DER `Name`.
    pub(super) fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// The extension that everything it signs carries. The identifier is copied from the certificate, not computed
    /// anew, so that it fits also where the CA was made by others (RFC 5280 §4.2.1.1).
    pub(super) fn authority_key_identifier(&self) -> &[u8] {
        &self.authority_key_identifier
    }
}

/// How long a CA made now is valid: `lifetime` from `now`, dated back by ten seconds for clocks that are behind.
#[must_use]
pub fn validity(now: UnixTime, lifetime: Duration) -> Validity {
    Validity { not_before: not_before(now), not_after: now.after(lifetime) }
}

/// When what is made now begins to be valid: ten seconds ago, for clocks that are behind.
#[must_use]
pub const fn not_before(now: UnixTime) -> UnixTime {
    now.before(BACK_DATING)
}

pub(super) fn subject_key_identifier(w: &mut Writer, public_key: &SubjectPublicKey) {
    extension(w, oid::SUBJECT_KEY_IDENTIFIER, false, |w| w.value(tag::OCTET_STRING, public_key.key_id()));
}

fn authority_key_identifier(key_id: &[u8]) -> Vec<u8> {
    let mut w = Writer::with_capacity(33);
    extension(&mut w, oid::AUTHORITY_KEY_IDENTIFIER, false, |w| {
        w.nested(tag::SEQUENCE, |w| w.value(tag::IMPLICIT_0, key_id));
    });
    w.into_der()
}

/// As SPIRE does.
const BACK_DATING: Duration = Duration::from_secs(10);
