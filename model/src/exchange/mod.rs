//! Token exchange (RFC 8693 with draft-ietf-oauth-transaction-tokens-11): every decision of the token endpoint.
//!
//! The way of a request: [`Request::parse`], [`authenticate`], [`peek`] (what the subject token claims to be, so that
//! the right keys can be fetched), [`verify_subject`], [`decide`], [`TransactionClaims::new`], sign, [`response`].
//! Each step refuses with an [`OAuthError`], which is the whole answer.

mod access_token;
mod authenticate;
mod claims;
mod decide;
mod error;
mod metadata;
mod request;
mod scope;
mod subject;

pub use authenticate::authenticate;
pub use claims::{TRANSACTION_TOKEN_TYP, TokenIds, TransactionClaims, response};
pub use decide::{Grant, decide};
pub use error::{OAuthCode, OAuthError};
pub use metadata::{jwks_document, metadata_document};
pub use request::{Request, SubjectTokenType};
pub use scope::{Scope, ScopeError};
pub use subject::{Claimed, Subject, SubjectSource, UNKNOWN_KEY, peek, verify_subject};

use std::time::Duration;

use crate::spiffe_id::TrustDomain;

/// Who we are to those who exchange tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The trust domain: `audience` of requests and `aud` of transaction tokens.
    pub trust_domain: TrustDomain,
    /// The issuer identifier: `iss` of transaction tokens, and the only `aud` of client assertions.
    pub token_issuer: String,
    /// Client assertions that were made to live longer are refused.
    pub max_assertion_lifetime: Duration,
}

impl Endpoint {
    /// An endpoint that takes client assertions of up to five minutes.
    #[must_use]
    pub fn new(trust_domain: TrustDomain, token_issuer: impl Into<String>) -> Self {
        Self { trust_domain, token_issuer: token_issuer.into(), max_assertion_lifetime: Duration::from_secs(300) }
    }
}

#[cfg(test)]
mod tests;
