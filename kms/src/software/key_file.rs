//! Files that hold a key-encryption key, in the clear or under a passphrase.
//!
//! In the clear: 32 bytes, raw or as one line of base64. Under a passphrase: four lines of text, of which the last is
//! the key, sealed under what Argon2id makes of the passphrase and the salt.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::seal::{KEY_BYTES, Purpose, SealingKey};
use crate::{KmsError, private_file};

/// A key-encryption key. Wiped when dropped.
pub(super) type Key = Zeroizing<[u8; KEY_BYTES]>;

/// Reads the key at `path`, which is not under a passphrase.
pub(super) fn read_plain(path: &Path) -> Result<Key, KmsError> {
    let bytes = read_private(path)?;
    if bytes.starts_with(FIRST_LINE.as_bytes()) {
        let problem =
            format!("is under a passphrase: name the passphrase's file as file:{}?passphrase_file=…", path.display());
        return Err(refuse(path, problem));
    }
    plain_key(&bytes).ok_or_else(|| {
        let problem = "holds no key: 32 bytes, or their base64 in one line, are expected; is it cut off? Copy it again \
                       from a node that works";
        refuse(path, problem)
    })
}

/// Reads the key at `path`, which is under the passphrase in the file `passphrase`.
pub(super) fn read_protected(path: &Path, passphrase: &Path) -> Result<Key, KmsError> {
    let bytes = read_private(path)?;
    let protected = std::str::from_utf8(&bytes).ok().and_then(Protected::parse).ok_or_else(|| {
        let problem = if plain_key(&bytes).is_some() {
            "is not under a passphrase: leave ?passphrase_file= out, or make a new key file with one"
        } else {
            "is not a key file under a passphrase, or is cut off: copy it again from a node that works"
        };
        refuse(path, problem)
    })?;
    let sealing = derive(&read_passphrase(passphrase)?, &protected.salt, protected.cost, path)?;
    let key = sealing.open(Purpose::KeyFile, &protected.sealed, &[]).map_err(|_| {
        refuse(passphrase, format!("holds another passphrase than the one that {} was made with", path.display()))
    })?;
    let key: [u8; KEY_BYTES] = key.as_slice().try_into().map_err(|_| refuse(path, "holds a key of a wrong length"))?;
    Ok(Zeroizing::new(key))
}

/// Makes a new key file. There must be nothing at `path`.
pub(super) fn create_plain(path: &Path) -> Result<(), KmsError> {
    let key = new_key(path)?;
    let mut text = Zeroizing::new(STANDARD.encode(key.as_slice()));
    text.push('\n');
    write_private(path, text.as_bytes())
}

/// Makes a new key file under the passphrase in the file `passphrase`. There must be nothing at `path`.
pub(super) fn create_protected(path: &Path, passphrase: &Path, cost: Cost) -> Result<(), KmsError> {
    let mut salt = [0; SALT_BYTES];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| no_randomness(path))?;
    let sealing = derive(&read_passphrase(passphrase)?, &salt, cost, path)?;
    let key = new_key(path)?;
    let sealed = sealing.seal(Purpose::KeyFile, key.as_slice(), &[]).map_err(|_| no_randomness(path))?;
    write_private(path, Protected { cost, salt: salt.to_vec(), sealed }.to_text().as_bytes())
}

/// What deriving a key from the passphrase costs, as Argon2id has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    memory_kib: u32,
    passes: u32,
}

impl Cost {
    /// RFC 9106 §4, the second recommendation, with one lane: 64 MiB, three passes.
    pub(super) const NEW: Self = Self { memory_kib: 64 * 1024, passes: 3 };

    #[cfg(test)]
    pub(super) const FOR_TESTS: Self = Self { memory_kib: 64, passes: 1 };
}

/// A key file under a passphrase. Stored form: the text. 2026-11-22: version 1.
struct Protected {
    cost: Cost,
    salt: Vec<u8>,
    sealed: Vec<u8>,
}

