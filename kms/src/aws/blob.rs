//! What a wrapped secret looks like: a ciphertext of KMS, or a data key that KMS wrapped and what is under it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// KMS encrypts from 1 to 4,096 bytes itself. Anything else lies under a data key of its own.
pub(super) fn fits_directly(plaintext: &[u8]) -> bool {
    (1..=MAX_DIRECT_BYTES).contains(&plaintext.len())
}

/// A wrapped secret, taken apart. Stored form: one byte that names the version and the form, and what is said below.
/// 2026-11-22: 1 and 2.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Blob<'a> {
    /// `1 ‖ ciphertext of KMS`.
    Direct { ciphertext: &'a [u8] },
    /// `2 ‖ length of the wrapped data key, two bytes ‖ wrapped data key ‖ nonce ‖ AES-256-GCM ciphertext ‖ tag`.
    /// All before the nonce is associated data, and so is the context.
    Envelope { header: &'a [u8], wrapped_key: &'a [u8], sealed: &'a [u8] },
}

impl<'a> Blob<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (form, rest) = bytes.split_first()?;
        match *form {
            DIRECT => Some(Self::Direct { ciphertext: rest }),
            ENVELOPE => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                let (wrapped_key, sealed) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
                let (header, _) = bytes.split_at_checked(HEADER_BYTES + wrapped_key.len())?;
                Some(Self::Envelope { header, wrapped_key, sealed })
            }
            _ => None,
        }
    }
}

pub(super) fn direct(ciphertext: &[u8]) -> Vec<u8> {
    [&[DIRECT], ciphertext].concat()
}

/// A key for one secret, wiped when dropped.
pub(super) struct DataKey(Zeroizing<[u8; DATA_KEY_BYTES]>);

/// The system gave no randomness, or the sealed bytes are not what was sealed.
#[derive(Debug)]
pub(super) struct NotSealed;

impl DataKey {
    pub(super) fn random() -> Result<Self, NotSealed> {
        let mut key = Zeroizing::new([0; DATA_KEY_BYTES]);
        aws_lc_rs::rand::fill(key.as_mut()).map_err(|_| NotSealed)?;
        Ok(Self(key))
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// The whole blob for a secret under this key, which KMS wrapped as `wrapped_key`.
    pub(super) fn seal(&self, wrapped_key: &[u8], plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, NotSealed> {
        let length = u16::try_from(wrapped_key.len()).map_err(|_| NotSealed)?;
        let header = [&[ENVELOPE], &length.to_be_bytes()[..], wrapped_key].concat();
        let mut sealed = Zeroizing::new(Vec::with_capacity(plaintext.len() + TAG_BYTES));
        sealed.extend_from_slice(plaintext);
        let aad = Aad::from([&header[..], context].concat());
        let nonce = self.aead()?.seal_in_place_append_tag(aad, &mut *sealed).map_err(|_| NotSealed)?;
        Ok([&header[..], nonce.as_ref(), &sealed[..]].concat())
    }

    pub(super) fn open(&self, header: &[u8], sealed: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotSealed> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(NotSealed)?;
        let mut bytes = Zeroizing::new(ciphertext.to_vec());
        let aad = Aad::from([header, context].concat());
        let length = self.aead()?.open_in_place(nonce.into(), aad, &mut bytes).map_err(|_| NotSealed)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }

    fn aead(&self) -> Result<RandomizedNonceKey, NotSealed> {
        RandomizedNonceKey::new(&AES_256_GCM, self.as_bytes()).map_err(|_| NotSealed)
    }
}

/// The encryption context of KMS: pairs of text, which CloudTrail shows. The first tells a secret from the data key of
/// one; a condition of a key policy can name it.
pub(super) fn encryption_context(form: Form, context: &[u8]) -> [(String, String); 2] {
    let form = match form {
        Form::Secret => "secret-1",
        Form::DataKey => "data-key-1",
    };
    // KMS may not take an empty value.
    let context = format!("v1.{}", URL_SAFE_NO_PAD.encode(context));
    [(FORM_KEY.to_owned(), form.to_owned()), (CONTEXT_KEY.to_owned(), context)]
}

/// What is handed to KMS.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Secret,
    DataKey,
}

const DIRECT: u8 = 1;
const ENVELOPE: u8 = 2;
const HEADER_BYTES: usize = 3;
const DATA_KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const MAX_DIRECT_BYTES: usize = 4096;
const FORM_KEY: &str = "signet:form";
const CONTEXT_KEY: &str = "signet:context";

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(plaintext: &[u8]) -> (DataKey, Vec<u8>) {
        let key = DataKey::random().unwrap();
        let blob = key.seal(b"wrapped", plaintext, b"context").unwrap();
        (key, blob)
    }

    fn open(key: &DataKey, blob: &[u8], context: &[u8]) -> Option<Vec<u8>> {
        let Some(Blob::Envelope { header, sealed, .. }) = Blob::parse(blob) else { return None };
        key.open(header, sealed, context).ok().map(|opened| opened.to_vec())
    }

    #[test]
    fn an_envelope_opens_in_its_place_only() {
        for plaintext in [&b""[..], b"x", &[7; 100_000]] {
            let (key, blob) = sealed(plaintext);
            assert!(matches!(Blob::parse(&blob), Some(Blob::Envelope { wrapped_key: b"wrapped", .. })));
            assert_eq!(open(&key, &blob, b"context").as_deref(), Some(plaintext));
            assert_eq!(open(&key, &blob, b"contexT"), None);
            assert_eq!(open(&DataKey::random().unwrap(), &blob, b"context"), None);
        }
    }

    #[test]
    fn refuses_every_flipped_bit_of_an_envelope_and_every_cut() {
        let (key, blob) = sealed(b"secret");
        for at in 0..blob.len() {
            for bit in 0..8 {
                let mut bad = blob.clone();
                bad[at] ^= 1 << bit;
                assert_eq!(open(&key, &bad, b"context"), None);
            }
            assert_eq!(open(&key, &blob[..at], b"context"), None);
        }
    }

    /// Frozen: replicated state holds these bytes.
    #[test]
    fn both_forms_of_the_first_version_load_for_ever() {
        assert_eq!(Blob::parse(b"\x01abc"), Some(Blob::Direct { ciphertext: b"abc" }));
        let envelope = Blob::Envelope { header: b"\x02\0\x03abc", wrapped_key: b"abc", sealed: b"rest" };
        assert_eq!(Blob::parse(b"\x02\0\x03abcrest"), Some(envelope));
        assert_eq!(Blob::parse(b"\x03abc"), None);
        assert_eq!(Blob::parse(b""), None);
        let pairs = encryption_context(Form::DataKey, b"\0\xff");
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(pairs, [pair("signet:form", "data-key-1"), pair("signet:context", "v1.AP8")]);
    }
}
