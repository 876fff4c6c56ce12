//! SPIFFE IDs and trust domain names, parsed once at the edge (SPIFFE-ID §2).

use std::fmt;
use std::str::FromStr;

/// The name of a trust domain: lower-case letters, digits, `.`, `-` and `_`, at most 255 bytes (SPIFFE-ID §2.1).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrustDomain(String);

/// A SPIFFE ID: a trust domain and a path, which is empty or begins with `/` (SPIFFE-ID §2).
///
/// The only way to make one is to parse it, so whoever holds a value need not check it again. Scheme and trust domain
/// are compared in lower case by parsers that follow RFC 3986; this type refuses upper case instead, as SPIRE does, so
/// that two spellings never name one identity. The path is compared byte by byte.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    path: String,
}

/// Why a text is not a SPIFFE ID or trust domain name. The caller corrects the text it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// There is nothing to parse.
    #[error("a SPIFFE ID cannot be empty")]
    Empty,
    /// Longer than 2048 bytes, the length every implementation supports (SPIFFE-ID §2.3).
    #[error("a SPIFFE ID is at most 2048 bytes long")]
    TooLong,
    /// Does not begin with `spiffe://`.
    #[error("a SPIFFE ID begins with \"spiffe://\"")]
    Scheme,
    /// The trust domain is missing.
    #[error("the trust domain is missing")]
    NoTrustDomain,
    /// The trust domain is longer than 255 bytes.
    #[error("a trust domain name is at most 255 bytes long")]
    TrustDomainTooLong,
    /// A character that no trust domain name may hold, such as an upper-case letter, `:` or `@`.
    #[error("a trust domain name holds only lower-case letters, digits, '.', '-' and '_', not {0:?}")]
    TrustDomainCharacter(char),
    /// A path segment is empty.
    #[error("a path has no empty segments")]
    EmptySegment,
    /// A path segment is `.` or `..`.
    #[error("a path has no '.' or '..' segments")]
    DotSegment,
    /// The path ends with `/`.
    #[error("a path does not end with '/'")]
    TrailingSlash,
    /// A character that no path segment may hold; query, fragment and percent-encoding end here too.
    #[error("a path segment holds only letters, digits, '.', '-' and '_', not {0:?}")]
    PathCharacter(char),
}

impl TrustDomain {
    /// The name, without scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> [&str; 1] {
        [&self.0]
    }

    /// The SPIFFE ID of the trust domain itself, `spiffe://NAME`.
    #[must_use]
    pub fn id(&self) -> SpiffeId {
        SpiffeId { trust_domain: self.clone(), path: String::new() }
    }

    /// The SPIFFE ID with this path below the trust domain.
    ///
    /// # Errors
    /// The path breaks a rule of SPIFFE-ID §2.2; the caller corrects it.
    pub fn join(&self, path: &str) -> Result<SpiffeId, SpiffeIdError> {
        check_path(path)?;
        let id = SpiffeId { trust_domain: self.clone(), path: path.to_owned() };
        if id.len() > MAX_ID_BYTES { Err(SpiffeIdError::TooLong) } else { Ok(id) }
    }
}

impl SpiffeId {
    /// The trust domain this identity belongs to.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path with its leading `/`, or an empty text for the trust domain's own ID.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether this identity belongs to `trust_domain`.
    #[must_use]
    pub fn is_member_of(&self, trust_domain: &TrustDomain) -> bool {
        self.trust_domain == *trust_domain
    }

    /// The pieces of its text.
    pub(crate) fn parts(&self) -> [&str; 3] {
        [SCHEME, &self.trust_domain.0, &self.path]
    }

    fn len(&self) -> usize {
        SCHEME.len() + self.trust_domain.0.len() + self.path.len()
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        if text.is_empty() {
            return Err(SpiffeIdError::NoTrustDomain);
        }
        if text.len() > MAX_TRUST_DOMAIN_BYTES {
            return Err(SpiffeIdError::TrustDomainTooLong);
        }
        match text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_')) {
            Some(c) => Err(SpiffeIdError::TrustDomainCharacter(c)),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        if text.is_empty() {
            return Err(SpiffeIdError::Empty);
        }
        if text.len() > MAX_ID_BYTES {
            return Err(SpiffeIdError::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (name, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let trust_domain = name.parse()?;
        check_path(path)?;
        Ok(Self { trust_domain, path: path.to_owned() })
    }
}

fn check_path(path: &str) -> Result<(), SpiffeIdError> {
    if path.is_empty() {
        return Ok(());
    }
    let Some(segments) = path.strip_prefix('/') else {
        return Err(SpiffeIdError::EmptySegment);
    };
    if path.ends_with('/') {
        return Err(SpiffeIdError::TrailingSlash);
    }
    for segment in segments.split('/') {
        if let Some(c) = segment.chars().find(|c| !matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_')) {
            return Err(SpiffeIdError::PathCharacter(c));
        }
        match segment {
            "" => return Err(SpiffeIdError::EmptySegment),
            "." | ".." => return Err(SpiffeIdError::DotSegment),
            _ => {}
        }
    }
    Ok(())
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

crate::stored::text_form!(TrustDomain, SpiffeId);

const SCHEME: &str = "spiffe://";
const MAX_ID_BYTES: usize = 2048;
const MAX_TRUST_DOMAIN_BYTES: usize = 255;

#[cfg(test)]
mod tests;
