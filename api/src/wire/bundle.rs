//! Trust bundles.

use signet_model::svid::{JwtAuthority, TrustBundle, X509Authority};

use super::{signed, trust_domain, unsigned};
use crate::proto::types;

/// A bundle for the wire.
pub(crate) fn from_bundle(bundle: TrustBundle) -> types::Bundle {
    let anchor = |a: X509Authority| types::X509Certificate { asn1: a.certificate, tainted: a.tainted };
    let key = |a: JwtAuthority| types::JwtKey {
        public_key: a.public_key,
        key_id: a.key_id,
        expires_at: signed(a.expires_at_secs),
        tainted: a.tainted,
    };
    types::Bundle {
        trust_domain: bundle.trust_domain.as_str().to_owned(),
        x509_authorities: bundle.x509_authorities.into_iter().map(anchor).collect(),
        jwt_authorities: bundle.jwt_authorities.into_iter().map(key).collect(),
        refresh_hint: i64::from(bundle.refresh_hint_secs),
        sequence_number: bundle.sequence_number,
        wit_authorities: Vec::new(),
    }
}

/// A bundle from the wire. The error says what makes no sense.
pub(crate) fn bundle(bundle: types::Bundle) -> Result<TrustBundle, String> {
    let anchor = |a: types::X509Certificate| X509Authority { certificate: a.asn1, tainted: a.tainted };
    let key = |a: types::JwtKey| JwtAuthority {
        public_key: a.public_key,
        key_id: a.key_id,
        expires_at_secs: unsigned(a.expires_at),
        tainted: a.tainted,
    };
    Ok(TrustBundle {
        trust_domain: trust_domain(&bundle.trust_domain)?,
        x509_authorities: bundle.x509_authorities.into_iter().map(anchor).collect(),
        jwt_authorities: bundle.jwt_authorities.into_iter().map(key).collect(),
        refresh_hint_secs: u32::try_from(bundle.refresh_hint).unwrap_or(0),
        sequence_number: bundle.sequence_number,
    })
}
