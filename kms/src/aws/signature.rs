//! ECDSA signatures as AWS KMS answers them (DER) and as this room promises them (`r ‖ s`).

/// Of a DER `ECDSA-Sig-Value` (RFC 3279 §2.2.3) the two numbers, each in `width` bytes with zeros on the left.
///
/// Strict: one encoding only, nothing behind it, both numbers positive and no longer than `width`. Whether they are a
/// signature is for the caller to verify.
#[must_use]
pub fn fixed_from_der(der: &[u8], width: usize) -> Option<Vec<u8>> {
    let (sequence, rest) = element(der, SEQUENCE)?;
    let (r, sequence) = element(sequence, INTEGER)?;
    let (s, sequence) = element(sequence, INTEGER)?;
    if !rest.is_empty() || !sequence.is_empty() {
        return None;
    }
    let mut fixed = Vec::with_capacity(2 * width);
    for number in [r, s] {
        let magnitude = positive(number)?;
        fixed.resize(fixed.len() + width.checked_sub(magnitude.len())?, 0);
        fixed.extend_from_slice(magnitude);
    }
    Some(fixed)
}

/// The content of the element of kind `tag` that `bytes` begin with, and what is behind it. Lengths in their shortest
/// form, up to 255, which is more than any signature here has.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(&[tag])?;
    let (length, rest) = match rest.split_first()? {
        (&length, rest) if length < 0x80 => (length, rest),
        (&0x81, rest) => {
            rest.split_first().filter(|(length, _)| **length >= 0x80).map(|(length, rest)| (*length, rest))?
        }
        _ => return None,
    };
    rest.split_at_checked(length.into())
}

/// The bytes of a positive DER INTEGER, without the zero that keeps it from being a negative one.
fn positive(number: &[u8]) -> Option<&[u8]> {
    match number {
        [0, rest @ ..] => rest.first().filter(|first| **first >= 0x80).map(|_| rest),
        [first, ..] if *first < 0x80 => Some(number),
        _ => None,
    }
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_ASN1_SIGNING,
        ECDSA_P384_SHA384_FIXED, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
    };
    use proptest::prelude::*;

    use super::*;

    /// The DER that has these numbers, written by another way than the one under test: with the shortest content.
    fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
        let integer = |number: &[u8]| {
            let digits: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
            let sign = digits.first().is_none_or(|first| *first >= 0x80).then_some(0);
            let content: Vec<u8> = sign.into_iter().chain(digits).collect();
            [vec![INTEGER, u8::try_from(content.len()).unwrap()], content].concat()
        };
        let body = [integer(r), integer(s)].concat();
        let length = u8::try_from(body.len()).unwrap();
        let header = if length < 0x80 { vec![SEQUENCE, length] } else { vec![SEQUENCE, 0x81, length] };
        [header, body].concat()
    }

    #[test]
    fn real_signatures_verify_in_their_fixed_form() {
        let dice = SystemRandom::new();
        for (signing, verifying, width) in [
            (&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P256_SHA256_FIXED, 32),
            (&ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P384_SHA384_FIXED, 48),
        ] {
            let pair = EcdsaKeyPair::generate(signing).unwrap();
            let public = UnparsedPublicKey::new(verifying, pair.public_key().as_ref());
            for round in 0..600u32 {
                let message = round.to_be_bytes();
                let fixed = fixed_from_der(pair.sign(&dice, &message).unwrap().as_ref(), width).unwrap();
                public.verify(&message, &fixed).unwrap();
            }
        }
    }

    #[test]
    fn refuses_what_is_not_the_one_encoding() {
        let good = der(&[7; 32], &[9; 32]);
        assert!(fixed_from_der(&good, 32).is_some());
        let long = der(&[7; 33], &[9; 32]);
        assert_eq!(fixed_from_der(&long, 32), None, "33 bytes of magnitude");
        let zero = der(&[0; 32], &[9; 32]);
        assert_eq!(fixed_from_der(&zero, 32), None, "zero is no r");
        for bad in [
            &b"\x30\x06\x02\x01\x80\x02\x01\x01"[..], // a negative number
            b"\x30\x07\x02\x02\x00\x01\x02\x01\x01",  // a zero too many
            b"\x30\x81\x06\x02\x01\x01\x02\x01\x01",  // a length longer than it must be
            b"\x30\x80\x02\x01\x01\x02\x01\x01\0\0",  // no length
            b"\x30\x05\x02\x00\x02\x01\x01",          // nothing in the first
            b"\x30\x03\x02\x01\x01",                  // one number
            b"\x30\x09\x02\x01\x01\x02\x01\x01\x02\x01\x01",
            b"\x31\x06\x02\x01\x01\x02\x01\x01",
            b"",
        ] {
            assert_eq!(fixed_from_der(bad, 32), None, "{bad:02x?}");
        }
        assert_eq!(fixed_from_der(b"\x30\x06\x02\x01\x01\x02\x01\x02", 2), Some(vec![0, 1, 0, 2]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// Numbers of any length, many with bytes 31, 32 and 33 around the boundary.
        #[test]
        fn numbers_come_back_padded_on_the_left(
            r in prop::collection::vec(any::<u8>(), 1..50), s in prop::collection::vec(any::<u8>(), 1..50),
        ) {
            let digits = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
            let fits = |number: &[u8]| (1..=48).contains(&digits(number).len());
            let expected = (fits(&r) && fits(&s)).then(|| {
                let pad = |number: &[u8]| [vec![0; 48 - digits(number).len()], digits(number)].concat();
                [pad(&r), pad(&s)].concat()
            });
            prop_assert_eq!(fixed_from_der(&der(&r, &s), 48), expected);
        }

        /// What is taken is the only encoding of its numbers.
        #[test]
        fn random_bytes_are_refused_or_the_only_encoding(bytes in prop::collection::vec(any::<u8>(), 0..80), at in any::<prop::sample::Index>(), flip in 1..=255u8) {
            let mut near = der(&[0x81; 32], &[0x7f; 31]);
            let at = at.index(near.len());
            near[at] ^= flip;
            for input in [bytes, near] {
                if let Some(fixed) = fixed_from_der(&input, 32) {
                    prop_assert_eq!(der(&fixed[..32], &fixed[32..]), input);
                }
            }
        }
    }
}
