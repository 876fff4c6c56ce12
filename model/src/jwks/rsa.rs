//! RSA public keys: sizes we take, and the one known way in which a well-formed key is worthless.

use der::asn1::{AnyRef, UintRef};
use der::{Decode as _, Encode as _, Sequence};

use super::SkipReason;

/// `RSAPublicKey` of RFC 8017 §A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

/// The DER of a key with this modulus and exponent, both unsigned and big-endian.
pub(super) fn public_key(modulus: &[u8], exponent: &[u8]) -> Result<Vec<u8>, SkipReason> {
    check(modulus, exponent)?;
    let key = RsaPublicKey {
        modulus: UintRef::new(modulus).map_err(|_| SkipReason::Value)?,
        exponent: UintRef::new(exponent).map_err(|_| SkipReason::Value)?,
    };
    key.to_der().map_err(|_| SkipReason::Value)
}

/// The same DER, once its numbers have been checked.
pub(super) fn checked(der: &[u8]) -> Result<Vec<u8>, SkipReason> {
    // A first look refuses what is no sequence at all, before the fields are read.
    AnyRef::from_der(der).map_err(|_| SkipReason::Value)?;
    let key = RsaPublicKey::from_der(der).map_err(|_| SkipReason::Value)?;
    check(key.modulus.as_bytes(), key.exponent.as_bytes())?;
    Ok(der.to_vec())
}

fn check(modulus: &[u8], exponent: &[u8]) -> Result<(), SkipReason> {
    let bits = match modulus.first() {
        // A leading zero is not the shortest form (RFC 7518 §6.3.1.1).
        None | Some(0) => return Err(SkipReason::Value),
        Some(first) => modulus.len() * 8 - first.leading_zeros() as usize,
    };
    let odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    if !(MIN_BITS..=MAX_BITS).contains(&bits) || !odd(modulus) {
        return Err(SkipReason::Value);
    }
    let value = match exponent {
        [] | [0, ..] => None,
        bytes if bytes.len() > 8 => None,
        bytes => Some(bytes.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte))),
    };
    if !value.is_some_and(|e| e >= MIN_EXPONENT && e % 2 == 1 && e < MAX_EXPONENT) {
        return Err(SkipReason::Value);
    }
    if is_roca(modulus) { Err(SkipReason::Weak) } else { Ok(()) }
}

/// Whether the modulus has the fingerprint of CVE-2017-15361: modulo every small prime it is a power of 65537. A key
/// made properly has it by chance once in 2^27.
fn is_roca(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|&prime| {
        let rest = modulus.iter().fold(0u32, |rest, byte| (rest << 8 | u32::from(*byte)) % prime);
        let mut power = 1;
        loop {
            if power == rest {
                return true;
            }
            power = power * 65537 % prime;
            if power == 1 {
                return false;
            }
        }
    })
}

const MIN_BITS: usize = 2048;
const MAX_BITS: usize = 8192;
const MIN_EXPONENT: u64 = 65537;
/// What the verifier takes.
const MAX_EXPONENT: u64 = 1 << 33;
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];
