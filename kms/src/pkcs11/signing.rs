//! Signing keys in a token.

use aws_lc_rs::digest::{SHA256, digest as hash};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use minicbor::bytes::ByteVec;
use signet_model::stored;

use super::failure::Failure;
use super::mechanisms;
use super::module::lock;
use super::token::{Attached, Token};
use crate::{Algorithm, Digest, KeyReference, fitting, verified};

/// What finds a key again. Stored form. 2026-11-22: three fields.
#[derive(Debug, Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub(super) struct Reference {
    /// [`Algorithm::name`].
    #[n(0)]
    algorithm: String,
    /// `CKA_ID`: random, and the same for both halves.
    #[n(1)]
    id: ByteVec,
    /// SHA-256 of the `SubjectPublicKeyInfo`. Another key under the same id is not this one.
    #[n(2)]
    public_key_sha256: ByteVec,
}

/// A key that was found.
#[derive(Debug, Clone)]
pub(super) struct SigningKey {
    private: ObjectHandle,
    public_key: Vec<u8>,
}

/// Makes a key pair that cannot leave the token.
pub(super) fn create(
    token: &Token,
    attached: &Attached,
    label: &str,
    algorithm: Algorithm,
) -> Result<KeyReference, Failure> {
    mechanisms::offers(token, attached, algorithm)?;
    let mut id = [0; ID_BYTES];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| token.unavailable("the system gave no randomness"))?;
    let session = attached.writing_session()?;
    let (public, private) = generate(&session, &id, label, algorithm)?;
    let checked = is_locked_up(token, attached, private, label)
        .and_then(|()| public_key(token, attached, public, algorithm, label));
    let public_key = match checked {
        Ok(public_key) => public_key,
        Err(failure) => {
            // Nobody has heard of it, and nobody shall use it.
            let _ = session.destroy_object(private);
            let _ = session.destroy_object(public);
            return Err(failure);
        }
    };
    let reference = Reference {
        algorithm: algorithm.to_string(),
        id: id.to_vec().into(),
        public_key_sha256: sha256(&public_key).into(),
    };
    lock(&attached.connected.signing).insert(id.to_vec(), SigningKey { private, public_key });
    Ok(KeyReference(stored::to_bytes(&reference)))
}

/// Takes up the key pair with this label, which somebody else made in the token or put there.
pub(super) fn adopt(token: &Token, attached: &Attached, label: &str) -> Result<KeyReference, Failure> {
    let no_key = |problem: &str| Failure::from(token.no_key(label, problem));
    let template = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Token(true),
        Attribute::Label(label.as_bytes().to_vec()),
    ];
    let private = match attached.find(&template)?.as_slice() {
        [one] => *one,
        [] => return Err(no_key("the token has no private key with this CKA_LABEL")),
        _ => return Err(no_key("the token has several private keys with this CKA_LABEL: give one of them another")),
    };
    let is =
        attached.attributes(private, &[AttributeType::Id, AttributeType::Sensitive, AttributeType::Extractable])?;
    if !is.contains(&Attribute::Sensitive(true)) || !is.contains(&Attribute::Extractable(false)) {
        return Err(no_key("it could be read out of the token: set CKA_SENSITIVE, and clear CKA_EXTRACTABLE"));
    }
    let id = is.iter().find_map(|one| if let Attribute::Id(id) = one { Some(id.clone()) } else { None });
    let id =
        id.filter(|id| !id.is_empty()).ok_or_else(|| no_key("it has no CKA_ID, by which nodes find it: set one"))?;
    let public = one_object(token, attached, ObjectClass::PUBLIC_KEY, &id, label)?;
    let kinds = Algorithm::ALL.into_iter();
    let found = kinds.filter_map(|algorithm| {
        let public_key = public_key(token, attached, public, algorithm, label).ok()?;
        Some((algorithm, public_key))
    });
    let Some((algorithm, public_key)) = found.into_iter().next() else {
        return Err(no_key("it is neither ECDSA P-256 or P-384 nor RSA of 2048 or 4096 bits with exponent 65537"));
    };
    let reference =
        Reference { algorithm: algorithm.to_string(), id: id.into(), public_key_sha256: sha256(&public_key).into() };
    Ok(KeyReference(stored::to_bytes(&reference)))
}

/// The public half, read from the token or from what was read of it before.
pub(super) fn read_public_key(
    token: &Token,
    attached: &Attached,
    reference: &KeyReference,
) -> Result<Vec<u8>, Failure> {
    Ok(find(token, attached, reference)?.1.public_key)
}

