//! `POST /token`: checks that the request is a form (RFC 6749 §3.2, RFC 8693 §2.1), and carries the answer.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, PRAGMA, RETRY_AFTER,
};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::json;
use signet_model::refusal::Refusal;

use super::{Presented, Shared, form};
use crate::service::{Call, TokenAnswer};

/// The token endpoint.
pub(super) async fn token(
    State(shared): State<Arc<Shared>>,
    Extension(presented): Extension<Arc<Presented>>,
    request: Request,
) -> Response<Body> {
    let parameters = match read(&shared, request).await {
        Ok(parameters) => parameters,
        Err(refused) => return refused.into_response(),
    };
    let caller = match presented.caller(&shared.clock) {
        Ok(caller) => caller,
        Err(refusal) => {
            return Refused { status: StatusCode::UNAUTHORIZED, error: "invalid_client", description: refusal.detail }
                .into_response();
        }
    };
    answer(shared.service.exchange(&Call::new(caller), parameters).await)
}

async fn read(shared: &Shared, request: Request) -> Result<Vec<(String, String)>, Refused> {
    check_head(&request)?;
    let body = tokio::time::timeout(shared.body_limit, collect(request.into_body()))
        .await
        .map_err(|_| Refused::request(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))??;
    form::parse(&body).map_err(|error| Refused::request(StatusCode::BAD_REQUEST, error.to_string()))
}

fn check_head(request: &Request) -> Result<(), Refused> {
    let bad = |description: &str| Err(Refused::request(StatusCode::BAD_REQUEST, description));
    if request.method() != Method::POST {
        return Err(Refused::request(StatusCode::METHOD_NOT_ALLOWED, "the token endpoint takes POST only"));
    }
    if request.uri().query().is_some() {
        return bad("parameters belong in the body: nothing may follow '?' in the address");
    }
    let headers = request.headers();
    if !is_form(headers) {
        return bad("Content-Type must be application/x-www-form-urlencoded, in UTF-8");
    }
    if headers.get_all(CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return bad("the body must be sent without Content-Encoding");
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > MAX_BODY_BYTES) { Err(too_large()) } else { Ok(()) }
}

fn is_form(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next().and_then(|value| value.to_str().ok()), values.next()) else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    let is_form = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-www-form-urlencoded"));
    is_form && parts.all(|part| part.is_empty() || is_utf8(part))
}

fn is_utf8(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        name.trim().eq_ignore_ascii_case("charset") && value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    })
}

async fn collect(body: Body) -> Result<Bytes, Refused> {
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(Refused::request(StatusCode::BAD_REQUEST, "the body ended early")),
    }
}

fn too_large() -> Refused {
    Refused::request(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 64 KiB")
}

/// Too many requests are under way (RFC 6585 §4).
pub(super) fn overloaded(refusal: &Refusal) -> Response<Body> {
    let (status, description) = (StatusCode::TOO_MANY_REQUESTS, refusal.detail.clone());
    let mut response = Refused { status, error: "temporarily_unavailable", description }.into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// A refusal at the door (RFC 6749 §5.2).
struct Refused {
    status: StatusCode,
    error: &'static str,
    description: String,
}

impl Refused {
    fn request(status: StatusCode, description: impl Into<String>) -> Self {
        Self { status, error: "invalid_request", description: description.into() }
    }

    fn into_response(self) -> Response<Body> {
        // RFC 6749 §5.2 leaves out '"' and '\'.
        let description = self.description.replace(['"', '\\'], "'");
        let body = json!({ "error": self.error, "error_description": description }).to_string();
        let mut response = respond(self.status, body.into());
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        if self.status == StatusCode::REQUEST_TIMEOUT || self.status == StatusCode::PAYLOAD_TOO_LARGE {
            response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

fn answer(answer: TokenAnswer) -> Response<Body> {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = respond(status, answer.body.into());
    for (name, value) in answer.headers {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => {
                response.headers_mut().append(name, value);
            }
            _ => tracing::error!(header = name, "the token endpoint's answer has a header that cannot be sent"),
        }
    }
    response
}

fn respond(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

const MAX_BODY_BYTES: usize = 64 << 10;
