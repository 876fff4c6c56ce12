//! Keys that were made elsewhere: read from a file, or found in a backend under the name that somebody gave them.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::{KmsError, private_file};

/// A signing key that Signet did not make.
#[derive(Clone, Copy)]
pub enum ForeignKey<'a> {
    /// The private key itself, PKCS#8 DER.
    Pkcs8(&'a [u8]),
    /// What the backend knows it by: its `CKA_LABEL`.
    Named(&'a str),
}

impl fmt::Debug for ForeignKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pkcs8(_) => f.write_str("ForeignKey(PKCS#8)"),
            Self::Named(name) => write!(f, "ForeignKey({name:?})"),
        }
    }
}

/// Reads one private key, PKCS#8 in PEM, from a file that only we may read. Text around it is allowed.
///
/// # Errors
/// [`KmsError::Configuration`]: others may read the file, or it does not hold exactly one such key; never shows its content.
pub fn read_pkcs8_pem(path: &Path) -> Result<Zeroizing<Vec<u8>>, KmsError> {
    let refuse = |problem: String| KmsError::Configuration { uri: format!("private key {}", path.display()), problem };
    let bytes = private_file::read(path).map_err(refuse)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| refuse(NOT_PEM.to_owned()))?;
    parse(text).map_err(|problem| refuse(problem.to_owned()))
}

fn parse(text: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    for (label, problem) in OTHERS {
        if text.contains(&format!("-----BEGIN {label}-----")) {
            return Err(problem);
        }
    }
    let (_, rest) = text.split_once(BEGIN).ok_or(NOT_PEM)?;
    if rest.contains(BEGIN) {
        return Err("holds several private keys: leave the one that belongs to the certificate");
    }
    let (body, _) = rest.split_once(END).ok_or(NOT_PEM)?;
    // One allocation, so that no copy is left behind when it grows.
    let mut base64 = Zeroizing::new(String::with_capacity(body.len()));
    base64.extend(body.chars().filter(|character| !character.is_ascii_whitespace()));
    let mut der = Zeroizing::new(vec![0; base64.len()]);
    let length = STANDARD.decode_slice(base64.as_bytes(), &mut der).map_err(|_| NOT_PEM)?;
    der.truncate(length);
    Ok(der)
}

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
const NOT_PEM: &str = "holds no private key as PKCS#8 in PEM (-----BEGIN PRIVATE KEY-----): convert it with `openssl pkcs8 -topk8 -nocrypt`";
const OTHERS: [(&str, &str); 3] = [
    (
        "ENCRYPTED PRIVATE KEY",
        "holds a key under a passphrase: write it without one, for this command alone, with `openssl pkcs8`, to a file of mode 0600",
    ),
    ("RSA PRIVATE KEY", "holds a key as PKCS#1: convert it with `openssl pkcs8 -topk8 -nocrypt`"),
    ("EC PRIVATE KEY", "holds a key as SEC1: convert it with `openssl pkcs8 -topk8 -nocrypt`"),
];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rcgen::KeyPair;

    use super::*;
    use crate::software::Software;
    use crate::{Algorithm, Signer as _};

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.key");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[tokio::test]
    async fn a_key_file_takes_up_a_key_that_signs_as_it_did() {
        let pair = KeyPair::generate().unwrap();
        let (_folder, path) = file(&format!("made by hand\n{}", pair.serialize_pem()), 0o600);
        let pkcs8 = read_pkcs8_pem(&path).unwrap();
        let backend = Software::in_memory().unwrap();
        let key = backend.adopt(ForeignKey::Pkcs8(&pkcs8)).await.unwrap();
        let public_key = backend.public_key(&key).await.unwrap();
        assert_eq!(public_key, rcgen::PublicKeyData::subject_public_key_info(&pair));
        let digest = Algorithm::EcdsaP256.digest(b"message");
        let signature = backend.sign_digest(&key, &digest).await.unwrap();
        assert!(Algorithm::EcdsaP256.verifies(&public_key, &digest, &signature));
        assert!(!key.0.windows(16).any(|part| pkcs8.windows(16).any(|secret| secret == part)), "it is not sealed");
    }

    #[tokio::test]
    async fn refuses_a_key_of_another_kind_and_a_name_where_there_are_none() {
        let backend = Software::in_memory().unwrap();
        let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        for (key, words) in [
            (ForeignKey::Pkcs8(&ed25519.serialize_der()), "neither ECDSA P-256 or P-384 nor RSA"),
            (ForeignKey::Pkcs8(b"rubbish"), "neither ECDSA P-256 or P-384 nor RSA"),
            (ForeignKey::Named("root"), "from its file"),
        ] {
            let error = backend.adopt(key).await.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn refuses_a_file_that_does_not_hold_one_key_and_never_shows_what_it_holds() {
        let pem = KeyPair::generate().unwrap().serialize_pem();
        let secret = pem.lines().nth(1).unwrap().to_owned();
        let twice = format!("{pem}{pem}");
        let [sec1, pkcs1, locked] =
            ["EC ", "RSA ", "ENCRYPTED "].map(|kind| pem.replace("PRIVATE KEY", &format!("{kind}PRIVATE KEY")));
        for (text, words) in [
            ("", "holds no private key"),
            ("rubbish", "holds no private key"),
            (&pem[..pem.len() / 2], "holds no private key"),
            (&pem.replace("\nM", "\n!"), "holds no private key"),
            (&twice, "several private keys"),
            (&sec1, "SEC1"),
            (&pkcs1, "PKCS#1"),
            (&locked, "under a passphrase"),
        ] {
            let (_folder, path) = file(text, 0o600);
            let error = read_pkcs8_pem(&path).unwrap_err();
            assert!(error.to_string().contains(words) && error.to_string().contains("root.key"), "{error}");
            assert!(!format!("{error} {error:?}").contains(&secret));
        }
        let (_folder, path) = file(&pem, 0o644);
        let error = read_pkcs8_pem(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
