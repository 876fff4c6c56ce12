//! Public JSON documents, cacheable.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{HeaderMap, Response, StatusCode};
use signet_model::refusal::Refusal;

use super::{Shared, problem};
use crate::service::Document;

/// Metadata of the token endpoint (RFC 8414 §3).
pub(super) async fn token_metadata(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response<Body> {
    answer(shared.service.token_metadata().await, "application/json", &headers)
}

/// The keys of transaction tokens (RFC 7517 §8.5.2).
pub(super) async fn token_jwks(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response<Body> {
    answer(shared.service.token_jwks().await, "application/jwk-set+json", &headers)
}

/// The SPIFFE bundle (SPIFFE Federation §5).
pub(super) async fn bundle(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response<Body> {
    answer(shared.service.bundle_document().await, "application/json", &headers)
}

fn answer(document: Result<Document, Refusal>, content_type: &'static str, request: &HeaderMap) -> Response<Body> {
    let document = match document {
        Ok(document) => document,
        Err(refusal) => return problem(&refusal),
    };
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &document.body);
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest));
    let unchanged = is_known(request, &tag);
    let mut response = Response::new(if unchanged { Body::empty() } else { Body::from(document.body) });
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    insert(headers, ETAG, &tag);
    insert(headers, CACHE_CONTROL, &format!("public, max-age={}", document.max_age_secs));
    response
}

/// Whether the caller has this version (RFC 9110 §13.1.2; weak comparison).
fn is_known(request: &HeaderMap, tag: &str) -> bool {
    let tags = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = tags.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

fn insert(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_tag_among_others() {
        let request = |value: &str| HeaderMap::from_iter([(IF_NONE_MATCH, value.parse().unwrap())]);
        for value in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(is_known(&request(value), "\"a\""), "{value}");
        }
        for value in ["\"b\"", "a", ""] {
            assert!(!is_known(&request(value), "\"a\""), "{value}");
        }
    }
}