impl Protected {
    fn to_text(&self) -> String {
        let Cost { memory_kib, passes } = self.cost;
        let (salt, sealed) = (STANDARD.encode(&self.salt), STANDARD.encode(&self.sealed));
        format!("{FIRST_LINE}\nargon2id m={memory_kib},t={passes}\nsalt {salt}\nkey {sealed}\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let (memory_kib, passes) = lines.next()?.strip_prefix("argon2id m=")?.split_once(",t=")?;
        let cost = Cost { memory_kib: memory_kib.parse().ok()?, passes: passes.parse().ok()? };
        let salt = STANDARD.decode(lines.next()?.strip_prefix("salt ")?).ok()?;
        let sealed = STANDARD.decode(lines.next()?.strip_prefix("key ")?).ok()?;
        let bounded = cost.memory_kib <= MAX_MEMORY_KIB && cost.passes <= MAX_PASSES && salt.len() >= SALT_BYTES;
        (bounded && lines.next().is_none()).then_some(Self { cost, salt, sealed })
    }
}

fn plain_key(bytes: &[u8]) -> Option<Key> {
    if let Ok(raw) = <[u8; KEY_BYTES]>::try_from(bytes) {
        return Some(Zeroizing::new(raw));
    }
    let decoded = Zeroizing::new(STANDARD.decode(bytes.trim_ascii()).ok()?);
    Some(Zeroizing::new(decoded.as_slice().try_into().ok()?))
}

fn derive(passphrase: &[u8], salt: &[u8], cost: Cost, path: &Path) -> Result<SealingKey, KmsError> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let bad_cost = |cause: argon2::Error| refuse(path, format!("has Argon2id parameters that cannot be used: {cause}"));
    let params = Params::new(cost.memory_kib, cost.passes, 1, Some(KEY_BYTES)).map_err(bad_cost)?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, key.as_mut())
        .map_err(bad_cost)?;
    Ok(SealingKey::new(&key))
}

fn read_passphrase(path: &Path) -> Result<Zeroizing<Vec<u8>>, KmsError> {
    let mut passphrase = read_private(path)?;
    while passphrase.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        passphrase.pop();
    }
    if passphrase.len() < MIN_PASSPHRASE_BYTES {
        return Err(refuse(
            path,
            format!("holds a passphrase shorter than {MIN_PASSPHRASE_BYTES} bytes: take a longer one"),
        ));
    }
    Ok(passphrase)
}

fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, KmsError> {
    private_file::read(path).map_err(|problem| refuse(path, problem))
}

/// Writes a new file that only we may read, and has it on disk before it returns.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KmsError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.map_err(|cause| {
        if cause.kind() == std::io::ErrorKind::AlreadyExists {
            refuse(path, "exists already and is not overwritten: whatever is wrapped under it would be lost")
        } else {
            refuse(path, format!("cannot be created: {cause}"))
        }
    })?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| sync_directory(path));
    written.map_err(|cause| {
        let _ = std::fs::remove_file(path);
        refuse(path, format!("cannot be written: {cause}"))
    })
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn new_key(path: &Path) -> Result<Key, KmsError> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    aws_lc_rs::rand::fill(key.as_mut()).map_err(|_| no_randomness(path))?;
    Ok(key)
}

fn no_randomness(path: &Path) -> KmsError {
    refuse(path, "cannot be made: the system gave no randomness")
}

fn refuse(path: &Path, problem: impl std::fmt::Display) -> KmsError {
    KmsError::Configuration { uri: format!("file:{}", path.display()), problem: problem.to_string() }
}

const FIRST_LINE: &str = "signet key file 1, under a passphrase";
const SALT_BYTES: usize = 16;
const MIN_PASSPHRASE_BYTES: usize = 12;
/// 1 GiB: more would be an accident or an attack.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 64;

#[cfg(test)]
mod tests;
