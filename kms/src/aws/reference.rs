//! What finds a signing key of AWS KMS again.

use aws_lc_rs::digest::{SHA256, digest};
use minicbor::{Decode, Encode};
use signet_model::stored;

use super::uri::is_key_id;
use crate::{Algorithm, KeyReference};

/// A signing key: its id, which is the same in every region it was replicated to, and the public half that it had when
/// it was made. Whatever KMS answers is held against that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SigningKey {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    pub(super) public_key: Vec<u8>,
}

impl SigningKey {
    /// Of a key with this public half, if that is one of the kinds we use.
    pub(super) fn new(id: String, public_key: Vec<u8>) -> Option<Self> {
        let algorithm = Algorithm::of_public_key(&public_key)?;
        is_key_id(&id).then_some(Self { id, algorithm, public_key })
    }

    pub(super) fn to_reference(&self) -> KeyReference {
        let mut bytes =
            stored::to_bytes(&Row { version: VERSION, id: self.id.clone(), public_key: self.public_key.clone() });
        let check = checksum(&bytes);
        bytes.extend_from_slice(&check);
        KeyReference(bytes)
    }

    /// Nothing, if a bit of the reference is not as it was.
    pub(super) fn from_reference(KeyReference(bytes): &KeyReference) -> Option<Self> {
        let (row, check) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
        if checksum(row) != *check {
            return None;
        }
        let row: Row = stored::from_bytes(row).ok()?;
        if row.version == VERSION { Self::new(row.id, row.public_key) } else { None }
    }
}

/// Stored form, followed by its checksum. 2026-11-22: version 1.
#[derive(Encode, Decode)]
struct Row {
    #[n(0)]
    version: u8,
    #[n(1)]
    id: String,
    #[cbor(n(2), with = "minicbor::bytes")]
    public_key: Vec<u8>,
}

/// Against accidents, not against forgers: whoever can forge a reference is caught by the root's certificate.
fn checksum(row: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut check = [0; CHECKSUM_BYTES];
    check.iter_mut().zip(digest(&SHA256, row).as_ref()).for_each(|(to, from)| *to = *from);
    check
}

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SigningKey {
        let public_key = Algorithm::EcdsaP256.public_key(&[&[4][..], &[7; 64]].concat()).unwrap();
        SigningKey::new("mrk-0123456789abcdef0123456789abcdef".to_owned(), public_key).unwrap()
    }

    /// Frozen: replicated state holds these bytes.
    #[test]
    fn the_first_version_loads_for_ever() {
        let mut frozen = b"\x83\x01\x78\x24mrk-0123456789abcdef0123456789abcdef\x58\x5b".to_vec();
        frozen.extend(sample().public_key);
        frozen.extend(checksum(&frozen));
        let frozen = KeyReference(frozen);
        assert_eq!(SigningKey::from_reference(&frozen), Some(sample()));
        assert_eq!(sample().to_reference(), frozen);
    }

    #[test]
    fn refuses_every_flipped_bit_and_every_cut() {
        let KeyReference(good) = sample().to_reference();
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert_eq!(SigningKey::from_reference(&KeyReference(bad)), None);
            }
            assert_eq!(SigningKey::from_reference(&KeyReference(good[..at].to_vec())), None);
        }
    }
}
