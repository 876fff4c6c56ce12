//! The key-encryption key: an AES-256 key that stays in the token.

use std::time::{Duration, Instant};

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::mechanisms;
use super::module::{configuration, lock};
use super::signing::{hex, is_locked_up, sha256};
use super::token::{Attached, Token};
use crate::{KmsError, MAX_CONTEXT_BYTES, MAX_WRAPPED_BYTES};

/// The key, and the name that says who can open what it wrapped.
#[derive(Debug, Clone)]
pub(super) struct WrappingKey {
    handle: ObjectHandle,
    recipient: String,
}

/// The name of the key that the token has under the configured label.
pub(super) fn recipient(token: &Token, attached: &Attached) -> Result<String, Failure> {
    Ok(key(token, attached)?.recipient)
}

/// Encrypts and authenticates. Stored form of the blob: version, 12 bytes of nonce, ciphertext, 16 bytes of tag. The
/// plaintext is a byte 0 and what was given, because some tokens refuse to encrypt nothing. 2026-11-22: version 1.
pub(super) fn wrap(token: &Token, attached: &Attached, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, Failure> {
    if plaintext.len() > MAX_WRAPPED_BYTES || context.len() > MAX_CONTEXT_BYTES {
        return Err(token.wrong("more was given to wrap than a backend takes").into());
    }
    let key = key(token, attached)?;
    let mut nonce = [0; NONCE_BYTES];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| token.unavailable("the system gave no randomness"))?;
    let plaintext = Zeroizing::new([&[0][..], plaintext].concat());
    let sealed = encrypt(&attached.session, key.handle, &mut nonce, &associated(context), &plaintext)?;
    if sealed.len() != plaintext.len() + TAG_BYTES {
        return Err(token.wrong("a ciphertext of another length than AES-GCM makes").into());
    }
    // The nonce is what the token used: one that insists on its own has put it there.
    Ok([&[VERSION][..], &nonce, &sealed].concat())
}

/// Opens what [`wrap`] made.
pub(super) fn unwrap(
    token: &Token,
    attached: &Attached,
    blob: &[u8],
    context: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let key = key(token, attached)?;
    let does_not_open = || KmsError::Open { backend: token.uri.name(), key: key.recipient.clone() };
    let [VERSION, rest @ ..] = blob else { return Err(does_not_open().into()) };
    let (nonce, sealed) = rest.split_at_checked(NONCE_BYTES).ok_or_else(does_not_open)?;
    if !(TAG_BYTES + 1..=TAG_BYTES + 1 + MAX_WRAPPED_BYTES).contains(&sealed.len()) {
        return Err(does_not_open().into());
    }
    let opened = decrypt(&attached.session, key.handle, nonce, &associated(context), sealed);
    match opened {
        Ok(opened) => match opened.split_first() {
            Some((0, plaintext)) if opened.len() + TAG_BYTES == sealed.len() => Ok(Zeroizing::new(plaintext.to_vec())),
            _ => Err(token.wrong("it opened a blob to something else than what is wrapped").into()),
        },
        Err(Failure::Token(cause)) => {
            // A tag that does not fit is told as many things, a failing token among them.
            works(token, attached, &key)?;
            tracing::debug!("{}: a blob does not open: {cause}", token.uri.name());
            Err(does_not_open().into())
        }
        Err(other) => Err(other),
    }
}

/// Makes the key that the URI names, unless it is there. Whether it was made, and its name.
///
/// A token cannot be asked to make a key only if there is none. So whoever has made one looks again, and takes its own
/// away when it sees another, but only within [`MAY_TAKE_AWAY`]; and whoever finds one trusts it when it is still there
/// after [`SETTLED`], which is longer. So nobody comes away with a key that is taken away later. Where two stay, because
/// somebody was too slow, that is an error here, and nobody uses either until one is gone.
pub(super) fn create(token: &Token, attached: &Attached) -> Result<(bool, String), Failure> {
    mechanisms::wraps(token, attached)?;
    for _ in 0..CREATE_ROUNDS {
        let there = named(token, attached)?;
        if !there.is_empty() {
            std::thread::sleep(SETTLED);
            if named(token, attached)? == there {
                return Ok((false, recipient(token, attached)?));
            }
            continue;
        }
        mechanisms::makes_aes(token, attached)?;
        let session = attached.writing_session()?;
        let begun = Instant::now();
        let made = session.generate_key(&Mechanism::AesKeyGen, &template(token)?)?;
        if let Err(refused) = is_locked_up(token, attached, made, &token.uri.object) {
            session.destroy_object(made)?;
            return Err(refused);
        }
        // With another one beside it, and too late, this says that there are several.
        if named(token, attached)? == [made] || begun.elapsed() > MAY_TAKE_AWAY {
            return Ok((true, recipient(token, attached)?));
        }
        session.destroy_object(made)?;
        std::thread::sleep(some_milliseconds(token)?);
    }
    let problem = "others made a key under the same label at every try: wait for them to end, and try again";
    Err(token.unavailable(problem).into())
}

