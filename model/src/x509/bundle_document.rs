//! The SPIFFE bundle document: a JWK Set with trust anchors and JWT keys (SPIFFE Trust Domain and Bundle §4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::view::CertificateView;
use crate::jwk::{KeyFormError, PublicJwk};
use crate::spiffe_id::TrustDomain;
use crate::svid::{JwtAuthority, TrustBundle, X509Authority};

/// A document that is not a SPIFFE bundle, or that we cannot use.
#[derive(Debug, thiserror::Error)]
pub enum BundleDocumentError {
    /// Not JSON of that form.
    #[error("not a SPIFFE bundle document: a JSON object with a list \"keys\" is expected")]
    NotABundle(#[source] serde_json::Error),
    /// The certificate of a trust anchor cannot be read.
    #[error("keys[{index}]: x5c does not begin with a certificate in base64 DER")]
    Certificate {
        /// Which key.
        index: usize,
    },
    /// A JWT key of a kind that we do not verify.
    #[error("keys[{index}]: {cause}")]
    JwtKey {
        /// Which key.
        index: usize,
        /// What is wrong with it.
        cause: KeyFormError,
    },
}

/// The bundle as a document, JSON.
///
/// Trust anchors have no `kid` and exactly one certificate; JWT keys have a `kid` (SPIFFE Trust Domain and Bundle §4.2,
/// X509-SVID §6.1, JWT-SVID §6.1).
///
/// # Errors
/// [`KeyFormError`]: an authority's key is of a kind that no authority has.
pub fn to_json(bundle: &TrustBundle) -> Result<Vec<u8>, KeyFormError> {
    let x509 = bundle.x509_authorities.iter().map(|authority| {
        let view = CertificateView::parse(&authority.certificate).map_err(|_| KeyFormError::NotPublishable)?;
        Ok(OutKey {
            jwk: PublicJwk::from_spki(&view.public_key)?,
            key_use: X509_SVID,
            kid: None,
            x5c: Some([STANDARD.encode(&authority.certificate)]),
        })
    });
    let jwt = bundle.jwt_authorities.iter().map(|authority| {
        Ok(OutKey {
            jwk: PublicJwk::from_spki(&authority.public_key)?,
            key_use: JWT_SVID,
            kid: Some(&authority.key_id),
            x5c: None,
        })
    });
    let document = OutDocument {
        keys: x509.chain(jwt).collect::<Result<_, KeyFormError>>()?,
        spiffe_sequence: bundle.sequence_number,
        spiffe_refresh_hint: bundle.refresh_hint_secs,
    };
    match serde_json::to_vec_pretty(&document) {
        Ok(json) => Ok(json),
        // Text and numbers are written to memory: nothing there can fail.
        Err(never) => unreachable!("a bundle document could not be written: {never}"),
    }
}

/// Reads a document. Ignored, as the specification says: keys of another use, trust anchors without a certificate,
/// certificates after the first, JWT keys without a `kid`.
///
/// # Errors
/// [`BundleDocumentError`].
pub fn from_json(json: &[u8], trust_domain: &TrustDomain) -> Result<TrustBundle, BundleDocumentError> {
    let document: InDocument = serde_json::from_slice(json).map_err(BundleDocumentError::NotABundle)?;
    let mut bundle = TrustBundle {
        trust_domain: trust_domain.clone(),
        x509_authorities: Vec::new(),
        jwt_authorities: Vec::new(),
        refresh_hint_secs: document.spiffe_refresh_hint,
        sequence_number: document.spiffe_sequence,
    };
    for (index, key) in document.keys.into_iter().enumerate() {
        if key.key_use == X509_SVID {
            let Some(first) = key.x5c.first() else { continue };
            let certificate = STANDARD.decode(first).map_err(|_| BundleDocumentError::Certificate { index })?;
            CertificateView::parse(&certificate).map_err(|_| BundleDocumentError::Certificate { index })?;
            bundle.x509_authorities.push(X509Authority { certificate, tainted: false });
        } else if key.key_use == JWT_SVID && !key.kid.is_empty() {
            let public_key = key.jwk.to_spki().map_err(|cause| BundleDocumentError::JwtKey { index, cause })?;
            bundle.jwt_authorities.push(JwtAuthority {
                public_key,
                key_id: key.kid,
                expires_at_secs: 0,
                tainted: false,
            });
        }
    }
    Ok(bundle)
}

/// Certificates (DER) as one PEM text (RFC 7468 §5), in order.
#[must_use]
pub fn to_pem<C: AsRef<[u8]>>(certificates: &[C]) -> String {
    certificates.iter().map(|der| section("CERTIFICATE", der.as_ref())).collect()
}

/// A certificate request (DER) as PEM (RFC 7468 §7).
#[must_use]
pub fn request_to_pem(request: &[u8]) -> String {
    section("CERTIFICATE REQUEST", request)
}

fn section(label: &str, der: &[u8]) -> String {
    let mut pem = format!("-----BEGIN {label}-----\n");
    let base64 = STANDARD.encode(der);
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(PEM_LINE_CHARACTERS));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

#[derive(Serialize)]
struct OutDocument<'a> {
    keys: Vec<OutKey<'a>>,
    spiffe_sequence: u64,
    spiffe_refresh_hint: u32,
}

#[derive(Serialize)]
struct OutKey<'a> {
    #[serde(flatten)]
    jwk: PublicJwk,
    #[serde(rename = "use")]
    key_use: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x5c: Option<[String; 1]>,
}

#[derive(Deserialize)]
struct InDocument {
    keys: Vec<InKey>,
    #[serde(default)]
    spiffe_sequence: u64,
    #[serde(default)]
    spiffe_refresh_hint: u32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InKey {
    #[serde(flatten)]
    jwk: PublicJwk,
    #[serde(rename = "use")]
    key_use: String,
    kid: String,
    x5c: Vec<String>,
}

const X509_SVID: &str = "x509-svid";
const JWT_SVID: &str = "jwt-svid";
const PEM_LINE_CHARACTERS: usize = 64;
