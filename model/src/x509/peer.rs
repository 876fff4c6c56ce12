//! Whose certificate it is that a peer presents.

use std::fmt;

use der::asn1::ObjectIdentifier;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::view::CertificateView;
use super::write::rfc3339;
use crate::spiffe_id::{SpiffeId, SpiffeIdError, TrustDomain};
use crate::time::UnixTime;

/// The trust anchors of one trust domain, parsed once.
#[derive(Clone)]
pub struct TrustAnchors {
    trust_domain: TrustDomain,
    anchors: Vec<TrustAnchor<'static>>,
}

/// Why a certificate proves nothing. The text says what is wrong in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// No certificate was presented.
    #[error("no certificate was presented")]
    NoCertificate,
    /// A certificate cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Malformed(String),
    /// A trust anchor cannot be read.
    #[error("the trust anchor cannot be read: {0}")]
    Anchor(String),
    /// Not exactly one URI among the names (X509-SVID §2).
    #[error("an X.509-SVID has exactly one URI SAN, this certificate has {0}")]
    UriCount(usize),
    /// The URI is not a SPIFFE ID.
    #[error("the URI SAN {uri:?} is not a SPIFFE ID: {cause}")]
    SpiffeId {
        /// The URI.
        uri: String,
        /// What is wrong with it.
        cause: SpiffeIdError,
    },
    /// The SPIFFE ID is that of a trust domain.
    #[error("the SPIFFE ID {0} has no path: it names a trust domain, not a workload")]
    NoPath(SpiffeId),
    /// The SPIFFE ID is of another trust domain.
    #[error("the SPIFFE ID {id} is not of trust domain {expected}")]
    TrustDomain {
        /// What the certificate says.
        id: SpiffeId,
        /// Whose trust anchors these are.
        expected: TrustDomain,
    },
    /// The subject is empty and the names are not critical (X509-SVID §2).
    #[error("the subject is empty and subjectAltName is not critical")]
    NamesNotCritical,
    /// A CA certificate (X509-SVID §5.2).
    #[error("this is a CA certificate (basicConstraints cA=TRUE): it signs others and authenticates nobody")]
    Ca,
    /// No key usage (X509-SVID §4.3).
    #[error("keyUsage is missing")]
    NoKeyUsage,
    /// Key usage is not critical (X509-SVID §4.3).
    #[error("keyUsage is not critical")]
    KeyUsageNotCritical,
    /// No digitalSignature (X509-SVID §4.3).
    #[error("keyUsage lacks digitalSignature")]
    NoDigitalSignature,
    /// May sign certificates or CRLs (X509-SVID §5.2).
    #[error("keyUsage has {0}, which a workload's certificate must not have")]
    SigningUsage(&'static str),
    /// Extended key usage without what it needs (X509-SVID §4.4).
    #[error("extKeyUsage lacks {0}")]
    ExtendedKeyUsage(&'static str),
    /// A CA certificate of the chain is not one (X509-SVID §4 and §5.2).
    #[error("a CA certificate of the chain is not usable: {0}")]
    Intermediate(String),
    /// Ended.
    #[error("the certificate chain expired at {not_after}")]
    Expired {
        /// When it ended.
        not_after: String,
    },
    /// Not begun.
    #[error("the certificate chain is not valid before {not_before}: is a clock wrong?")]
    NotYetValid {
        /// When it begins.
        not_before: String,
    },
    /// No path to a trust anchor (RFC 5280 §6).
    #[error("the certificate chain leads to no trust anchor of {trust_domain}: {cause}")]
    Path {
        /// Whose trust anchors these are.
        trust_domain: TrustDomain,
        /// What is wrong, in words.
        cause: String,
    },
}

/// What a certificate says, and everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspection {
    /// The SPIFFE ID, if there is a valid one.
    pub spiffe_id: Option<SpiffeId>,
    /// Subject, as RFC 4514 writes names.
    pub subject: String,
    /// Issuer, as RFC 4514 writes names.
    pub issuer: String,
    /// Serial number, lower-case hex.
    pub serial: String,
    /// `notBefore`, seconds since the epoch.
    pub not_before_secs: u64,
    /// `notAfter`, seconds since the epoch.
    pub not_after_secs: u64,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// The issuer's key identifier, lower-case hex; empty if the certificate names none.
    pub authority_id: String,
    /// What is wrong, one sentence each; empty when it would be accepted.
    pub problems: Vec<String>,
}