fn template(token: &Token) -> Result<Vec<Attribute>, Failure> {
    let id = match &token.uri.id {
        Some(id) => id.clone(),
        None => {
            let mut id = vec![0; 16];
            aws_lc_rs::rand::fill(&mut id).map_err(|_| token.unavailable("the system gave no randomness"))?;
            id
        }
    };
    Ok(vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::Label(token.uri.object.as_bytes().to_vec()),
        Attribute::Id(id),
        Attribute::ValueLen(32.into()),
    ])
}

/// The secret keys under the configured name.
fn named(token: &Token, attached: &Attached) -> Result<Vec<ObjectHandle>, Failure> {
    let mut template = vec![Attribute::Class(ObjectClass::SECRET_KEY)];
    template.extend(name(token));
    attached.find(&template)
}

fn name(token: &Token) -> Vec<Attribute> {
    let mut name = vec![Attribute::Token(true), Attribute::Label(token.uri.object.as_bytes().to_vec())];
    name.extend(token.uri.id.clone().map(Attribute::Id));
    name
}

/// The key, looked for once in each connection.
fn key(token: &Token, attached: &Attached) -> Result<WrappingKey, Failure> {
    if let Some(known) = lock(&attached.connected.wrapping).clone() {
        return Ok(known);
    }
    let found = look_for(token, attached)?;
    let pinned = token.recipient.get_or_init(|| found.recipient.clone());
    if *pinned != found.recipient {
        let problem = format!(
            "it is another key than when this node began to use it: it was {pinned}, and is {}; put the old one back, or \
             restart this node if that is meant",
            found.recipient
        );
        return Err(token.no_key(&token.uri.object, problem).into());
    }
    *lock(&attached.connected.wrapping) = Some(found.clone());
    Ok(found)
}

fn look_for(token: &Token, attached: &Attached) -> Result<WrappingKey, Failure> {
    let refuse = |problem: String| Failure::from(token.no_key(&token.uri.object, problem));
    let handle = match named(token, attached)?.as_slice() {
        [one] => *one,
        [] => return Err(refuse(missing(token, attached)?)),
        several => {
            let ids: Vec<String> = several.iter().map(|one| id_of(attached, *one)).collect::<Result<_, _>>()?;
            let problem = format!("the token has several keys of that label: add id= to the URI, one of {ids:?}");
            return Err(refuse(problem));
        }
    };
    let kinds = [
        AttributeType::KeyType,
        AttributeType::ValueLen,
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::Encrypt,
        AttributeType::Decrypt,
    ];
    let is = attached.attributes(handle, &kinds)?;
    let must = [
        (Attribute::KeyType(KeyType::AES), "is not an AES key"),
        (Attribute::ValueLen(32.into()), "does not have 256 bits"),
        (Attribute::Encrypt(true), "may not encrypt (CKA_ENCRYPT)"),
        (Attribute::Decrypt(true), "may not decrypt (CKA_DECRYPT)"),
        (Attribute::Sensitive(true), "can be read (CKA_SENSITIVE is not set)"),
        (Attribute::Extractable(false), "can be taken out of the token (CKA_EXTRACTABLE is set)"),
    ];
    if let Some((_, problem)) = must.iter().find(|(attribute, _)| !is.contains(attribute)) {
        return Err(refuse(format!(
            "the secret key of that label {problem}: name another one in keys.backend, or make one with: signet key create \
             'URI'"
        )));
    }
    mechanisms::wraps(token, attached)?;
    let recipient = fingerprint(token, attached, handle)?;
    Ok(WrappingKey { handle, recipient })
}

