//! The token endpoint's rules for requests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use signet_api::client::HttpAnswer;
use signet_api::connections::Limits;
use signet_model::refusal::{Reason, Refusal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::node::{Node, soon};
use crate::tls::lenient;

const FORM: &str = "application/x-www-form-urlencoded";

async fn send(node: &Node, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> HttpAnswer {
    let mut request = Request::builder().method(method).uri(format!("https://{}{path}", node.https));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    node.token(None).send(request.body(Full::new(body.into())).unwrap()).await.unwrap()
}

/// Method, path, headers, body, and the status they deserve.
type Case = (Method, &'static str, &'static [(&'static str, &'static str)], &'static str, u16);

fn error(answer: &HttpAnswer) -> Value {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let description = body["error_description"].as_str().unwrap();
    let allowed = |c: char| matches!(c, ' '..='!' | '#'..='[' | ']'..='~');
    assert!(!description.is_empty() && description.chars().all(allowed), "{description}");
    body["error"].clone()
}

#[tokio::test]
async fn a_form_arrives_in_order_and_with_duplicates() {
    let node = Node::start().await;
    let parameters = [("scope", "a b"), ("audience", "x"), ("scope", "c+d"), ("resource", "ü&=%")];
    let answer = node.token(None).exchange(&parameters).await.unwrap();
    let echoed: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(echoed, json!([["scope", "a b"], ["audience", "x"], ["scope", "c+d"], ["resource", "ü&=%"]]));
    assert_eq!((answer.status, &answer.headers["cache-control"]), (200, &"no-store".parse().unwrap()));
    assert_eq!(answer.headers["pragma"], "no-cache");
    let utf8 = [("content-type", "application/x-www-form-urlencoded; charset=UTF-8")];
    assert_eq!(send(&node, Method::POST, "/token", &utf8, "a=b").await.status, 200);
}

#[tokio::test]
async fn refuses_what_is_no_token_request() {
    let node = Node::start().await;
    let form = &[("content-type", FORM)];
    let cases: [Case; 10] = [
        (Method::GET, "/token", &[], "", 405),
        (Method::PUT, "/token", form, "a=b", 405),
        (Method::POST, "/token?a=b", form, "a=b", 400),
        (Method::POST, "/token?", form, "a=b", 400),
        (Method::POST, "/token", &[], "a=b", 400),
        (Method::POST, "/token", &[("content-type", "application/json")], "{}", 400),
        (Method::POST, "/token", &[("content-type", "application/x-www-form-urlencoded; charset=latin1")], "a=b", 400),
        (Method::POST, "/token", &[("content-type", FORM), ("content-encoding", "gzip")], "a=b", 400),
        (Method::POST, "/token", form, "a=%zz", 400),
        (Method::POST, "/token", form, "a=%ff", 400),
    ];
    for (method, path, headers, body, status) in cases {
        let answer = send(&node, method.clone(), path, headers, body).await;
        assert_eq!(answer.status, status, "{method} {path} {headers:?} {body}");
        assert_eq!(error(&answer), "invalid_request");
        assert_eq!(answer.headers.get("allow").is_some(), status == 405);
    }
    assert_eq!(node.fake.seen_count(), 0);
}

#[tokio::test]
async fn refuses_a_body_larger_than_64_kib() {
    let node = Node::start().await;
    let form = [("content-type", FORM)];
    let fits = format!("a={}", "x".repeat((64 << 10) - 2));
    assert_eq!(send(&node, Method::POST, "/token", &form, fits.clone()).await.status, 200);
    let answer = send(&node, Method::POST, "/token", &form, fits + "x").await;
    assert_eq!((answer.status, error(&answer)), (413, json!("invalid_request")));
    assert_eq!(node.fake.seen_count(), 1);
}

#[tokio::test]
async fn a_body_that_grows_beyond_the_limit_unannounced_is_refused_too() {
    let node = Node::start().await;
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let body = chunk.repeat(17) + "0\r\n\r\n";
    let answer = raw(&node, &format!("Transfer-Encoding: chunked\r\n\r\n{body}")).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let node = Node::with(Limits { request: Duration::from_millis(200), ..Limits::default() }).await;
    let answer = raw(&node, "Content-Length: 10\r\n\r\na=b").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(node.fake.seen_count(), 0);
}

#[tokio::test]
async fn the_services_status_and_headers_are_passed_on() {
    let node = Node::start().await;
    *node.fake.refuse.lock().unwrap() = Some(Refusal::new(Reason::NoQuorum, "no quorum"));
    let answer = node.token(None).exchange(&[("a", "b")]).await.unwrap();
    assert_eq!((answer.status, &answer.headers["retry-after"]), (503, &"1".parse().unwrap()));
}

/// What the server answers to `POST /token` over HTTP/1.1 with this end of the request.
async fn raw(node: &Node, end: &str) -> String {
    let stream = TcpStream::connect(node.https).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(lenient(&[b"http/1.1"]))).connect(name, stream).await.unwrap();
    let head = format!("POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n{end}");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = soon(stream.read(&mut buffer)).await.unwrap();
        assert!(read > 0, "the connection ended without an answer");
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(answer).unwrap()
}
