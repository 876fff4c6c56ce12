//! `scope`: a set of words (RFC 6749 §3.3), in the order in which they were first named.

use std::fmt;
use std::str::FromStr;

/// Words of scope without duplicates. May be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope(Vec<String>);

/// The text is not a list of scope words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// A character that no scope word may hold, or more than one space between words.
    #[error("scope is words of printable ASCII without quote and backslash, each separated by one space")]
    Syntax,
    /// More than 256 words, or a word longer than 256 bytes.
    #[error("scope has more than 256 words, or a word of more than 256 bytes")]
    TooMany,
}

impl Scope {
    /// The words.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `word` is among them.
    #[must_use]
    pub fn contains(&self, word: &str) -> bool {
        self.0.iter().any(|own| own == word)
    }

    /// Whether every word of this is also in `other`.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.iter().all(|word| other.contains(word))
    }

    /// Whether `word` may be a scope word.
    #[must_use]
    pub fn is_word(word: &str) -> bool {
        (1..=MAX_WORD_BYTES).contains(&word.len())
            && word.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
    }
}

impl FromIterator<String> for Scope {
    fn from_iter<I: IntoIterator<Item = String>>(words: I) -> Self {
        let mut scope = Self::default();
        for word in words {
            if !scope.contains(&word) {
                scope.0.push(word);
            }
        }
        scope
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.split(' ').nth(MAX_WORDS).is_some() || text.split(' ').any(|word| word.len() > MAX_WORD_BYTES) {
            return Err(ScopeError::TooMany);
        }
        if text.split(' ').all(Self::is_word) {
            Ok(text.split(' ').map(str::to_owned).collect())
        } else {
            Err(ScopeError::Syntax)
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

const MAX_WORDS: usize = 256;
const MAX_WORD_BYTES: usize = 256;