impl TrustAnchors {
    /// Anchors of `trust_domain` from its root certificates, DER.
    ///
    /// # Errors
    /// [`PeerError::Anchor`]: one of them is not a CA certificate.
    pub fn new<'a>(
        trust_domain: TrustDomain,
        certificates: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, PeerError> {
        let anchors = certificates.into_iter().map(anchor).collect::<Result<_, _>>()?;
        Ok(Self { trust_domain, anchors })
    }

    /// Whose anchors they are.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The SPIFFE ID proven by `chain` (DER, leaf first) at `now`. That the peer has the leaf's private key is the TLS
    /// stack's to check. Intermediates of the chain that its path does not need are ignored.
    ///
    /// Spec: X509-SVID §5, RFC 5280 §6.
    /// # Errors
    /// [`PeerError`]: the certificate is not an X.509-SVID of this trust domain that is valid now.
    pub fn authenticate<C: AsRef<[u8]>>(&self, chain: &[C], now: UnixTime) -> Result<SpiffeId, PeerError> {
        let leaf = chain.first().ok_or(PeerError::NoCertificate)?;
        let view = CertificateView::parse(leaf.as_ref()).map_err(PeerError::Malformed)?;
        if let Some(problem) = leaf_problems(&view).into_iter().find(PeerError::forbids) {
            return Err(problem);
        }
        let id = spiffe_id(&view)?;
        self.check_member(&id)?;
        self.check_path(chain, now)?;
        Ok(id)
    }

    fn check_member(&self, id: &SpiffeId) -> Result<(), PeerError> {
        if id.is_member_of(&self.trust_domain) {
            Ok(())
        } else {
            Err(PeerError::TrustDomain { id: id.clone(), expected: self.trust_domain.clone() })
        }
    }

    fn check_path<C: AsRef<[u8]>>(&self, chain: &[C], now: UnixTime) -> Result<(), PeerError> {
        let mut certificates = chain.iter().map(|certificate| CertificateDer::from(certificate.as_ref()));
        let leaf = certificates.next().ok_or(PeerError::NoCertificate)?;
        let intermediates: Vec<_> = certificates.collect();
        let leaf = EndEntityCert::try_from(&leaf).map_err(|cause| PeerError::Malformed(cause.to_string()))?;
        let now = rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.secs()));
        let path = leaf
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &self.anchors,
                &intermediates,
                now,
                KeyUsage::client_auth(),
                None,
                None,
            )
            .map_err(|cause| self.path_error(&cause))?;
        self.check_intermediates(&path)
    }

    /// webpki ignores key usage, and knows nothing of SPIFFE IDs: X509-SVID §4.3 and §3.
    fn check_intermediates(&self, path: &VerifiedPath<'_>) -> Result<(), PeerError> {
        let own = self.trust_domain.id().to_string();
        for certificate in path.intermediate_certificates() {
            let view = CertificateView::parse(&certificate.der()).map_err(PeerError::Malformed)?;
            if !view.key_usage.is_some_and(|usage| usage.key_cert_sign()) {
                return Err(PeerError::Intermediate(format!("{} lacks keyUsage keyCertSign", view.subject_text)));
            }
            if view.uris.iter().any(|uri| uri.starts_with("spiffe:") && *uri != own) {
                return Err(PeerError::Intermediate(format!(
                    "{} names another identity than {own}",
                    view.subject_text
                )));
            }
        }
        Ok(())
    }

    fn path_error(&self, cause: &webpki::Error) -> PeerError {
        let rfc3339 = |time: &rustls_pki_types::UnixTime| rfc3339(UnixTime::from_secs(time.as_secs()));
        #[expect(clippy::wildcard_enum_match_arm, reason = "webpki's errors are open; the others speak for themselves")]
        let cause = match cause {
            webpki::Error::CertExpired { not_after, .. } => {
                return PeerError::Expired { not_after: rfc3339(not_after) };
            }
            webpki::Error::CertNotValidYet { not_before, .. } => {
                return PeerError::NotYetValid { not_before: rfc3339(not_before) };
            }
            webpki::Error::UnknownIssuer => {
                "its issuer is unknown; is an intermediate missing, or the bundle old?".to_owned()
            }
            webpki::Error::InvalidSignatureForPublicKey => "a signature in it is not its issuer's".to_owned(),
            webpki::Error::EndEntityUsedAsCa => "a certificate that is not a CA's signs another one".to_owned(),
            webpki::Error::CaUsedAsEndEntity => return PeerError::Ca,
            other => other.to_string(),
        };
        PeerError::Path { trust_domain: self.trust_domain.clone(), cause }
    }
}

impl fmt::Debug for TrustAnchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustAnchors({}, {})", self.trust_domain, self.anchors.len())
    }
}

