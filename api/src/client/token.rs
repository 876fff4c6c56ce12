//! The HTTPS door from outside: token exchange and public documents.

use std::fmt;

use bytes::Bytes;
use http::HeaderMap;

use super::{AgentIdentity, ClientError, Trust};

/// A pool of connections to one HTTPS door. Clones share it.
#[derive(Debug, Clone)]
pub struct TokenClient {}

/// What the server answered, whatever the status. The body may hold a token, so this does not print it.
#[derive(Clone)]
pub struct HttpAnswer {
    /// HTTP status.
    pub status: u16,
    /// Header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl TokenClient {
    /// A client for `base` (`https://host:port`). With an identity, callers authenticate by it (mTLS).
    ///
    /// # Errors
    /// `invalid_argument`: the URL, identity or trust cannot be used.
    pub fn new(base: &str, identity: Option<AgentIdentity>, trust: &Trust) -> Result<Self, ClientError> {
        let _ = (identity, trust);
        todo!("{base}")
    }

    /// `POST /token` with these parameters.
    ///
    /// # Errors
    /// `unreachable`: there was no answer. A refusal is an answer.
    pub async fn exchange(&self, parameters: &[(&str, &str)]) -> Result<HttpAnswer, ClientError> {
        todo!("{}", parameters.len())
    }

    /// `POST /token` with a ready form, for cheap repeated calls.
    ///
    /// # Errors
    /// `unreachable`: there was no answer. A refusal is an answer.
    pub async fn post_form(&self, form: Bytes) -> Result<HttpAnswer, ClientError> {
        todo!("{}", form.len())
    }

    /// `GET path`.
    ///
    /// # Errors
    /// `unreachable`: there was no answer.
    pub async fn get(&self, path: &str) -> Result<HttpAnswer, ClientError> {
        todo!("{path}")
    }
}

impl fmt::Debug for HttpAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAnswer").field("status", &self.status).finish_non_exhaustive()
    }
}
