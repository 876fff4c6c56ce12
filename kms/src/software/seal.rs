//! Sealing under a key-encryption key.
//!
//! Every blob has a key and a nonce of its own, both derived from the key-encryption key and 32 random bytes that the
//! blob begins with. So no two blobs share a nonce under one key, however many there are.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use zeroize::Zeroizing;

/// The key-encryption key, in memory only. Wiped when dropped: AWS-LC cleanses what it frees.
pub(super) struct SealingKey {
    root: Prk,
}

/// What a blob is for. A blob of one purpose does not open for another.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// Wrapped for others.
    Wrapping,
    /// A signing key of the backend's own.
    SigningKey,
    /// The key-encryption key itself, under a passphrase.
    KeyFile,
}

/// The blob does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DoesNotOpen;

impl SealingKey {
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self { root: Salt::new(HKDF_SHA256, b"signet software kms 1").extract(key) }
    }

    /// 16 hex digits that tell one key-encryption key from another and say nothing about it.
    pub(super) fn id(&self) -> Result<String, DoesNotOpen> {
        use std::fmt::Write as _;
        let mut id = [0; 8];
        self.derive(b"recipient", &[], &mut id)?;
        Ok(id.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }

    /// Encrypts and authenticates `plaintext` together with `context`. Fails only without randomness.
    pub(super) fn seal(&self, purpose: Purpose, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, DoesNotOpen> {
        let mut salt = [0; SALT_BYTES];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| DoesNotOpen)?;
        let (key, nonce) = self.blob_key(purpose, &salt)?;
        let mut blob = Vec::with_capacity(HEAD_BYTES + plaintext.len() + AES_256_GCM.tag_len());
        blob.push(VERSION);
        blob.extend_from_slice(&salt);
        blob.extend_from_slice(plaintext);
        let secret = blob.get_mut(HEAD_BYTES..).ok_or(DoesNotOpen)?;
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(context), secret).map_err(|_| DoesNotOpen)?;
        blob.extend_from_slice(tag.as_ref());
        Ok(blob)
    }

    /// Opens what [`seal`](Self::seal) made for the same purpose and context.
    pub(super) fn open(
        &self,
        purpose: Purpose,
        blob: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, DoesNotOpen> {
        let (head, sealed) = blob.split_at_checked(HEAD_BYTES).ok_or(DoesNotOpen)?;
        let [VERSION, salt @ ..] = head else { return Err(DoesNotOpen) };
        let (key, nonce) = self.blob_key(purpose, salt)?;
        let mut plaintext = Zeroizing::new(sealed.to_vec());
        let length = key.open_in_place(nonce, Aad::from(context), &mut plaintext).map_err(|_| DoesNotOpen)?.len();
        plaintext.truncate(length);
        Ok(plaintext)
    }

    fn blob_key(&self, purpose: Purpose, salt: &[u8]) -> Result<(LessSafeKey, Nonce), DoesNotOpen> {
        let mut material = Zeroizing::new([0; KEY_BYTES + NONCE_LEN]);
        self.derive(purpose.label(), salt, material.as_mut())?;
        let (key, nonce) = material.split_at(KEY_BYTES);
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| DoesNotOpen)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| DoesNotOpen)?;
        Ok((LessSafeKey::new(key), nonce))
    }

    fn derive(&self, label: &[u8], salt: &[u8], out: &mut [u8]) -> Result<(), DoesNotOpen> {
        self.root.expand(&[label, salt], Length(out.len())).and_then(|okm| okm.fill(out)).map_err(|_| DoesNotOpen)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey")
    }
}

impl Purpose {
    /// All of one length with the salt behind, so that no label followed by a salt reads as another one.
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Wrapping => b"wrapping ",
            Self::SigningKey => b"signing k",
            Self::KeyFile => b"key file ",
        }
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Bytes of a key-encryption key.
pub(super) const KEY_BYTES: usize = 32;
/// Stored form: version, salt, ciphertext, tag of 16 bytes. 2026-11-22: version 1.
const VERSION: u8 = 1;
const SALT_BYTES: usize = 32;
const HEAD_BYTES: usize = 1 + SALT_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_of_one_purpose_does_not_open_for_another() {
        let key = SealingKey::new(&[7; 32]);
        let blob = key.seal(Purpose::SigningKey, b"secret", b"context").unwrap();
        assert_eq!(key.open(Purpose::SigningKey, &blob, b"context").unwrap().as_slice(), b"secret");
        for other in [Purpose::Wrapping, Purpose::KeyFile] {
            assert_eq!(key.open(other, &blob, b"context"), Err(DoesNotOpen));
        }
    }

    #[test]
    fn a_blob_written_in_2026_still_opens() {
        // Made by another program (HKDF and AES-256-GCM of Node.js), so that this tests the form and not only itself.
        let hex = FROZEN;
        let blob: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let key = SealingKey::new(&[7; 32]);
        assert_eq!(key.open(Purpose::Wrapping, &blob, b"context").unwrap().as_slice(), b"secret");
        assert_eq!(key.id().unwrap(), FROZEN_ID);
    }

    const FROZEN: &str = "01000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f40ae487c8df63d8c9129a4\
                          312125b89d0545161a67d5";
    const FROZEN_ID: &str = "1773ac62cc0c45b7";
}
