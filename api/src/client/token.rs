//! The HTTPS door from outside: token exchange and public documents.

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::ClientError;
use super::connector::{AgentIdentity, Connector, Trust};
use crate::https::form;
use crate::tls::{H2, HTTP_1_1};

/// A pool of connections to one HTTPS door. Clones share it; over HTTP/2 all calls share one connection.
#[derive(Clone)]
pub struct TokenClient {
    client: Client<Connector, Full<Bytes>>,
    base: Uri,
    token: Uri,
}

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
        let invalid = || ClientError::invalid(format!("{base:?} is not https://host:port"));
        let base: Uri = base.parse().map_err(|_| invalid())?;
        if base.scheme_str() != Some("https") || base.authority().is_none() || base.query().is_some() {
            return Err(invalid());
        }
        let token = at(&base, "/token")?;
        let connector = Connector::new(identity, trust, &[H2, HTTP_1_1])?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .build(connector);
        Ok(Self { client, base, token })
    }

    /// `POST /token` with these parameters.
    ///
    /// # Errors
    /// `unreachable`: there was no answer. A refusal is an answer.
    pub async fn exchange(&self, parameters: &[(&str, &str)]) -> Result<HttpAnswer, ClientError> {
        self.post_form(form::encode(parameters.iter().copied()).into()).await
    }

    /// `POST /token` with a ready form, for cheap repeated calls.
    ///
    /// # Errors
    /// `unreachable`: there was no answer. A refusal is an answer.
    pub async fn post_form(&self, form: Bytes) -> Result<HttpAnswer, ClientError> {
        let mut request = Request::new(Full::new(form));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.token.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        self.send(request).await
    }

    /// `GET path`.
    ///
    /// # Errors
    /// `unreachable`: there was no answer. `invalid_argument`: it is not a path.
    pub async fn get(&self, path: &str) -> Result<HttpAnswer, ClientError> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = at(&self.base, path)?;
        self.send(request).await
    }

    /// Sends any request; its URI must begin with the base.
    ///
    /// # Errors
    /// `unreachable`: there was no answer.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<HttpAnswer, ClientError> {
        let unreachable = |cause: &(dyn std::error::Error + 'static)| {
            ClientError::unreachable(&format!("no answer from {}", self.base), cause)
        };
        let answer = self.client.request(request).await.map_err(|e| unreachable(&e))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|e| unreachable(&*e))?.to_bytes();
        Ok(HttpAnswer { status: head.status.as_u16(), headers: head.headers, body })
    }
}

fn at(base: &Uri, path: &str) -> Result<Uri, ClientError> {
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(path.parse().map_err(|_| ClientError::invalid(format!("{path:?} is not a path")))?);
    Uri::from_parts(parts).map_err(|_| ClientError::invalid(format!("{path:?} is not a path")))
}

const STREAM_WINDOW: u32 = 1 << 20;
const MAX_ANSWER_BYTES: usize = 4 << 20;

impl fmt::Debug for TokenClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenClient").field("base", &self.base).finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAnswer").field("status", &self.status).finish_non_exhaustive()
    }
}
