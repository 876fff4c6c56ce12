//! The exchange policy: whose tokens are taken, and who may redeem them for what. Everything else is denied.
//!
//! One YAML document, replicated as text. [`Policy::parse`] reports all its mistakes at once; what it answers is
//! indexed, so that a decision costs the same with one rule and with ten thousand.

mod build;
mod discovery;
mod document;
mod index;
mod value;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::exchange::Scope;
use crate::jwks::Algorithm;

pub use discovery::{DiscoveryError, jwks_uri};
pub use index::{Pattern, Sought};

use crate::spiffe_id::SpiffeId;

/// A policy, checked and indexed.
#[derive(Debug, Default)]
pub struct Policy {
    issuers: Vec<Arc<Issuer>>,
    rules: Vec<Arc<Rule>>,
    index: index::Index,
}

/// An issuer of access tokens that are taken as subject tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Its identifier: exactly what `iss` must be.
    pub issuer: String,
    /// Where its keys are.
    pub keys: KeySource,
    /// The algorithms it may sign with.
    pub algorithms: Vec<Algorithm>,
    /// The `aud` values that are taken, if a rule also says so.
    pub audiences: Vec<String>,
    /// The `typ` values that are taken, in lower case: `at+jwt`, perhaps `jwt`.
    pub types: Vec<String>,
    /// Tokens made to live longer are refused.
    pub max_lifetime: Duration,
    /// How much its clock may be ahead of ours. Does not apply to `exp`: an expired token is never taken.
    pub leeway: Duration,
    /// What makes its `sub` values differ from everyone else's, ending in a separator.
    pub subject_prefix: String,
    /// Its keys may be those of this cluster's own demonstration.
    pub demo: bool,
}

/// Where an issuer's keys are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// At this URL.
    JwksUri(String),
    /// In the issuer's metadata (RFC 8414 §3, OpenID Connect Discovery §4).
    Discovery,
}

/// Permission for some callers to exchange some subject tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name, which every decision carries.
    pub id: String,
    /// Who may.
    pub callers: Vec<Pattern>,
    /// Which subject tokens.
    pub subjects: Subjects,
    /// The most scope there is, for subject tokens that name their own scope.
    pub scopes: Scope,
    /// The most scope there is for subject tokens that name none. `None`: those are refused.
    pub default_scopes: Option<Scope>,
    /// How long the transaction token lasts, at most.
    pub lifetime: Duration,
}

/// Which subject tokens a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subjects {
    /// Access tokens of these issuers for these audiences: the callers' own, so that a token stolen elsewhere is of no
    /// use to them.
    AccessTokens {
        /// Which issuers.
        issuers: Vec<String>,
        /// Which `aud`.
        audiences: Vec<String>,
    },
    /// JWT-SVIDs of these identities.
    JwtSvids(Vec<Pattern>),
}

/// All that is wrong with a policy document. Nothing of it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyMistakes(pub Vec<Mistake>);

/// One thing that is wrong with a policy document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where, as `rules[2].callers[0]`; empty for the document as a whole.
    pub path: String,
    /// The line, from 1; 0 when it is not known.
    pub line: u64,
    /// What is wrong and what to do about it.
    pub problem: String,
}

impl Policy {
    /// Reads a policy document.
    ///
    /// # Errors
    /// All mistakes that were found. A document that is not YAML at all has just one.
    pub fn parse(document: &str) -> Result<Self, PolicyMistakes> {
        build::policy(document)
    }

    /// The issuers, in the order of the document.
    #[must_use]
    pub fn issuers(&self) -> &[Arc<Issuer>] {
        &self.issuers
    }

    /// The rules, in the order of the document.
    #[must_use]
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// The issuer whose identifier is exactly this.
    #[must_use]
    pub fn issuer(&self, identifier: &str) -> Option<&Arc<Issuer>> {
        self.index.issuer(identifier).and_then(|position| self.issuers.get(position))
    }

    /// Whether any rule is for this caller.
    #[must_use]
    pub fn knows_caller(&self, caller: &SpiffeId) -> bool {
        self.index.knows_caller(caller)
    }

    /// The rules for this caller and subject, in the order of the document. Costs a few look-ups, however many rules
    /// there are.
    #[must_use]
    pub fn rules_for(&self, caller: &SpiffeId, subject: Sought<'_>) -> Vec<&Rule> {
        let positions = self.index.rules(caller, subject);
        positions.into_iter().filter_map(|position| self.rules.get(position).map(Arc::as_ref)).collect()
    }
}

impl Issuer {
    /// Where its metadata may be, in the order to try.
    #[must_use]
    pub fn metadata_urls(&self) -> Vec<String> {
        discovery::metadata_urls(&self.issuer)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)
    }
}

impl fmt::Display for PolicyMistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.iter().take(SHOWN_MISTAKES).map(Mistake::to_string).collect::<Vec<_>>().join("\n");
        f.write_str(&shown)?;
        match self.0.len().saturating_sub(SHOWN_MISTAKES) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for PolicyMistakes {}

const SHOWN_MISTAKES: usize = 100;

#[cfg(test)]
mod tests;