/// What to do about a key that is not there.
fn missing(token: &Token, attached: &Attached) -> Result<String, Failure> {
    let other = attached.find(&name(token))?;
    let classes = other.first().map(|other| attached.attributes(*other, &[AttributeType::Class])).transpose()?;
    Ok(match classes.as_deref() {
        Some([Attribute::Class(class)]) => format!(
            "what the token has under that label is {class}, not a secret key: name the AES-256 key in keys.backend"
        ),
        _ => {
            "the token has no AES-256 key of that label: make it, once for the whole cluster, with: signet key create \
              'URI'; or correct object= in keys.backend"
                .to_owned()
        }
    })
}

fn id_of(attached: &Attached, object: ObjectHandle) -> Result<String, Failure> {
    let is = attached.attributes(object, &[AttributeType::Id])?;
    Ok(is
        .first()
        .and_then(|attribute| if let Attribute::Id(id) = attribute { Some(id) } else { None })
        .map(|id| id.iter().map(|byte| format!("%{byte:02X}")).collect())
        .unwrap_or_default())
}

/// 16 hex digits that tell one key from another and say nothing about it: the same in every copy of the token, such as
/// one that was restored from its backup and has another serial number.
///
/// They come of encrypting a constant under a nonce of zeros. The same bytes each time, so that the nonce is spent on one
/// message only; a random one is not zero.
fn fingerprint(token: &Token, attached: &Attached, handle: ObjectHandle) -> Result<String, Failure> {
    let mut nonce = [0; NONCE_BYTES];
    let sealed = encrypt(&attached.session, handle, &mut nonce, b"signet pkcs11 recipient 1", &[0; 16])?;
    let of = if nonce == [0; NONCE_BYTES] {
        sealed
    } else {
        // The token takes no nonce from outside. Then it is the name that tells.
        [token.uri.object.as_bytes(), &[0], id_of(attached, handle)?.as_bytes()].concat()
    };
    Ok(format!("pkcs11:{}", hex(sha256(&of).get(..8).unwrap_or_default())))
}

/// Whether the key works, by a round trip in a session of its own.
fn works(token: &Token, attached: &Attached, key: &WrappingKey) -> Result<(), Failure> {
    let session = attached.another_session()?;
    let mut nonce = [0; NONCE_BYTES];
    aws_lc_rs::rand::fill(&mut nonce).map_err(|_| token.unavailable("the system gave no randomness"))?;
    let sealed = encrypt(&session, key.handle, &mut nonce, PROBE, PROBE)?;
    let opened = decrypt(&session, key.handle, &nonce, PROBE, &sealed)?;
    if opened.as_slice() == PROBE {
        Ok(())
    } else {
        Err(token.wrong("it opened other bytes than it had wrapped").into())
    }
}

fn encrypt(
    session: &Session,
    key: ObjectHandle,
    nonce: &mut [u8; NONCE_BYTES],
    associated: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, Failure> {
    let mechanism = Mechanism::AesGcm(GcmParams::new(nonce, associated, TAG_BITS.into())?);
    Ok(session.encrypt(&mechanism, key, plaintext)?)
}

fn decrypt(
    session: &Session,
    key: ObjectHandle,
    nonce: &[u8],
    associated: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut nonce = nonce.to_vec();
    let mechanism = Mechanism::AesGcm(GcmParams::new(&mut nonce, associated, TAG_BITS.into())?);
    Ok(Zeroizing::new(session.decrypt(&mechanism, key, sealed)?))
}

/// Never empty, and of no other use of the key.
fn associated(context: &[u8]) -> Vec<u8> {
    [b"signet pkcs11 wrap 1:", context].concat()
}

fn some_milliseconds(token: &Token) -> Result<Duration, Failure> {
    let mut random = [0; 1];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| configuration(&token.uri, "the system gave no randomness"))?;
    Ok(Duration::from_millis(random.iter().map(|byte| u64::from(*byte)).sum()))
}

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const TAG_BITS: u64 = 128;
const CREATE_ROUNDS: usize = 8;
const MAY_TAKE_AWAY: Duration = Duration::from_secs(2);
const SETTLED: Duration = Duration::from_secs(3);
const PROBE: &[u8] = b"signet pkcs11 probe 1";
