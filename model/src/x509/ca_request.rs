//! The certificate request by which an outside CA is asked to sign one of our roots (PKCS#10, RFC 2986).

use std::str::FromStr as _;

use der::Encode as _;
use x509_cert::name::Name;

use super::ca::subject_key_identifier;
use super::tbs::{assemble, extension, name, oid};
use super::write::{Writer, tag};
use super::{PublicKeyKind, SubjectPublicKey};
use crate::spiffe_id::TrustDomain;

/// The name that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(Vec<u8>);

/// A text that names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a distinguished name of up to {MAX_SUBJECT_BYTES} bytes, as in \"CN=Signet CA,O=Example Inc,C=DE\""
)]
pub struct SubjectError(String);

impl Subject {
    /// From RFC 4514 text, the most specific attribute first.
    ///
    /// # Errors
    /// [`SubjectError`].
    pub fn parse(text: &str) -> Result<Self, SubjectError> {
        let refuse = || SubjectError(text.to_owned());
        let parsed = Name::from_str(text).map_err(|_| refuse())?;
        if parsed.is_empty() || text.len() > MAX_SUBJECT_BYTES {
            return Err(refuse());
        }
        Ok(Self(parsed.to_der().map_err(|_| refuse())?))
    }

    /// What our own roots are called, with the key's identifier so that no two have the same name.
    #[must_use]
    pub fn of(public_key: &SubjectPublicKey) -> Self {
        Self(name([
            (oid::COUNTRY, tag::PRINTABLE_STRING, "US"),
            (oid::ORGANIZATION, tag::PRINTABLE_STRING, "SPIFFE"),
            (oid::SERIAL_NUMBER, tag::PRINTABLE_STRING, &public_key.authority_id()),
        ]))
    }
}

/// A request before it is signed by its own key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestInfo {
    der: Vec<u8>,
    signer: PublicKeyKind,
}

impl RequestInfo {
    /// Asks for a CA certificate of `trust_domain`: key usage, basic constraints without a path length, and the trust
    /// domain's URI. Spec: X509-SVID §3 and §4.
    #[must_use]
    pub fn new(trust_domain: &TrustDomain, subject: &Subject, public_key: &SubjectPublicKey) -> Self {
        let mut w = Writer::with_capacity(400);
        w.nested(tag::SEQUENCE, |w| {
            w.value(tag::INTEGER, &[0]);
            w.raw(&subject.0);
            w.raw(public_key.as_der());
            w.nested(tag::CONSTRUCTED_0, |w| {
                w.nested(tag::SEQUENCE, |w| {
                    w.value(tag::OID, EXTENSION_REQUEST);
                    w.nested(tag::SET, |w| w.nested(tag::SEQUENCE, |w| extensions(w, trust_domain, public_key)));
                });
            });
        });
        Self { der: w.into_der(), signer: public_key.kind() }
    }

    /// The bytes to sign.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.der
    }

    /// The request, DER, with this signature: `r ‖ s` for ECDSA, else as it is.
    #[must_use]
    pub fn assemble(&self, signature: &[u8]) -> Vec<u8> {
        assemble(&self.der, self.signer, signature)
    }
}

fn extensions(w: &mut Writer, trust_domain: &TrustDomain, public_key: &SubjectPublicKey) {
    // keyCertSign and cRLSign
    extension(w, oid::KEY_USAGE, true, |w| w.value(tag::BIT_STRING, &[1, 0x06]));
    extension(w, oid::BASIC_CONSTRAINTS, true, |w| w.nested(tag::SEQUENCE, |w| w.value(tag::BOOLEAN, &[0xff])));
    subject_key_identifier(w, public_key);
    extension(w, oid::SUBJECT_ALT_NAME, false, |w| {
        let uri = trust_domain.id().to_string();
        w.nested(tag::SEQUENCE, |w| w.value(tag::IMPLICIT_6, uri.as_bytes()));
    });
}

/// 1.2.840.113549.1.9.14
const EXTENSION_REQUEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e];
const MAX_SUBJECT_BYTES: usize = 512;
