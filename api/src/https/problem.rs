//! Problem details (RFC 9457): how everything but the token endpoint says no.

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde_json::json;
use signet_model::refusal::{Reason, Refusal};

use crate::status;

/// The refusal as a problem document.
pub(crate) fn problem(refusal: &Refusal) -> Response<Body> {
    let status = status::mapping(refusal.reason).http;
    with_status(status, refusal.reason.code(), &refusal.detail)
}

pub(super) async fn no_such_page() -> Response<Body> {
    with_status(StatusCode::NOT_FOUND, Reason::NotFound.code(), "there is nothing at this address")
}

pub(super) async fn method_not_allowed() -> Response<Body> {
    let mut response =
        with_status(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this address answers GET and HEAD only");
    response.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn with_status(status: StatusCode, code: &str, detail: &str) -> Response<Body> {
    let document = json!({
        "type": format!("urn:signet:problem:{code}"),
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
        "code": code,
    });
    let mut response = Response::new(Body::from(document.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
