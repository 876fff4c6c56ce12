//! `[keys]`: the backend that holds the root and opens the issuing keys.

use serde::Deserialize;

use super::Mistakes;

#[derive(Debug, Clone)]
pub(crate) struct KeysConfig {
    /// A URI such as `file:/etc/signet/kek`.
    pub(crate) backend: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    backend: Option<String>,
}

impl Raw {
    pub(super) fn check(self, mistakes: &mut Mistakes) -> Option<KeysConfig> {
        let backend = mistakes.required("keys.backend", self.backend)?;
        Some(KeysConfig { backend })
    }
}
