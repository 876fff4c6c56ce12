//! Finding the rules for a caller and a subject without looking at the others.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use crate::spiffe_id::{SpiffeId, SpiffeIdError};

/// Which SPIFFE IDs: exactly one, or all below a path (`spiffe://td.example/gateway/*`: at least one more segment).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    id: SpiffeId,
    below: bool,
}

impl Pattern {
    /// Whether `id` is among them.
    #[must_use]
    pub fn matches(&self, id: &SpiffeId) -> bool {
        if !self.below {
            return self.id == *id;
        }
        let rest = id.path().strip_prefix(self.id.path());
        self.id.trust_domain() == id.trust_domain() && rest.is_some_and(|rest| rest.starts_with('/'))
    }
}

impl FromStr for Pattern {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        match text.strip_suffix("/*") {
            Some(id) => Ok(Self { id: id.parse()?, below: true }),
            None => Ok(Self { id: text.parse()?, below: false }),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.id, if self.below { "/*" } else { "" })
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    issuers: HashMap<String, usize>,
}

impl Index {
    pub(super) fn issuer(&self, identifier: &str) -> Option<usize> {
        self.issuers.get(identifier).copied()
    }
}
