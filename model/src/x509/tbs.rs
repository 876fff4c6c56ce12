//! What a certificate is before it is signed.

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
}

/// From when until when a certificate is valid, both inclusive, in whole seconds (RFC 5280 §4.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// `notBefore`
    pub not_before: UnixTime,
    /// `notAfter`
    pub not_after: UnixTime,
}

/// The DER `TBSCertificate`: to be signed with ECDSA P-256 and SHA-256, then [assembled](Self::assemble).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TbsCertificate {
    der: Vec<u8>,
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
        todo!()
    }

    /// The certificate, DER, with this signature (`r ‖ s`).
    #[must_use]
    pub fn assemble(&self, signature: &[u8; 64]) -> Vec<u8> {
        todo!("{signature:?}")
    }
}
