//! The URI that names a backend in the configuration.

use std::sync::Arc;

use crate::{Backend, KmsError};

/// Opens the backend that `uri` names: `file:PATH`, `file:PATH?passphrase_file=PATH2` or `memory:`.
///
/// Reads the key file at once; with a passphrase that takes up to a second of the calling thread.
///
/// # Errors
/// [`KmsError::Configuration`]: the URI, or a file it names, is not as it must be; the text says which and how.
pub fn open(uri: &str) -> Result<Arc<dyn Backend>, KmsError> {
    todo!("{uri}")
}
