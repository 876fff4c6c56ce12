//! Public documents, and the pages for orchestrators.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::Value;
use signet_api::connections::Limits;
use signet_model::refusal::{Reason, Refusal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::node::{Node, soon};

#[tokio::test]
async fn documents_can_be_cached() {
    let node = Node::start().await;
    let web = node.token(None);
    for (path, content_type) in [
        ("/keys", "application/jwk-set+json"),
        ("/bundle", "application/json"),
        ("/.well-known/oauth-authorization-server", "application/json"),
    ] {
        let first = web.get(path).await.unwrap();
        assert_eq!((first.status, &first.headers["content-type"]), (200, &content_type.parse().unwrap()));
        assert_eq!(first.headers["cache-control"], "public, max-age=300");
        serde_json::from_slice::<Value>(&first.body).unwrap();

        let conditional = |tag: &str| {
            let uri = format!("https://{}{path}", node.https);
            Request::builder().uri(uri).header("if-none-match", tag).body(Full::<Bytes>::default()).unwrap()
        };
        let tag = first.headers["etag"].to_str().unwrap();
        let again = web.send(conditional(tag)).await.unwrap();
        assert_eq!((again.status, again.body.len(), &again.headers["etag"]), (304, 0, &tag.parse().unwrap()));
        assert_eq!(web.send(conditional("\"other\"")).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn other_pages_and_methods_are_problems() {
    let node = Node::start().await;
    let web = node.token(None);
    let answer = web.get("/nothing").await.unwrap();
    assert_eq!((answer.status, &answer.headers["content-type"]), (404, &"application/problem+json".parse().unwrap()));
    let uri = format!("https://{}/keys", node.https);
    let post = Request::builder().method(Method::POST).uri(&uri).body(Full::default()).unwrap();
    let answer = web.send(post).await.unwrap();
    assert_eq!((answer.status, &answer.headers["allow"]), (405, &"GET, HEAD".parse().unwrap()));
    let head = Request::builder().method(Method::HEAD).uri(&uri).body(Full::default()).unwrap();
    let answer = web.send(head).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 0));
}

async fn page(node: &Node, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(node.admin_http).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test]
async fn readiness_says_why_not_and_liveness_does_not_care() {
    let node = Node::start().await;
    for path in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(page(&node, path).await, (200, r#"{"ok":true}"#.to_owned()), "{path}");
    }
    *node.health.problem.lock().unwrap() = Some(Refusal::new(Reason::NoQuorum, "no leader for 3 s"));
    let why = r#"{"detail":"no leader for 3 s","ok":false,"reason":"no_quorum"}"#.to_owned();
    assert_eq!(page(&node, "/readyz").await, (503, why.clone()));
    assert_eq!(page(&node, "/startupz").await, (503, why));
    assert_eq!(page(&node, "/livez").await.0, 200);
    assert_eq!(page(&node, "/metrics").await, (200, "signet_up 1\n# EOF\n".to_owned()));
    assert_eq!(page(&node, "/other").await.0, 404);
}

#[tokio::test]
async fn the_pages_for_orchestrators_stay_on_loopback() {
    let node = Node::start().await;
    let open = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let stop = CancellationToken::new();
    let served = signet_api::admin_http::serve(open, node.health.clone(), Limits::default(), stop);
    assert!(soon(served).await.unwrap_err().to_string().contains("not a loopback address"));
}
