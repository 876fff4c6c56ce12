//! Finding the rules for a caller and a subject without looking at the others.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Issuer, Rule, Subjects};
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

/// Rules by what they are for. Each name in a rule has a number, so that a look-up builds no texts.
#[derive(Debug, Default)]
pub(super) struct Index {
    issuers: HashMap<String, usize>,
    patterns: Patterns,
    callers: HashSet<usize>,
    audiences: HashMap<String, usize>,
    access_tokens: HashMap<(usize, usize, usize), Vec<usize>>,
    jwt_svids: HashMap<(usize, usize), Vec<usize>>,
    entries: usize,
}

/// Why a rule cannot be indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IndexError {
    /// Too many rules for exactly the same caller and subject.
    Crowded,
    /// Too many combinations in all rules together.
    Full,
}

/// The subject for which rules are sought.
#[derive(Debug, Clone, Copy)]
pub enum Sought<'a> {
    /// An access token.
    AccessToken {
        /// Who made it.
        issuer: &'a str,
        /// For whom; one that a rule names is enough.
        audiences: &'a [String],
    },
    /// A JWT-SVID of this identity.
    JwtSvid(&'a SpiffeId),
}

impl Index {
    pub(super) fn of_issuers(issuers: &[Arc<Issuer>]) -> Self {
        let issuers = issuers.iter().enumerate().map(|(position, issuer)| (issuer.issuer.clone(), position)).collect();
        Self { issuers, ..Self::default() }
    }

    pub(super) fn issuer(&self, identifier: &str) -> Option<usize> {
        self.issuers.get(identifier).copied()
    }

    /// Adds the rule at `position`; rules come in the order of the document.
    pub(super) fn add(&mut self, position: usize, rule: &Rule) -> Result<(), IndexError> {
        for caller in &rule.callers {
            let caller = self.patterns.add(caller);
            self.callers.insert(caller);
            match &rule.subjects {
                Subjects::AccessTokens { issuers, audiences } => {
                    for issuer in issuers.iter().filter_map(|issuer| self.issuers.get(issuer).copied()) {
                        for audience in audiences {
                            let next = self.audiences.len();
                            let audience = *self.audiences.entry(audience.clone()).or_insert(next);
                            let rules = self.access_tokens.entry((caller, issuer, audience)).or_default();
                            push(rules, position, &mut self.entries)?;
                        }
                    }
                }
                Subjects::JwtSvids(subjects) => {
                    for subject in subjects {
                        let subject = self.patterns.add(subject);
                        push(self.jwt_svids.entry((caller, subject)).or_default(), position, &mut self.entries)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether any rule is for this caller.
    pub(super) fn knows_caller(&self, caller: &SpiffeId) -> bool {
        self.patterns.matching(caller).iter().any(|pattern| self.callers.contains(pattern))
    }

    /// The positions of the rules for this caller and subject, in the order of the document.
    pub(super) fn rules(&self, caller: &SpiffeId, subject: Sought<'_>) -> Vec<usize> {
        let callers = self.patterns.matching(caller);
        let mut found = Vec::new();
        match subject {
            Sought::AccessToken { issuer, audiences } => {
                let Some(issuer) = self.issuer(issuer) else { return found };
                for audience in audiences.iter().filter_map(|audience| self.audiences.get(audience)) {
                    let rules =
                        callers.iter().filter_map(|caller| self.access_tokens.get(&(*caller, issuer, *audience)));
                    found.extend(rules.flatten());
                }
            }
            Sought::JwtSvid(subject) => {
                let subjects = self.patterns.matching(subject);
                for caller in &callers {
                    found.extend(
                        subjects.iter().filter_map(|subject| self.jwt_svids.get(&(*caller, *subject))).flatten(),
                    );
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn push(rules: &mut Vec<usize>, position: usize, entries: &mut usize) -> Result<(), IndexError> {
    if rules.len() >= MAX_RULES_PER_KEY {
        return Err(IndexError::Crowded);
    }
    *entries += 1;
    if *entries > MAX_ENTRIES {
        return Err(IndexError::Full);
    }
    rules.push(position);
    Ok(())
}

/// Patterns by their text: a look-up tries the ID and each of its parents that could have a pattern.
#[derive(Debug, Default)]
struct Patterns {
    exact: HashMap<String, usize>,
    below: HashMap<String, usize>,
    /// Bytes of the longest text in `below`: longer parents need not be tried.
    longest: usize,
}

impl Patterns {
    fn add(&mut self, pattern: &Pattern) -> usize {
        let next = self.exact.len() + self.below.len();
        let text = pattern.id.to_string();
        if pattern.below {
            self.longest = self.longest.max(text.len());
            *self.below.entry(text).or_insert(next)
        } else {
            *self.exact.entry(text).or_insert(next)
        }
    }

    fn matching(&self, id: &SpiffeId) -> Vec<usize> {
        let text = id.to_string();
        let path_begins = text.len() - id.path().len();
        let parents = text
            .bytes()
            .enumerate()
            .skip(path_begins)
            .take_while(|(at, _)| *at <= self.longest)
            .filter(|(_, byte)| *byte == b'/')
            .filter_map(|(at, _)| text.get(..at).and_then(|parent| self.below.get(parent)));
        self.exact.get(&text).into_iter().chain(parents).copied().collect()
    }
}

/// More rules than this for exactly the same caller, issuer and audience would have to be tried one by one.
const MAX_RULES_PER_KEY: usize = 16;
/// Bounds memory: callers times issuers times audiences, over all rules.
const MAX_ENTRIES: usize = 500_000;
