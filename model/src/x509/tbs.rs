//! What a certificate is before it is signed.

use aws_lc_rs::digest::{SHA256, digest};

use super::write::{Writer, tag};
use super::{PublicKeyKind, SubjectPublicKey};
use crate::jwk::signature_to_der;
use crate::time::UnixTime;

/// A certificate's serial number: 16 bytes, positive, of constant length (RFC 5280 §4.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SerialNumber([u8; 16]);

impl SerialNumber {
    /// From 16 random bytes, of which 126 bits are used: the top two become `01`.
    #[must_use]
    pub const fn from_random(mut random: [u8; 16]) -> Self {
        random[0] = random[0] & 0x3f | 0x40;
        Self(random)
    }

    /// The number, big-endian.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The number in decimal.
    #[must_use]
    pub fn decimal(&self) -> String {
        u128::from_be_bytes(self.0).to_string()
    }
}

/// From when until when a certificate is valid, both inclusive, in whole seconds (RFC 5280 §4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// `notBefore`
    pub not_before: UnixTime,
    /// `notAfter`
    pub not_after: UnixTime,
}

impl Validity {
    /// The part of `self` that lies within `outer`: what is signed is never valid when its issuer is not.
    #[must_use]
    pub fn within(self, outer: Self) -> Self {
        Self { not_before: self.not_before.max(outer.not_before), not_after: self.not_after.min(outer.not_after) }
    }
}

/// The DER `TBSCertificate`: to be signed by its issuer's key, then [assembled](Self::assemble).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TbsCertificate {
    der: Vec<u8>,
    validity: Validity,
    signer: PublicKeyKind,
}

/// What differs between certificates, for [`TbsCertificate::write`].
pub(super) struct Parts<'a> {
    pub(super) serial: SerialNumber,
    /// DER `Name`.
    pub(super) issuer: &'a [u8],
    pub(super) validity: Validity,
    /// DER `Name`.
    pub(super) subject: &'a [u8],
    pub(super) public_key: &'a SubjectPublicKey,
    /// What the issuer's key is.
    pub(super) signer: PublicKeyKind,
}

impl TbsCertificate {
    /// The bytes to sign.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the bytes to sign.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, &self.der).as_ref());
        bytes
    }

    /// How long the certificate will be valid, once cut to its issuer's.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// The certificate, DER, with this signature: `r ‖ s` for ECDSA, else as it is.
    #[must_use]
    pub fn assemble(&self, signature: &[u8]) -> Vec<u8> {
        assemble(&self.der, self.signer, signature)
    }

    /// Writes a certificate of version 3; `extensions` writes the extensions.
    pub(super) fn write(parts: &Parts<'_>, extensions: impl FnOnce(&mut Writer)) -> Self {
        let mut w = Writer::with_capacity(640);
        w.nested(tag::SEQUENCE, |w| {
            w.raw(VERSION_3);
            w.value(tag::INTEGER, parts.serial.as_bytes());
            w.raw(signature_algorithm(parts.signer));
            w.raw(parts.issuer);
            w.nested(tag::SEQUENCE, |w| {
                w.time(parts.validity.not_before);
                w.time(parts.validity.not_after);
            });
            w.raw(parts.subject);
            w.raw(parts.public_key.as_der());
            w.nested(tag::EXPLICIT_3, |w| w.nested(tag::SEQUENCE, extensions));
        });
        Self { der: w.into_der(), validity: parts.validity, signer: parts.signer }
    }
}

/// The outer form of certificates and requests: what is signed, and a signature by a key of this kind.
pub(super) fn assemble(body: &[u8], signer: PublicKeyKind, signature: &[u8]) -> Vec<u8> {
    let der;
    let signature = match signer {
        PublicKeyKind::P256 | PublicKeyKind::P384 => {
            der = signature_to_der(signature);
            der.as_slice()
        }
        PublicKeyKind::Ed25519 | PublicKeyKind::Rsa => signature,
    };
    let mut w = Writer::with_capacity(body.len() + signature.len() + 32);
    w.nested(tag::SEQUENCE, |w| {
        w.raw(body);
        w.raw(signature_algorithm(signer));
        w.nested(tag::BIT_STRING, |w| {
            w.raw(&[0]);
            w.raw(signature);
        });
    });
    w.into_der()
}

