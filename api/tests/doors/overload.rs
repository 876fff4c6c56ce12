//! More callers than a node serves: a clear no with a hint, bounded memory, and an admin socket that goes on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use signet_api::connections::Limits;
use signet_api::load::Total;
use signet_api::proto::bundle::GetBundleRequest;
use signet_api::proto::bundle::bundle_client::BundleClient;
use signet_api::proto::policy::ApplyRequest;
use signet_api::proto::policy::policy_client::PolicyClient;
use signet_api::status;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::{Service as _, ServiceExt as _};

use crate::fake::Gate;
use crate::node::{Node, soon};

fn limits(requests: usize, total: &Total) -> Limits {
    Limits { requests, total: total.clone(), ..Limits::default() }
}

/// Holds `count` calls of the agents' door in the service, and answers them when dropped.
async fn busy(node: &Node, count: usize) -> (Arc<Gate>, Vec<tokio::task::JoinHandle<Result<(), String>>>) {
    let gate = Arc::new(Gate::default());
    *node.fake.gate.lock().unwrap() = Some(gate.clone());
    let mut calls = Vec::new();
    for _ in 0..count {
        let agent = node.agent(None).await.unwrap();
        calls.push(tokio::spawn(async move { agent.bundle().await.map(|_| ()).map_err(|e| e.to_string()) }));
        soon(gate.entered.notified()).await;
    }
    (gate, calls)
}

#[tokio::test]
async fn a_full_door_refuses_with_a_hint_and_serves_again_afterwards() {
    let total = Total::new(100);
    let node = Node::with(limits(2, &total)).await;
    let (gate, calls) = busy(&node, 2).await;
    let agent = node.agent(None).await.unwrap();
    let heard = BundleClient::new(agent.channel()).get_bundle(GetBundleRequest::default()).await.unwrap_err();
    assert_eq!(heard.code(), Code::ResourceExhausted, "{heard:?}");
    assert_eq!(status::retry_delay(&heard), Some(Duration::from_secs(1)));
    assert!(heard.message().starts_with("this door has 2 requests under way"), "{heard:?}");
    // The health of a busy node is told, and its operator is served.
    let ask = HealthCheckRequest { service: String::new() };
    HealthClient::new(agent.channel()).check(ask).await.unwrap();
    node.admin().await.policy().await.unwrap();
    assert_eq!((total.requests(), total.refused()), (2, 1));

    *node.fake.gate.lock().unwrap() = None;
    for call in calls {
        gate.go.notify_one();
        soon(call).await.unwrap().unwrap();
    }
    soon(agent.bundle()).await.unwrap();
    assert_eq!(total.requests(), 0);
}

#[tokio::test]
async fn the_doors_of_a_node_share_one_limit() {
    let node = Node::with(limits(10, &Total::new(1))).await;
    let (gate, calls) = busy(&node, 1).await;
    let answer = node.token(None).exchange(&[]).await.unwrap();
    assert_eq!(answer.status, 429);
    assert_eq!(answer.headers["retry-after"], "1");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["error"], "temporarily_unavailable");
    let page = node.token(None).get("/keys").await.unwrap();
    assert_eq!((page.status, page.headers["retry-after"].as_bytes()), (429, &b"1"[..]));
    let body: serde_json::Value = serde_json::from_slice(&page.body).unwrap();
    assert_eq!(body["code"], "resource_exhausted");
    gate.go.notify_one();
    soon(calls.into_iter().next().unwrap()).await.unwrap().unwrap();
    assert_eq!(node.token(None).exchange(&[]).await.unwrap().status, 200);
}

/// Forty connections, each with a request whose body never comes to its end: what they can make the node hold is the
/// limit, the others hear why, and the operator is served all the while.
#[tokio::test]
async fn a_flood_of_slow_senders_holds_no_more_than_the_limit() {
    let total = Total::new(1000);
    let node = Node::with(Limits { request_bytes: 1 << 20, ..limits(1000, &total) }).await;
    let mut senders = JoinSet::new();
    for _ in 0..40 {
        let agent = node.agent(None).await.unwrap();
        senders.spawn(async move { send_slowly(agent.channel(), 64 << 10).await });
    }
    // Each sends 64 KiB: sixteen of them fit into 1 MiB.
    for _ in 0..24 {
        assert_eq!(soon(senders.join_next()).await.unwrap().unwrap(), Some(Code::ResourceExhausted));
    }
    assert!(total.requests() <= 16, "{}", total.requests());
    soon(node.admin().await.policy()).await.unwrap();
    let big = ApplyRequest { document: "x".repeat(100 << 10), expected_version: None };
    let heard = soon(PolicyClient::new(node.admin().await.channel()).apply(big)).await;
    assert!(heard.is_ok(), "the admin socket has room of its own: {heard:?}");

    senders.abort_all();
    soon(async {
        while total.requests() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(soon(node.agent(None)).await.unwrap().bundle().await.unwrap().sequence_number, 7);
}

#[tokio::test]
async fn a_request_that_never_ends_is_ended() {
    let node = Node::with(Limits { request: Duration::from_millis(100), ..Limits::default() }).await;
    let agent = node.agent(None).await.unwrap();
    assert_eq!(soon(send_slowly(agent.channel(), 1000)).await, Some(Code::DeadlineExceeded));
}

/// Announces a message of 3 MiB, sends a part of it, and waits for the answer.
async fn send_slowly(mut channel: Channel, bytes: usize) -> Option<Code> {
    let mut start = vec![0];
    start.extend((3u32 << 20).to_be_bytes());
    start.resize(bytes, 0);
    let frame = Ok::<_, Infallible>(Frame::data(Bytes::from(start)));
    let body = StreamBody::new(stream::once(async { frame }).chain(stream::pending()));
    let path = "http://node/spire.api.server.bundle.v1.Bundle/GetBundle";
    let request = http::Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    let answer = channel.ready().await.unwrap().call(request.body(Body::new(body)).unwrap()).await.unwrap();
    Status::from_header_map(answer.headers()).map(|status| status.code())
}

#[tokio::test]
async fn a_deadline_is_kept_where_the_service_does_not() {
    let node = Node::start().await;
    let gate = Arc::new(Gate::default());
    *node.fake.gate.lock().unwrap() = Some(gate.clone());
    // Not by our client, which would itself give up at the same moment.
    let stream = TokioIo::new(UnixStream::connect(&node.socket).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let path = "http://node/spire.api.server.bundle.v1.Bundle/GetBundle";
    let request = http::Request::post(path).header("content-type", "application/grpc").header("grpc-timeout", "200m");
    let answer =
        soon(sender.send_request(request.body(Full::new(Bytes::from_static(&[0; 5]))).unwrap())).await.unwrap();
    let heard = Status::from_header_map(answer.headers()).unwrap();
    assert_eq!(heard.code(), Code::DeadlineExceeded, "{heard:?}");
    assert_eq!(status::code_of(&heard).as_deref(), Some("deadline_exceeded"));
    connection.abort();
}
