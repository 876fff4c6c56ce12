//! Certificate requests (PKCS#10, RFC 2986): what they ask for, once their signature is checked.

use der::{Decode as _, Reader as _, SliceReader};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::request::{CertReqInfo, ExtensionReq};

use super::dns::{self, DnsNameError};
use super::signed::{BadSignature, Signed};
use super::view::uris_and_dns_names;
use super::{PublicKeyError, SubjectPublicKey};
use crate::entry::check_workload;
use crate::refusal::Refusal;
use crate::spiffe_id::{SpiffeId, SpiffeIdError, TrustDomain};

/// A request whose signature was checked: its sender has the private key.
///
/// Only the public key is ever taken into a certificate; names are taken by [`Csr::for_mint`] alone, where an
/// administrator asks. Whatever else a request wishes (to be a CA, say) is not even read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csr {
    public_key: SubjectPublicKey,
    uris: Vec<String>,
    dns_names: Vec<String>,
}

/// What an administrator's request may ask for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintRequest {
    /// The identity: in our trust domain, with a path that is not reserved.
    pub spiffe_id: SpiffeId,
    /// DNS names, in the order of the request.
    pub dns_names: Vec<String>,
    /// The key that the sender has proven to have.
    pub public_key: SubjectPublicKey,
}

/// Why a request is refused. The sender makes a new one. The texts begin as SPIRE's do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// There is none.
    #[error("missing CSR: send a PKCS#10 request in DER")]
    Missing,
    /// Larger than any honest request.
    #[error("malformed CSR: larger than {MAX_CSR_BYTES} bytes")]
    TooLarge,
    /// Not strict DER of a PKCS#10 request.
    #[error("malformed CSR: not a PKCS#10 request in DER (is it PEM, or followed by other bytes?): {0}")]
    Malformed(String),
    /// The public key is of a kind that we do not certify.
    #[error("malformed CSR: {0}")]
    PublicKey(#[from] PublicKeyError),
    /// Signed in a way that we do not accept, or that does not fit the key.
    #[error(
        "invalid CSR signature: the signature algorithm is weak, unknown, or not one of the key's; sign with the key's \
         own algorithm and SHA-256, SHA-384 or SHA-512"
    )]
    Algorithm,
    /// The signature does not verify.
    #[error("invalid CSR signature: it was not made by the private key of the request's public key; make a new CSR")]
    Signature,
    /// No URI among the names.
    #[error("CSR URI SAN is required: add the SPIFFE ID as a URI subject alternative name")]
    NoUri,
    /// More than one URI among the names.
    #[error("only one URI SAN is expected: the CSR has {0}")]
    ManyUris(usize),
    /// The URI is not a SPIFFE ID.
    #[error("CSR URI SAN is invalid: {0}")]
    Uri(#[from] SpiffeIdError),
    /// The URI is a SPIFFE ID that we do not issue.
    #[error("CSR URI SAN is invalid: {0}")]
    Identity(String),
    /// A name is not a DNS name.
    #[error("CSR DNS name is invalid: {0}")]
    DnsName(DnsNameError),
    /// A wildcard covers another name.
    #[error("CSR DNS name contains a wildcard that covers another non-wildcard name: {0}")]
    WildcardOverlap(DnsNameError),
}

impl Csr {
    /// Parses a DER request strictly and checks its signature (some 75 µs for P-256).
    ///
    /// # Errors
    /// [`CsrError`].
    pub fn parse(der: &[u8]) -> Result<Self, CsrError> {
        match der.len() {
            0 => return Err(CsrError::Missing),
            1..=MAX_CSR_BYTES => {}
            _ => return Err(CsrError::TooLarge),
        }
        let signed = Signed::parse(der).map_err(|cause| CsrError::Malformed(cause.to_string()))?;
        let (info, spki) = parse_info(signed.body).map_err(|cause| CsrError::Malformed(cause.to_string()))?;
        let public_key = SubjectPublicKey::from_spki(spki)?;
        signed.check(&public_key).map_err(|bad| match bad {
            BadSignature::Key => CsrError::PublicKey(PublicKeyError::Malformed),
            BadSignature::Algorithm => CsrError::Algorithm,
            BadSignature::Signature => CsrError::Signature,
        })?;
        let (uris, dns_names) = requested_names(&info)?;
        Ok(Self { public_key, uris, dns_names })
    }

    /// The key that the sender has proven to have.
    #[must_use]
    pub const fn public_key(&self) -> &SubjectPublicKey {
        &self.public_key
    }

    /// URIs among the requested subject alternative names.
    #[must_use]
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    /// DNS names among the requested subject alternative names.
    #[must_use]
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// What the request asks for, where names are taken from requests: exactly one URI, in `trust_domain`, not
    /// reserved, and valid DNS names of which none covers another.
    ///
    /// # Errors
    /// [`CsrError`].
    pub fn for_mint(&self, trust_domain: &TrustDomain) -> Result<MintRequest, CsrError> {
        let spiffe_id = match self.uris.as_slice() {
            [] => return Err(CsrError::NoUri),
            [uri] => uri.parse::<SpiffeId>()?,
            many => return Err(CsrError::ManyUris(many.len())),
        };
        check_workload(&spiffe_id, trust_domain).map_err(CsrError::Identity)?;
        self.dns_names.iter().try_for_each(|name| dns::check(name)).map_err(CsrError::DnsName)?;
        dns::check_overlap(&self.dns_names).map_err(CsrError::WildcardOverlap)?;
        Ok(MintRequest { spiffe_id, dns_names: self.dns_names.clone(), public_key: self.public_key.clone() })
    }
}

/// The request's information, and its `SubjectPublicKeyInfo` as it was sent.
fn parse_info(der: &[u8]) -> der::Result<(CertReqInfo, &[u8])> {
    let info = CertReqInfo::from_der(der)?;
    let spki = SliceReader::new(der)?.sequence(|reader| {
        reader.tlv_bytes()?; // version
        reader.tlv_bytes()?; // subject
        let spki = reader.tlv_bytes()?;
        reader.tlv_bytes()?; // attributes
        Ok::<_, der::Error>(spki)
    })?;
    Ok((info, spki))
}

fn requested_names(info: &CertReqInfo) -> Result<(Vec<String>, Vec<String>), CsrError> {
    let malformed = |cause: der::Error| CsrError::Malformed(cause.to_string());
    let mut names = None;
    for attribute in info.attributes.iter().filter(|attribute| attribute.oid == EXTENSION_REQUEST) {
        for value in attribute.values.iter() {
            let extensions: ExtensionReq = value.decode_as().map_err(malformed)?;
            for extension in extensions.0.iter().filter(|extension| extension.extn_id == SUBJECT_ALT_NAME) {
                let found = SubjectAltName::from_der(extension.extn_value.as_bytes()).map_err(malformed)?;
                if names.replace(found).is_some() {
                    return Err(CsrError::Malformed("subjectAltName is there twice".to_owned()));
                }
            }
        }
    }
    Ok(uris_and_dns_names(names.as_ref().map_or(&[], |names| names.0.as_slice())))
}

impl From<CsrError> for Refusal {
    fn from(error: CsrError) -> Self {
        Self::invalid(error.to_string())
    }
}

pub(super) const EXTENSION_REQUEST: der::oid::ObjectIdentifier =
    der::oid::ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
const SUBJECT_ALT_NAME: der::oid::ObjectIdentifier = der::oid::ObjectIdentifier::new_unwrap("2.5.29.17");
const MAX_CSR_BYTES: usize = 64 * 1024;
