//! The URI that names a backend in the configuration.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use crate::aws::{AwsKms, AwsUri};
use crate::software::Software;
use crate::{Backend, KmsError};

/// A backend by its URI: `file:PATH`, `file:PATH?passphrase_file=PATH2`, `awskms:KEY?region=REGION` (see [`AwsUri`]) or
/// `memory:`. Paths are taken as they are, without percent-decoding.
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
    /// Keys of AWS KMS.
    AwsKms(AwsUri),
}

/// Opens the backend that `uri` names; see [`KeyUri`].
///
/// Reads the key file at once; with a passphrase that takes up to a second of the calling thread. Of AWS nothing is asked
/// yet.
///
/// # Errors
/// [`KmsError::Configuration`]: the URI, or a file it names, is not as it must be; the text says which and how.
pub fn open(uri: &str) -> Result<Arc<dyn Backend>, KmsError> {
    uri.parse::<KeyUri>()?.open()
}

impl KeyUri {
    /// Opens the backend; see [`open`].
    ///
    /// # Errors
    /// [`KmsError::Configuration`]: a file is not as it must be.
    pub fn open(&self) -> Result<Arc<dyn Backend>, KmsError> {
        let software = match self {
            Self::Memory => Software::in_memory()?,
            Self::File { path, passphrase_file: None } => Software::from_file(path)?,
            Self::File { path, passphrase_file: Some(passphrase) } => Software::from_protected_file(path, passphrase)?,
            Self::AwsKms(uri) => return Ok(Arc::new(AwsKms::open(uri.clone())?)),
        };
        Ok(Arc::new(software))
    }
}

impl FromStr for KeyUri {
    type Err = KmsError;

    fn from_str(uri: &str) -> Result<Self, KmsError> {
        let refuse = |problem: &str| KmsError::Configuration { uri: uri.to_owned(), problem: problem.to_owned() };
        let (scheme, rest) = uri.split_once(':').ok_or_else(|| refuse(EXPECTED))?;
        match scheme {
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "memory" => Err(refuse("nothing may stand behind \"memory:\"")),
            "file" => parse_file(rest).map_err(refuse),
            "awskms" => uri.parse().map(Self::AwsKms),
            "pkcs11" => Err(refuse("this backend is not supported yet; use file:PATH")),
            _ => Err(refuse(EXPECTED)),
        }
    }
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

const EXPECTED: &str =
    "a key backend is file:PATH, file:PATH?passphrase_file=PATH2, awskms:KEY?region=REGION or memory:";

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
            ("file:/x?passphrase=secret", "passphrase_file=PATH"),
            ("file:/x?passphrase_file=", "passphrase_file=PATH"),
            ("pkcs11:object=root", "not supported yet"),
            ("awskms:alias/root", "the region is missing"),
        ] {
            let error = text.parse::<KeyUri>().unwrap_err().to_string();
            assert!(error.contains(fix) && error.contains(text), "{text}: {error}");
        }
    }
}
