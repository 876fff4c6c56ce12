//! The URI that names a backend in the configuration.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use crate::aws::{AwsKms, AwsUri};
use crate::pkcs11::{Pkcs11, Pkcs11Uri};
use crate::software::Software;
use crate::{Backend, KmsError};

/// A backend by its URI: `file:PATH`, `file:PATH?passphrase_file=PATH2`, `memory:`, [`pkcs11:…`](Pkcs11Uri) or
/// `awskms:KEY?region=REGION` (see [`AwsUri`]). Paths of `file:` are taken as they are, without percent-decoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyUri {
    /// A random key-encryption key that ends with the process.
    Memory,
    /// A key-encryption key in a file.
    File {
        /// The key file.
        path: PathBuf,
        /// The file with the passphrase that the key file is under, if it is under one.
        passphrase_file: Option<PathBuf>,
    },
    /// A token that PKCS#11 reaches.
    Pkcs11(Pkcs11Uri),
    /// Keys of AWS KMS.
    AwsKms(AwsUri),
}

/// Opens the backend that `uri` names. Takes up to a second of the calling thread.
///
/// A key file is read at once, and so is its passphrase. A backend in hardware or at a distance is not reached yet: a
/// server starts while its KMS is away, and hears of what is wrong with it from the first call.
///
/// # Errors
/// [`KmsError::Configuration`]: the URI, or a file it names, is not as it must be; the text says which and how.
pub fn open(uri: &str) -> Result<Arc<dyn Backend>, KmsError> {
    uri.parse::<KeyUri>()?.open()
}

/// What came of [`create_wrapping_key`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappingKeyMade {
    /// Whether it was made now; otherwise it was there.
    pub created: bool,
    /// What it wraps is for this recipient.
    pub recipient: String,
}

/// Makes the key-encryption key that `uri` names in its backend, if it is not there. For `file:` there is
/// [`generate_key_file`](crate::software::generate_key_file).
///
/// # Errors
/// [`KmsError::Configuration`]: of this backend there is no such key to make, or the URI is not as it must be; and
/// whatever the backend answers.
pub async fn create_wrapping_key(uri: &str) -> Result<WrappingKeyMade, KmsError> {
    let refuse = |problem: &str| Err(KmsError::Configuration { uri: redacted(uri), problem: problem.to_owned() });
    match uri.parse::<KeyUri>()? {
        KeyUri::Pkcs11(token) => {
            let (created, recipient) = Pkcs11::new(token).create_wrapping_key().await?;
            Ok(WrappingKeyMade { created, recipient })
        }
        KeyUri::File { .. } => refuse("make a key file with: signet key generate FILE"),
        KeyUri::AwsKms(_) => refuse("make a symmetric key with: aws kms create-key; docs/keys.md has the commands"),
        KeyUri::Memory => refuse("a key in memory is made by each process for itself"),
    }
}

impl KeyUri {
    /// Opens the backend; see [`open`].
    ///
    /// # Errors
    /// [`KmsError::Configuration`]: a file is not as it must be.
    pub fn open(&self) -> Result<Arc<dyn Backend>, KmsError> {
        Ok(match self {
            Self::Memory => Arc::new(Software::in_memory()?),
            Self::File { path, passphrase_file: None } => Arc::new(Software::from_file(path)?),
            Self::File { path, passphrase_file: Some(passphrase) } => {
                Arc::new(Software::from_protected_file(path, passphrase)?)
            }
            Self::Pkcs11(token) => Arc::new(Pkcs11::new(token.clone())),
            Self::AwsKms(uri) => Arc::new(AwsKms::open(uri.clone())?),
        })
    }
}

impl FromStr for KeyUri {
    type Err = KmsError;

    fn from_str(uri: &str) -> Result<Self, KmsError> {
        let refuse = |problem: &str| KmsError::Configuration { uri: redacted(uri), problem: problem.to_owned() };
        let (scheme, rest) = uri.split_once(':').ok_or_else(|| refuse(EXPECTED))?;
        match scheme {
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "memory" => Err(refuse("nothing may stand behind \"memory:\"")),
            "file" => parse_file(rest).map_err(refuse),
            "pkcs11" => Pkcs11Uri::parse(rest).map(Self::Pkcs11).map_err(|problem| refuse(&problem)),
            "awskms" => uri.parse().map(Self::AwsKms),
            _ => Err(refuse(EXPECTED)),
        }
    }
}

