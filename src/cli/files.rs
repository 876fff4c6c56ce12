//! Files that the command line reads and writes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use signet_model::refusal::Reason;
use zeroize::Zeroizing;

use super::failure::Failure;

/// Writes a file that only its owner can read, whole or not at all.
///
/// # Errors
/// It could not be written; an older file of this name is as it was.
pub(crate) fn write_secret(path: &Path, content: &[u8]) -> Result<(), Failure> {
    replace(path, content, 0o600).map_err(|cause| Failure::file("write", path, cause))
}

/// Writes a file that anybody can read, whole or not at all.
///
/// # Errors
/// As [`write_secret`].
pub(crate) fn write_public(path: &Path, content: &[u8]) -> Result<(), Failure> {
    replace(path, content, 0o644).map_err(|cause| Failure::file("write", path, cause))
}

fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a file name"))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(temporary);
    // A leftover of a process with our id that died in the middle: nobody else uses this name.
    let _ = fs::remove_file(&temporary);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Reads a secret from a file, or from standard input when there is none or it is `-`. Surrounding space is dropped.
///
/// # Errors
/// It could not be read, is empty, is too long, or is no text.
pub(crate) fn read_secret(path: Option<&Path>, what: &str) -> Result<Zeroizing<String>, Failure> {
    let bytes = read_secret_bytes(path, what)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| refused(path, what, "is no text"))?.trim();
    if text.is_empty() {
        return Err(refused(path, what, "is empty"));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// Reads a secret as it is.
///
/// # Errors
/// It could not be read, or is too long.
pub(crate) fn read_secret_bytes(path: Option<&Path>, what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 1));
    let limit = MAX_SECRET_BYTES as u64 + 1;
    let read = match path.filter(|path| *path != Path::new("-")) {
        Some(path) => File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
        None => io::stdin().lock().take(limit).read_to_end(&mut bytes),
    };
    read.map_err(|cause| Failure::new("io", format!("cannot read {what} from {}: {cause}", place(path))))?;
    if bytes.len() > MAX_SECRET_BYTES {
        return Err(refused(path, what, "is too long"));
    }
    Ok(bytes)
}

fn refused(path: Option<&Path>, what: &str, problem: &str) -> Failure {
    Failure::new(Reason::InvalidArgument.code(), format!("{what} from {} {problem}", place(path)))
}

fn place(path: Option<&Path>) -> String {
    path.filter(|path| *path != Path::new("-"))
        .map_or_else(|| "standard input".to_owned(), |path| path.display().to_string())
}

/// Longer than any token that a server accepts.
const MAX_SECRET_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_secret_is_for_its_owner_alone_even_when_it_replaces_an_open_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_secret(&path, b"new").unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (b"new".as_slice(), 0o600));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file was left behind");
    }

    #[test]
    fn a_failed_write_names_the_file_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let error = write_secret(&dir.path().join("no/such/key.pem"), b"x").unwrap_err();
        assert!(error.message().contains("no/such/key.pem"), "{error}");
    }

    #[test]
    fn refuses_an_empty_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, " \n").unwrap();
        assert_eq!(read_secret(Some(&path), "the token").unwrap_err().code(), "invalid_argument");
        fs::write(&path, " abc\n").unwrap();
        assert_eq!(read_secret(Some(&path), "the token").unwrap().as_str(), "abc");
    }
}