/// Signs a digest, and checks what the token answered.
pub(super) fn sign(
    token: &Token,
    attached: &Attached,
    reference: &KeyReference,
    digest: &Digest,
) -> Result<Vec<u8>, Failure> {
    let (algorithm, key) = find(token, attached, reference)?;
    let name = token.uri.name();
    fitting(&name, &signet_model::jwk::key_id(&key.public_key), algorithm, digest)?;
    let signature = match algorithm {
        Algorithm::EcdsaP256 | Algorithm::EcdsaP384 => {
            attached.session.sign(&Mechanism::Ecdsa, key.private, digest.as_bytes())?
        }
        Algorithm::Rsa2048 | Algorithm::Rsa4096 => {
            let info = [SHA256_DIGEST_INFO, digest.as_bytes()].concat();
            attached.session.sign(&Mechanism::RsaPkcs, key.private, &info)?
        }
    };
    Ok(verified(&name, algorithm, &key.public_key, digest, signature)?)
}

/// Finds a key by its `CKA_ID`, and sees to it that it is the one that was made.
fn find(token: &Token, attached: &Attached, reference: &KeyReference) -> Result<(Algorithm, SigningKey), Failure> {
    let damaged = || token.no_key("of this reference", "the reference is damaged, or another backend made it");
    let reference: Reference = stored::from_bytes(&reference.0).map_err(|_| damaged())?;
    let algorithm: Algorithm = reference.algorithm.parse().map_err(|_| damaged())?;
    let key = hex(&reference.id);
    let known = lock(&attached.connected.signing).get(reference.id.as_slice()).cloned();
    let found = match known {
        Some(found) => found,
        None => {
            let one = |class| one_object(token, attached, class, &reference.id, &key);
            let (private, public) = (one(ObjectClass::PRIVATE_KEY)?, one(ObjectClass::PUBLIC_KEY)?);
            SigningKey { private, public_key: public_key(token, attached, public, algorithm, &key)? }
        }
    };
    if Algorithm::of_public_key(&found.public_key) != Some(algorithm)
        || sha256(&found.public_key) != **reference.public_key_sha256
    {
        let problem = "the token has another key under this CKA_ID than the one that was made: restore the token's own \
                       backup, or configure the token of this cluster";
        return Err(token.no_key(&key, problem).into());
    }
    lock(&attached.connected.signing).insert(reference.id.to_vec(), found.clone());
    Ok((algorithm, found))
}

fn one_object(
    token: &Token,
    attached: &Attached,
    class: ObjectClass,
    id: &[u8],
    key: &str,
) -> Result<ObjectHandle, Failure> {
    let found = attached.find(&[Attribute::Class(class), Attribute::Token(true), Attribute::Id(id.to_vec())])?;
    match found.as_slice() {
        [one] => Ok(*one),
        [] => {
            let problem = format!(
                "the token has no {class} with this CKA_ID: configure the token where it was made, or restore that token's \
                 own backup"
            );
            Err(token.no_key(key, problem).into())
        }
        several => {
            let problem = format!("the token has {} of {class} with this CKA_ID: take the copies out", several.len());
            Err(token.no_key(key, problem).into())
        }
    }
}

fn generate(
    session: &Session,
    id: &[u8],
    label: &str,
    algorithm: Algorithm,
) -> Result<(ObjectHandle, ObjectHandle), Failure> {
    let both = [Attribute::Token(true), Attribute::Id(id.to_vec()), Attribute::Label(label.as_bytes().to_vec())];
    let mut public = both.to_vec();
    public.extend([Attribute::Private(false), Attribute::Verify(true)]);
    let mechanism = match algorithm {
        Algorithm::EcdsaP256 | Algorithm::EcdsaP384 => {
            public.push(Attribute::EcParams(curve(algorithm).to_vec()));
            Mechanism::EccKeyPairGen
        }
        Algorithm::Rsa2048 | Algorithm::Rsa4096 => {
            let bits: u32 = if algorithm == Algorithm::Rsa2048 { 2048 } else { 4096 };
            public.extend([
                Attribute::ModulusBits(u64::from(bits).into()),
                Attribute::PublicExponent(EXPONENT_65537.to_vec()),
            ]);
            Mechanism::RsaPkcsKeyPairGen
        }
    };
    let mut private = both.to_vec();
    private.extend([
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
    ]);
    if matches!(algorithm, Algorithm::EcdsaP256 | Algorithm::EcdsaP384) {
        // Tokens refuse attributes that a key of its kind cannot have.
        private.retain(|attribute| !matches!(attribute, Attribute::Decrypt(_) | Attribute::Unwrap(_)));
    }
    Ok(session.generate_key_pair(&mechanism, &public, &private)?)
}