impl PeerError {
    /// What an issuer must heed, but a verifier of clients may pass over: a leaf that is for clients alone.
    fn forbids(&self) -> bool {
        !matches!(self, Self::ExtendedKeyUsage(SERVER_AUTH_NAME))
    }
}

/// Reads a chain (DER, leaf first) for people, against `anchors` if there are some.
#[must_use]
pub fn inspect<C: AsRef<[u8]>>(chain: &[C], anchors: Option<&TrustAnchors>, now: UnixTime) -> Inspection {
    let problem = |error: PeerError| Inspection { problems: vec![error.to_string()], ..Inspection::default() };
    let Some(leaf) = chain.first() else { return problem(PeerError::NoCertificate) };
    let view = match CertificateView::parse(leaf.as_ref()) {
        Ok(view) => view,
        Err(cause) => return problem(PeerError::Malformed(cause)),
    };
    let mut problems = leaf_problems(&view);
    let spiffe_id = match spiffe_id(&view) {
        Ok(id) => Some(id),
        Err(error) => {
            problems.push(error);
            None
        }
    };
    if let Some(anchors) = anchors {
        problems.extend(spiffe_id.as_ref().and_then(|id| anchors.check_member(id).err()));
        problems.extend(anchors.check_path(chain, now).err());
    } else {
        problems.extend(time_problem(&view, now));
    }
    let mut problems: Vec<_> = problems.iter().map(PeerError::to_string).collect();
    problems.dedup();
    Inspection {
        spiffe_id,
        subject: view.subject_text,
        issuer: view.issuer_text,
        serial: view.serial,
        not_before_secs: view.validity.not_before.secs(),
        not_after_secs: view.validity.not_after.secs(),
        dns_names: view.dns_names,
        authority_id: view.authority_key_id.map(|id| super::hex(&id)).unwrap_or_default(),
        problems,
    }
}

fn time_problem(view: &CertificateView, now: UnixTime) -> Option<PeerError> {
    if now.secs() > view.validity.not_after.secs() {
        Some(PeerError::Expired { not_after: rfc3339(view.validity.not_after) })
    } else if now.secs() < view.validity.not_before.secs() {
        Some(PeerError::NotYetValid { not_before: rfc3339(view.validity.not_before) })
    } else {
        None
    }
}

fn spiffe_id(view: &CertificateView) -> Result<SpiffeId, PeerError> {
    let [uri] = view.uris.as_slice() else { return Err(PeerError::UriCount(view.uris.len())) };
    let id: SpiffeId = uri.parse().map_err(|cause| PeerError::SpiffeId { uri: uri.clone(), cause })?;
    if id.path().is_empty() { Err(PeerError::NoPath(id)) } else { Ok(id) }
}

/// What X509-SVID §4 and §5.2 hold against this certificate as a leaf.
fn leaf_problems(view: &CertificateView) -> Vec<PeerError> {
    let mut problems = Vec::new();
    let mut check = |wrong: bool, problem: PeerError| {
        if wrong {
            problems.push(problem);
        }
    };
    check(view.is_ca == Some(true), PeerError::Ca);
    check(view.subject_is_empty && !view.names_are_critical, PeerError::NamesNotCritical);
    match &view.key_usage {
        None => check(true, PeerError::NoKeyUsage),
        Some(usage) => {
            check(!view.key_usage_is_critical, PeerError::KeyUsageNotCritical);
            check(!usage.digital_signature(), PeerError::NoDigitalSignature);
            check(usage.key_cert_sign(), PeerError::SigningUsage("keyCertSign"));
            check(usage.crl_sign(), PeerError::SigningUsage("cRLSign"));
        }
    }
    if let Some(usages) = &view.extended_key_usage {
        check(!usages.contains(&CLIENT_AUTH), PeerError::ExtendedKeyUsage("clientAuth"));
        check(!usages.contains(&SERVER_AUTH), PeerError::ExtendedKeyUsage(SERVER_AUTH_NAME));
    }
    problems
}

fn anchor(der: &[u8]) -> Result<TrustAnchor<'static>, PeerError> {
    let view = CertificateView::parse(der).map_err(PeerError::Anchor)?;
    if view.is_ca != Some(true) {
        return Err(PeerError::Anchor(format!("{} is not a CA certificate", view.subject_text)));
    }
    let der = CertificateDer::from(der);
    let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|cause| PeerError::Anchor(cause.to_string()))?;
    Ok(anchor.to_owned())
}

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
const SERVER_AUTH_NAME: &str = "serverAuth";