/// The `AlgorithmIdentifier` of the one signature that we have keys of each kind make.
const fn signature_algorithm(signer: PublicKeyKind) -> &'static [u8] {
    match signer {
        PublicKeyKind::P256 => ECDSA_WITH_SHA256,
        PublicKeyKind::P384 => ECDSA_WITH_SHA384,
        PublicKeyKind::Rsa => SHA256_WITH_RSA,
        PublicKeyKind::Ed25519 => ED25519,
    }
}

/// An extension, its value wrapped into the OCTET STRING (RFC 5280 §4.1). `critical` is written only when it is true,
/// as DER wants of defaults.
pub(super) fn extension(w: &mut Writer, oid: &[u8], critical: bool, value: impl FnOnce(&mut Writer)) {
    w.nested(tag::SEQUENCE, |w| {
        w.value(tag::OID, oid);
        if critical {
            w.value(tag::BOOLEAN, &[0xff]);
        }
        w.nested(tag::OCTET_STRING, value);
    });
}

/// A name with the given attributes, one to each RDN. `string` is the tag of the attribute's string.
pub(super) fn name<'a>(attributes: impl IntoIterator<Item = (&'a [u8], u8, &'a str)>) -> Vec<u8> {
    let mut w = Writer::with_capacity(96);
    w.nested(tag::SEQUENCE, |w| {
        for (oid, string, text) in attributes {
            w.nested(tag::SET, |w| {
                w.nested(tag::SEQUENCE, |w| {
                    w.value(tag::OID, oid);
                    w.value(string, text.as_bytes());
                });
            });
        }
    });
    w.into_der()
}

/// Object identifiers, as DER has them.
pub(super) mod oid {
    pub(crate) const COMMON_NAME: &[u8] = &[0x55, 4, 3];
    pub(crate) const SERIAL_NUMBER: &[u8] = &[0x55, 4, 5];
    pub(crate) const COUNTRY: &[u8] = &[0x55, 4, 6];
    pub(crate) const ORGANIZATION: &[u8] = &[0x55, 4, 10];
    pub(crate) const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 29, 14];
    pub(crate) const KEY_USAGE: &[u8] = &[0x55, 29, 15];
    pub(crate) const SUBJECT_ALT_NAME: &[u8] = &[0x55, 29, 17];
    pub(crate) const BASIC_CONSTRAINTS: &[u8] = &[0x55, 29, 19];
    pub(crate) const AUTHORITY_KEY_IDENTIFIER: &[u8] = &[0x55, 29, 35];
}

/// `[0] { INTEGER 2 }`
const VERSION_3: &[u8] = &[0xa0, 0x03, tag::INTEGER, 0x01, 0x02];
/// ecdsa-with-SHA256, without parameters (RFC 5758 §3.2).
const ECDSA_WITH_SHA256: &[u8] = &[tag::SEQUENCE, 0x0a, tag::OID, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// ecdsa-with-SHA384, without parameters (RFC 5758 §3.2).
const ECDSA_WITH_SHA384: &[u8] = &[tag::SEQUENCE, 0x0a, tag::OID, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
/// sha256WithRSAEncryption, with NULL for parameters (RFC 4055 §5).
const SHA256_WITH_RSA: &[u8] =
    &[tag::SEQUENCE, 0x0d, tag::OID, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00];
/// id-Ed25519, without parameters (RFC 8410 §3).
const ED25519: &[u8] = &[tag::SEQUENCE, 0x05, tag::OID, 0x03, 0x2b, 0x65, 0x70];