/// Asks the token whether a new private key was made in it and can never be seen outside.
pub(super) fn is_locked_up(token: &Token, attached: &Attached, key: ObjectHandle, label: &str) -> Result<(), Failure> {
    let kinds = [
        AttributeType::Sensitive,
        AttributeType::AlwaysSensitive,
        AttributeType::Extractable,
        AttributeType::NeverExtractable,
    ];
    let is = attached.attributes(key, &kinds)?;
    let must = [
        Attribute::Sensitive(true),
        Attribute::AlwaysSensitive(true),
        Attribute::Extractable(false),
        Attribute::NeverExtractable(true),
    ];
    match must.into_iter().find(|attribute| !is.contains(attribute)) {
        None => Ok(()),
        Some(lacking) => {
            let problem = format!(
                "the token made it without {lacking:?}, so that it might be seen outside; the key was destroyed: change the \
                 token's policy, or take another token"
            );
            Err(token.no_key(label, problem).into())
        }
    }
}

/// `SubjectPublicKeyInfo` of a public key in the token.
fn public_key(
    token: &Token,
    attached: &Attached,
    public: ObjectHandle,
    algorithm: Algorithm,
    key: &str,
) -> Result<Vec<u8>, Failure> {
    let kinds =
        [AttributeType::EcParams, AttributeType::EcPoint, AttributeType::Modulus, AttributeType::PublicExponent];
    let is = attached.attributes(public, &kinds)?;
    let number = match algorithm {
        Algorithm::EcdsaP256 | Algorithm::EcdsaP384 => is
            .iter()
            .find_map(|attribute| if let Attribute::EcPoint(point) = attribute { Some(raw_point(point)) } else { None })
            .filter(|_| is.contains(&Attribute::EcParams(curve(algorithm).to_vec()))),
        Algorithm::Rsa2048 | Algorithm::Rsa4096 => {
            let usual = is.iter().any(
                |attribute| matches!(attribute, Attribute::PublicExponent(e) if without_zeros(e) == EXPONENT_65537),
            );
            is.iter()
                .find_map(
                    |attribute| {
                        if let Attribute::Modulus(modulus) = attribute { Some(without_zeros(modulus)) } else { None }
                    },
                )
                .filter(|_| usual)
        }
    };
    number.and_then(|number| algorithm.public_key(number)).ok_or_else(|| {
        let problem = format!("it is not a key of {algorithm}: configure the token of this cluster");
        token.no_key(key, problem).into()
    })
}

/// `CKA_EC_POINT` is a point within an OCTET STRING; some tokens give the point alone.
fn raw_point(point: &[u8]) -> &[u8] {
    match point {
        [0x04, length, rest @ ..] if usize::from(*length) == rest.len() => rest,
        _ => point,
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// `ECParameters`: the object identifier of the curve (RFC 5480 §2.1.1.1). RSA has none.
const fn curve(algorithm: Algorithm) -> &'static [u8] {
    match algorithm {
        Algorithm::EcdsaP384 => b"\x06\x05\x2b\x81\x04\x00\x22",
        Algorithm::EcdsaP256 | Algorithm::Rsa2048 | Algorithm::Rsa4096 => b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
    }
}

pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    hash(&SHA256, bytes).as_ref().to_vec()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

const EXPONENT_65537: &[u8] = &[1, 0, 1];
/// `DigestInfo` of SHA-256 up to the digest (RFC 8017 §9.2, note 1).
const SHA256_DIGEST_INFO: &[u8] = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
const ID_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_written_in_2026_still_loads() {
        let reference = Reference {
            algorithm: "ecdsa-p256".to_owned(),
            id: vec![7; 4].into(),
            public_key_sha256: vec![9; 4].into(),
        };
        assert_eq!(hex(&stored::to_bytes(&reference)), FROZEN);
        let bytes: Vec<u8> =
            (0..FROZEN.len()).step_by(2).map(|at| u8::from_str_radix(&FROZEN[at..at + 2], 16).unwrap()).collect();
        assert_eq!(stored::from_bytes::<Reference>(&bytes).unwrap(), reference);
    }

    #[test]
    fn takes_a_point_with_and_without_its_octet_string() {
        let point = [&[4][..], &[1; 64]].concat();
        assert_eq!(raw_point(&[&[4, 65][..], &point].concat()), point);
        assert_eq!(raw_point(&point), point);
    }

    const FROZEN: &str = "836a65636473612d7032353644070707074409090909";
}
