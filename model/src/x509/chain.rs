//! A CA certificate made elsewhere, with what is above it: read from PEM, put in order, and held against everything that
//! verifiers will hold it against, before anything depends on it.

mod link;
mod rules;

use std::time::Duration;

use rustls_pki_types::pem::{PemObject as _, SectionKind};

use self::link::Link;
use super::Validity;
use super::signed::BadSignature;
use super::write::rfc3339;
use crate::authority::{KeyId, Outside};
use crate::spiffe_id::TrustDomain;
use crate::time::UnixTime;

/// A CA certificate for a key of ours, whose chain is whole and good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaChain {
    certificate: Vec<u8>,
    above: Vec<Vec<u8>>,
    public_key: Vec<u8>,
    id: KeyId,
    not_after: UnixTime,
    notes: Vec<String>,
}

/// What a chain is held against.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Whose CA it is to be.
    pub trust_domain: &'a TrustDomain,
    /// It must be valid now.
    pub now: UnixTime,
    /// And must live at least this long: the life of an issuing CA.
    pub at_least: Duration,
}

/// Why a chain is not taken. Each says which certificate, what is wrong with it and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Larger than any honest chain.
    #[error("the chain is larger than {MAX_BYTES} bytes: leave out what does not belong to it")]
    TooLarge,
    /// Not PEM.
    #[error(
        "the chain holds no certificate in PEM (-----BEGIN CERTIFICATE-----): convert DER with `openssl x509 -inform DER`, PKCS#7 with `openssl pkcs7 -print_certs`"
    )]
    NoCertificate,
    /// PEM that is damaged.
    #[error("the chain is not good PEM: {0}")]
    Pem(String),
    /// Something else is in it.
    #[error("the chain holds {0}: take it out, only certificates belong there")]
    Stranger(&'static str),
    /// More certificates than any verifier follows.
    #[error("the chain has more than {MAX_CERTIFICATES} certificates: leave out what does not belong to it")]
    TooMany,
    /// A certificate that cannot be read.
    #[error("certificate {nth} of the chain cannot be read: {problem}")]
    Malformed {
        /// Counted from 1, as in the file.
        nth: usize,
        /// What is wrong.
        problem: String,
    },
    /// None is for a key that is ours.
    #[error(
        "no certificate of the chain is for the expected key ({expected}): its keys are {found}. Have the request signed that `signet authority csr` prints, or name the certificate's own key"
    )]
    OtherKey {
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// Several are for keys that are ours.
    #[error("certificates {0} of the chain are all for an expected key: leave one")]
    SeveralForOurKeys(String),
    /// The chain breaks off.
    #[error(
        "the chain breaks off at \"{subject}\": the certificate of its issuer \"{issuer}\" is missing. Append it, and all up to the self-signed root"
    )]
    Missing {
        /// The last that was found.
        subject: String,
        /// The one that is missing.
        issuer: String,
    },
    /// A signature does not verify.
    #[error(
        "certificate \"{subject}\" was not signed by the key of \"{issuer}\" in the chain: is that an older certificate of the same name? Take the one with the key that signed"
    )]
    Signature {
        /// What is signed.
        subject: String,
        /// By whom it should be.
        issuer: String,
    },
    /// Signed in a way that we do not accept.
    #[error(
        "certificate \"{subject}\" is signed with an algorithm that is weak, unknown or not one of its issuer's key: use ECDSA on P-256 or P-384, Ed25519, or RSA of 2048 bits and more, with SHA-256, SHA-384 or SHA-512"
    )]
    Algorithm {
        /// What is signed.
        subject: String,
    },
    /// Not part of the chain.
    #[error("certificate \"{0}\" is not part of the chain from our key to its root: leave it out")]
    Unrelated(String),
    /// One of the rules for CA certificates.
    #[error("certificate \"{subject}\": {problem}")]
    Rule {
        /// Which.
        subject: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl CaChain {
    /// Reads the certificates in `pem`, in whatever order, finds the one for one of `keys` (`SubjectPublicKeyInfo`, DER),
    /// and follows its issuers up to one that signed itself.
    ///
    /// Spec: RFC 5280 §4.2 and §6, X509-SVID §3 to §5.
    /// # Errors
    /// [`ChainError`].
    pub fn read<K: AsRef<[u8]>>(pem: &[u8], keys: &[K], rules: Rules<'_>) -> Result<Self, ChainError> {
        let certificates = certificates(pem)?;
        let links = certificates.iter().enumerate().map(|(at, der)| Link::parse(der, at + 1));
        let chain = ordered(links.collect::<Result<Vec<_>, _>>()?, keys)?;
        rules::check(&chain, rules)?;
        let notes = rules::notes(&chain);
        let (own, above) = chain.split_first().ok_or(ChainError::NoCertificate)?;
        let not_after = above.iter().fold(own.validity.not_after, |end, one| end.min(one.validity.not_after));
        Ok(Self {
            certificate: own.der.clone(),
            above: above.iter().map(|one| one.der.clone()).collect(),
            public_key: own.public_key.as_der().to_vec(),
            id: own.subject_key_id.as_deref().map(super::hex).unwrap_or_default(),
            not_after,
            notes,
        })
    }

    /// The CA certificate itself, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// What is above it: nothing if it signed itself.
    #[must_use]
    pub fn outside(&self) -> Outside {
        Outside { above: self.above.iter().cloned().map(Into::into).collect() }
    }

    /// Its `SubjectPublicKeyInfo`, DER.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Its subject key identifier, in lower-case hex.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// When the first certificate of the chain ends: nothing under it is accepted after that.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// What its owner should know, each a sentence.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// The certificates of a PEM text, each once. Text around them is allowed, other sections are not.
fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, ChainError> {
    if pem.len() > MAX_BYTES {
        return Err(ChainError::TooLarge);
    }
    let mut found: Vec<Vec<u8>> = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        let (kind, der) = section.map_err(|cause| ChainError::Pem(cause.to_string()))?;
        match kind {
            SectionKind::Certificate => {}
            SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey => {
                return Err(ChainError::Stranger("a private key"));
            }
            SectionKind::Csr => return Err(ChainError::Stranger("a certificate request, which nobody has signed yet")),
            SectionKind::Crl => return Err(ChainError::Stranger("a revocation list")),
            SectionKind::PublicKey | SectionKind::EchConfigList | _ => {
                return Err(ChainError::Stranger("something that is no certificate"));
            }
        }
        if !found.contains(&der) {
            found.push(der);
        }
        if found.len() > MAX_CERTIFICATES {
            return Err(ChainError::TooMany);
        }
    }
    if found.is_empty() { Err(ChainError::NoCertificate) } else { Ok(found) }
}

/// From the certificate for our key up to the one that signed itself.
fn ordered<K: AsRef<[u8]>>(mut links: Vec<Link>, keys: &[K]) -> Result<Vec<Link>, ChainError> {
    let is_ours = |link: &Link| keys.iter().any(|key| key.as_ref() == link.public_key.as_der());
    let ours: Vec<usize> = links.iter().enumerate().filter(|(_, link)| is_ours(link)).map(|(at, _)| at).collect();
    let first = match ours.as_slice() {
        [one] => *one,
        [] => return Err(other_key(&links, keys)),
        several => {
            let several: Vec<String> = several.iter().map(|at| (at + 1).to_string()).collect();
            return Err(ChainError::SeveralForOurKeys(several.join(" and ")));
        }
    };
    let mut chain = vec![links.remove(first)];
    while let Some(last) = chain.last() {
        let signed_by = |issuer: &Link| {
            last.signed_by(issuer).map_err(|bad| match bad {
                BadSignature::Key | BadSignature::Algorithm => ChainError::Algorithm { subject: last.name.clone() },
                BadSignature::Signature => {
                    ChainError::Signature { subject: last.name.clone(), issuer: issuer.name.clone() }
                }
            })
        };
        if last.is_self_issued() {
            signed_by(last)?;
            break;
        }
        let candidates = || links.iter().enumerate().filter(|(_, link)| link.subject == last.issuer);
        let next = candidates().find(|(_, link)| signed_by(link).is_ok()).map(|(at, _)| at);
        let Some(next) = next else {
            candidates().try_for_each(|(_, link)| signed_by(link))?;
            return Err(ChainError::Missing { subject: last.name.clone(), issuer: last.issuer_name.clone() });
        };
        chain.push(links.remove(next));
    }
    match links.first() {
        Some(stranger) => Err(ChainError::Unrelated(stranger.name.clone())),
        None => Ok(chain),
    }
}

fn other_key<K: AsRef<[u8]>>(links: &[Link], keys: &[K]) -> ChainError {
    let expected: Vec<String> = keys.iter().filter_map(|key| link::key_id(key.as_ref())).collect();
    let found: Vec<String> = links.iter().map(|link| link.public_key.authority_id()).collect();
    ChainError::OtherKey { expected: expected.join(", "), found: found.join(", ") }
}

fn shown(validity: Validity) -> (String, String) {
    (rfc3339(validity.not_before), rfc3339(validity.not_after))
}

const MAX_BYTES: usize = 64 * 1024;
/// Verifiers give up beyond some ten.
const MAX_CERTIFICATES: usize = 8;
