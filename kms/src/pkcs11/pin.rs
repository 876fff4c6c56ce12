//! Where a PIN is read from.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::uri::PinSource;
use crate::private_file;

/// Reads the PIN: the first line of the file.
///
/// # Errors
/// What is wrong with the file and what to do.
pub(super) fn read(source: &PinSource) -> Result<Zeroizing<Vec<u8>>, String> {
    let path = match source {
        PinSource::File(path) => path.clone(),
        PinSource::Credential(name) => credential(name)?,
    };
    let mut pin = private_file::read(&path).map_err(|problem| format!("the PIN file {} {problem}", path.display()))?;
    while pin.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        pin.pop();
    }
    if pin.is_empty() {
        return Err(format!("the PIN file {} is empty: write the token's user PIN into it", path.display()));
    }
    Ok(pin)
}

/// What to call the place of the PIN.
pub(super) fn place(source: &PinSource) -> String {
    match source {
        PinSource::File(path) => path.display().to_string(),
        PinSource::Credential(name) => format!("the credential {name}"),
    }
}

fn credential(name: &str) -> Result<PathBuf, String> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
        format!(
            "there is no credential {name}, because CREDENTIALS_DIRECTORY is not set: add LoadCredential={name}:PATH to the \
             unit of systemd, or name a file as pin-source=file:/PATH"
        )
    })?;
    Ok(PathBuf::from(folder).join(name))
}
