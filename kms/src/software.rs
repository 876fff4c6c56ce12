//! Keys in software: a key-encryption key in memory or in a file seals everything else.

use std::path::Path;

use crate::KmsError;

/// Makes a new key file of 32 random bytes at `path`, mode 0600. The operator gives the same file to every node.
///
/// # Errors
/// [`KmsError::Configuration`]: there is something at `path` already (it is never overwritten), or it cannot be written.
pub fn generate_key_file(path: &Path) -> Result<(), KmsError> {
    todo!("{}", path.display())
}
