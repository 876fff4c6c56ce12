//! X.509-SVIDs of workloads, agents and servers: exactly the profile that SPIRE issues.

use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

use super::ca::{not_before, subject_key_identifier};
use super::tbs::{Parts, extension, name, oid};
use super::write::tag;
use super::{IssuerView, SerialNumber, SubjectPublicKey, TbsCertificate, Validity};
use crate::spiffe_id::SpiffeId;
use crate::time::UnixTime;

/// Everything that an X.509-SVID says.
#[derive(Debug, Clone, Copy)]
pub struct Template<'a> {
    /// Whom it names. Must have a path; what has none is a trust domain, not a workload.
    pub spiffe_id: &'a SpiffeId,
    /// DNS names, checked by [`dns::check`](super::dns::check); the first is also the common name.
    pub dns_names: &'a [String],
    /// IP addresses: for our own server certificate only.
    pub ip_addresses: &'a [IpAddr],
    /// The key, from a checked request.
    pub public_key: &'a SubjectPublicKey,
    /// Its serial number.
    pub serial: SerialNumber,
    /// From [`validity`]. Cut to the issuer's.
    pub validity: Validity,
    /// Who signs.
    pub issuer: &'a IssuerView,
}

impl Template<'_> {
    /// The bytes to be signed by the issuer's key, written in one pass.
    ///
    /// Spec: X509-SVID §2 to §4; extensions in the order of Go's `crypto/x509`.
    #[must_use]
    pub fn to_be_signed(&self) -> TbsCertificate {
        let subject =
            self.dns_names.first().filter(|name| name.len() <= MAX_COMMON_NAME_BYTES).map(|name| subject(name));
        let parts = Parts {
            serial: self.serial,
            issuer: self.issuer.subject(),
            validity: self.validity.within(self.issuer.validity()),
            subject: subject.as_deref().unwrap_or(&SUBJECT),
            public_key: self.public_key,
            signer: self.issuer.key_kind(),
        };
        TbsCertificate::write(&parts, |w| {
            w.raw(USAGE_EXTENSIONS);
            subject_key_identifier(w, self.public_key);
            w.raw(self.issuer.authority_key_identifier());
            // Never critical, because the subject is never empty (X509-SVID §2, RFC 5280 §4.2.1.6).
            extension(w, oid::SUBJECT_ALT_NAME, false, |w| {
                w.nested(tag::SEQUENCE, |w| {
                    for name in self.dns_names {
                        w.value(tag::IMPLICIT_2, name.as_bytes());
                    }
                    for address in self.ip_addresses {
                        match address {
                            IpAddr::V4(v4) => w.value(tag::IMPLICIT_7, &v4.octets()),
                            IpAddr::V6(v6) => w.value(tag::IMPLICIT_7, &v6.octets()),
                        }
                    }
                    w.value(tag::IMPLICIT_6, self.spiffe_id.to_string().as_bytes());
                });
            });
        })
    }
}

/// How long a leaf lives: `requested` or, if that is zero, `default`, from `now`, cut to the issuer's end, and dated
/// back by ten seconds for clocks that are behind.
///
/// An issuer that has ended gives a validity that has ended too: the caller looks at `not_after` before it signs.
#[must_use]
pub fn validity(now: UnixTime, requested: Duration, default: Duration, issuer: &IssuerView) -> Validity {
    let lifetime = if requested.is_zero() { default } else { requested };
    Validity { not_before: not_before(now), not_after: now.after(lifetime) }.within(issuer.validity())
}

fn subject(common_name: &str) -> Vec<u8> {
    name([
        (oid::COUNTRY, tag::PRINTABLE_STRING, "US"),
        (oid::ORGANIZATION, tag::PRINTABLE_STRING, "SPIRE"),
        (oid::COMMON_NAME, tag::UTF8_STRING, common_name),
    ])
}

/// C=US, O=SPIRE
static SUBJECT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    name([(oid::COUNTRY, tag::PRINTABLE_STRING, "US"), (oid::ORGANIZATION, tag::PRINTABLE_STRING, "SPIRE")])
});

/// `ub-common-name` (RFC 5280 A.1). A longer DNS name stands in the SAN alone.
const MAX_COMMON_NAME_BYTES: usize = 64;

/// Key usage (critical: digitalSignature, keyEncipherment, keyAgreement), extended key usage (serverAuth, clientAuth)
/// and basic constraints (critical: not a CA), the same in every leaf.
#[rustfmt::skip]
const USAGE_EXTENSIONS: &[u8] = &[
    0x30, 0x0e, 0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01, 0x01, 0xff, 0x04, 0x04, 0x03, 0x02, 0x03, 0xa8,
    0x30, 0x1d, 0x06, 0x03, 0x55, 0x1d, 0x25, 0x04, 0x16, 0x30, 0x14,
        0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01,
        0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02,
    0x30, 0x0c, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x02, 0x30, 0x00,
];