/// The URI up to its question mark, and what stands there of attributes that hold no secret: somebody may have written a
/// PIN or a passphrase where its file belongs.
fn redacted(uri: &str) -> String {
    let (path, query) = match uri.split_once('?') {
        None if uri.contains("pin-value") => return "pkcs11:…".to_owned(),
        None => return uri.to_owned(),
        Some(parts) => parts,
    };
    let path = if path.contains("pin-value") { "pkcs11:…" } else { path };
    let parts: Vec<String> = query
        .split('&')
        .map(|part| match part.split_once('=') {
            Some(("module-path" | "passphrase_file", _)) => part.to_owned(),
            Some((name, _)) => format!("{name}=…"),
            None => "…".to_owned(),
        })
        .collect();
    format!("{path}?{}", parts.join("&"))
}

fn parse_file(rest: &str) -> Result<KeyUri, &'static str> {
    let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
    if path.is_empty() {
        return Err("the path of the key file is missing: file:PATH");
    }
    if path.starts_with("//") {
        return Err("write the path directly behind the colon: file:/etc/signet/kek");
    }
    let passphrase_file = match query.map(|query| query.split_once('=')) {
        None => None,
        Some(Some(("passphrase_file", file))) if !file.is_empty() => Some(PathBuf::from(file)),
        Some(_) => return Err("behind '?' only passphrase_file=PATH may stand"),
    };
    Ok(KeyUri::File { path: PathBuf::from(path), passphrase_file })
}

const EXPECTED: &str = "a key backend is file:PATH, file:PATH?passphrase_file=PATH2, pkcs11:TOKEN?…, awskms:KEY?region=REGION or \
                        memory:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_three_forms() {
        let file = |path: &str, passphrase: Option<&str>| KeyUri::File {
            path: path.into(),
            passphrase_file: passphrase.map(PathBuf::from),
        };
        for (text, uri) in [
            ("memory:", KeyUri::Memory),
            ("file:/etc/signet/kek", file("/etc/signet/kek", None)),
            ("file:kek", file("kek", None)),
            ("file:/a b?passphrase_file=/c=d", file("/a b", Some("/c=d"))),
        ] {
            assert_eq!(text.parse::<KeyUri>().unwrap(), uri);
        }
    }

    #[test]
    fn refuses_every_other_form_and_says_what_is_expected() {
        for (text, fix) in [
            ("", "file:PATH"),
            ("/etc/signet/kek", "file:PATH"),
            ("vault:x", "file:PATH"),
            ("memory:x", "nothing may stand behind"),
            ("file:", "path of the key file is missing"),
            ("file:?passphrase_file=/x", "path of the key file is missing"),
            ("file:///etc/signet/kek", "file:/etc/signet/kek"),
            ("file:/x?passphrase_file=", "passphrase_file=PATH"),
            ("pkcs11:object=root", "token=LABEL or serial=NUMBER is missing"),
            ("awskms:alias/root", "the region is missing"),
        ] {
            let error = text.parse::<KeyUri>().unwrap_err().to_string();
            assert!(error.contains(fix) && error.contains(text), "{text}: {error}");
        }
    }

    #[test]
    fn never_shows_a_secret_that_was_written_into_it() {
        for text in [
            "file:/x?passphrase=48151623",
            "file:/x?48151623",
            "pkcs11:token=t;object=k?module-path=/m&pin-value=48151623",
            "pkcs11:token=t;object=k?module-path=/m&pin-source=48151623",
            "pkcs11:token=t;object=k;pin-value=48151623?module-path=/m",
            "pkcs11:token=t;object=k;pin-value=48151623",
        ] {
            let error = text.parse::<KeyUri>().unwrap_err();
            assert!(!error.to_string().contains("48151623") && !format!("{error:?}").contains("48151623"), "{error:?}");
        }
    }

    #[test]
    fn opens_a_token_without_reaching_it() {
        let uri = "pkcs11:token=t;object=k?module-path=/there/is/none.so&pin-source=file:/nor/a/pin";
        assert_eq!(open(uri).unwrap().name(), "pkcs11:token=t;object=k");
    }
}
