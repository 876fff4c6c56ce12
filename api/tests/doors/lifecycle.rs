//! The admin socket's file, deadlines, limits, health, and the end of it all.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use signet_api::client::AdminClient;
use signet_api::connections::Limits;
use signet_api::grpc::{self, AdminSocket, AdminSocketError};
use signet_api::proto::bundle::GetBundleRequest;
use signet_api::proto::bundle::bundle_client::BundleClient;
use signet_api::proto::policy::ApplyRequest;
use signet_api::proto::policy::policy_client::PolicyClient;
use signet_model::refusal::{Reason, Refusal};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::fake::Gate;
use crate::node::{Node, soon};

#[tokio::test]
async fn the_admin_socket_is_for_the_users_listed() {
    let node = Node::start().await;
    let mode = std::fs::metadata(&node.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    node.admin().await.bundle().await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let socket = AdminSocket::bind(&path, vec![node.own_uid() + 1]).unwrap();
    let stop = CancellationToken::new();
    let (service, health) = (node.fake.clone(), node.health.clone());
    let served =
        tokio::spawn(grpc::serve_admin(socket, Arc::new(|| 1), service, health, Limits::default(), stop.clone()));
    let seen = node.fake.seen_count();
    let outcome = match soon(AdminClient::connect(&path)).await {
        Ok(client) => soon(client.bundle()).await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert_eq!(outcome.unwrap_err().code, "unreachable");
    assert_eq!(node.fake.seen_count(), seen);
    stop.cancel();
    soon(served).await.unwrap();
    assert!(!path.exists(), "the socket goes with its server");
}

#[tokio::test]
async fn only_a_stale_socket_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a socket that a killed server left");
    let bound = AdminSocket::bind(&path, vec![]).unwrap();
    assert!(matches!(AdminSocket::bind(&path, vec![]), Err(AdminSocketError::InUse { .. })));

    std::fs::remove_file(&path).unwrap();
    let successor = AdminSocket::bind(&path, vec![]).unwrap();
    drop(bound);
    assert!(path.exists(), "the successor's socket is not the predecessor's to remove");
    drop(successor);
    assert!(!path.exists());

    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(AdminSocket::bind(&path, vec![]), Err(AdminSocketError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    let nowhere = folder.path().join("no").join("folder");
    assert!(matches!(AdminSocket::bind(&nowhere, vec![]), Err(AdminSocketError::Io { .. })));
}

#[tokio::test]
async fn the_callers_deadline_reaches_the_service() {
    let node = Node::start().await;
    let mut client = BundleClient::new(node.agent(None).await.unwrap().channel());
    let mut request = Request::new(GetBundleRequest::default());
    request.set_timeout(Duration::from_secs(7));
    client.get_bundle(request).await.unwrap();
    client.get_bundle(GetBundleRequest::default()).await.unwrap();
    let seen = node.fake.seen.lock().unwrap();
    let timeouts: Vec<_> = seen.iter().map(|(_, call)| call.timeout).collect();
    // Half a second is kept for the way back.
    assert_eq!(timeouts, [Some(Duration::from_millis(6500)), None]);
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_refused() {
    let node = Node::with(Limits { message: 1000, ..Limits::default() }).await;
    let mut client = PolicyClient::new(node.admin().await.channel());
    let request = |size| ApplyRequest { document: "x".repeat(size), expected_version: None };
    client.apply(request(900)).await.unwrap();
    assert_eq!(client.apply(request(1100)).await.unwrap_err().code(), Code::OutOfRange);
    assert_eq!(node.fake.seen_count(), 1);
}

#[tokio::test]
async fn health_follows_readiness() {
    let node = Node::start().await;
    let mut client = HealthClient::new(node.agent(None).await.unwrap().channel());
    let ask = |name: &str| HealthCheckRequest { service: name.into() };
    for name in ["", "spire.api.server.svid.v1.SVID"] {
        assert_eq!(client.check(ask(name)).await.unwrap().into_inner().status, 1);
    }
    assert_eq!(client.check(ask("nobody")).await.unwrap_err().code(), Code::NotFound);
    let mut watch = client.watch(ask("")).await.unwrap().into_inner();
    assert_eq!(soon(watch.message()).await.unwrap().unwrap().status, 1);
    *node.health.problem.lock().unwrap() = Some(Refusal::new(Reason::NoQuorum, "no leader"));
    assert_eq!(soon(watch.message()).await.unwrap().unwrap().status, 2);
    assert_eq!(client.check(ask("")).await.unwrap().into_inner().status, 2);
}

#[tokio::test]
async fn a_stop_lets_requests_under_way_end_and_takes_no_new_ones() {
    let mut node = Node::start().await;
    let gate = Arc::new(Gate::default());
    *node.fake.gate.lock().unwrap() = Some(gate.clone());
    let agent = node.agent(None).await.unwrap();
    let call = tokio::spawn(async move { agent.bundle().await });
    soon(gate.entered.notified()).await;
    node.shutdown.cancel();
    while node.agent(None).await.is_ok() {
        tokio::task::yield_now().await;
    }
    gate.go.notify_one();
    soon(call).await.unwrap().expect("the request under way is answered");
    while let Some(ended) = soon(node.tasks.join_next()).await {
        ended.unwrap();
    }
    assert!(!node.socket.exists());
}

#[tokio::test]
async fn a_stop_cuts_what_does_not_end_in_time() {
    let mut node = Node::with(Limits { drain: Duration::from_millis(100), ..Limits::default() }).await;
    let gate = Arc::new(Gate::default());
    *node.fake.gate.lock().unwrap() = Some(gate.clone());
    let agent = node.agent(None).await.unwrap();
    let call = tokio::spawn(async move { agent.bundle().await });
    soon(gate.entered.notified()).await;
    node.shutdown.cancel();
    assert_eq!(soon(call).await.unwrap().unwrap_err().code, "unreachable");
    while let Some(ended) = soon(node.tasks.join_next()).await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn a_caller_who_says_nothing_is_not_waited_for() {
    let node = Node::with(Limits { handshake: Duration::from_millis(50), ..Limits::default() }).await;
    let mut silent = TcpStream::connect(node.grpc).await.unwrap();
    assert_eq!(soon(silent.read(&mut [0; 1])).await.unwrap(), 0);
}

#[tokio::test]
async fn an_old_connection_is_replaced_without_a_failed_call() {
    let node = Node::with(Limits { max_age: Duration::from_millis(20), ..Limits::default() }).await;
    let agent = node.agent(None).await.unwrap();
    let end = Instant::now() + Duration::from_millis(300);
    while Instant::now() < end {
        agent.bundle().await.unwrap();
    }
}

#[tokio::test]
async fn no_more_connections_than_the_limit_are_served_at_a_time() {
    let node = Node::with(Limits { connections: 1, ..Limits::default() }).await;
    let first = node.agent(None).await.unwrap();
    first.bundle().await.unwrap();
    let second = node.agent(None);
    tokio::pin!(second);
    tokio::select! {
        _ = &mut second => panic!("the second connection was served beside the first"),
        answer = first.bundle() => { answer.unwrap(); }
    }
    drop(first);
    soon(second).await.unwrap().bundle().await.unwrap();
}
