//! Whose certificates count, and what a connection is worth.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::{ClientConfig, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use signet_api::client::{AgentClient, AgentIdentity, Trust};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::node::{Node, soon};
use crate::pki::{Pki, domain};

/// Connecting or the first call fails, and nothing reaches the service.
async fn is_shut_out(node: &Node, identity: AgentIdentity) {
    let before = node.fake.seen_count();
    let outcome = match soon(node.agent(Some(identity))).await {
        Ok(agent) => soon(agent.bundle()).await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert_eq!(outcome.unwrap_err().code, "unreachable");
    assert_eq!(node.fake.seen_count(), before);
}

#[tokio::test]
async fn refuses_client_certificates_that_are_no_svids_of_the_trust_domain() {
    let node = Node::start().await;
    let foreign = Pki::new();
    is_shut_out(&node, foreign.agent()).await;
    is_shut_out(&node, node.pki.identity(&["spiffe://example.org/a", "spiffe://example.org/b"])).await;
    is_shut_out(&node, node.pki.identity(&["spiffe://other.org/a"])).await;
    is_shut_out(&node, node.pki.identity(&["https://example.org/a"])).await;
    is_shut_out(&node, node.pki.identity(&["spiffe://example.org"])).await;
    is_shut_out(&node, node.pki.identity(&[])).await;
    soon(node.agent(Some(node.pki.agent()))).await.unwrap().bundle().await.unwrap();
}

#[tokio::test]
async fn the_client_refuses_a_server_that_is_not_the_trust_domains() {
    let node = Node::start().await;
    let elsewhere = Trust { anchors: vec![Pki::new().anchor], ..node.trust() };
    let error = soon(AgentClient::connect(&node.grpc.to_string(), None, &elsewhere)).await.unwrap_err();
    assert_eq!(error.code, "unreachable");
    assert!(error.message.contains("leads to no trust anchor"), "{}", error.message);

    let (leaf, key) = node.pki.leaf(&["spiffe://example.org/impostor"]);
    node.tls
        .install(signet_api::tls::TlsMaterial {
            chain: vec![leaf],
            key,
            anchors: vec![node.pki.anchor.clone()],
            trust_domain: domain(),
        })
        .unwrap();
    let error = soon(node.agent(None)).await.unwrap_err();
    let expected = "the peer is spiffe://example.org/impostor, not spiffe://example.org/spire/server";
    assert!(error.message.contains(expected), "{}", error.message);
}

#[tokio::test]
async fn without_material_connections_end_and_with_it_they_work_again() {
    let node = Node::start().await;
    let before = node.agent(None).await.unwrap();
    node.tls.clear();
    assert_eq!(soon(node.agent(None)).await.unwrap_err().code, "unreachable");
    before.bundle().await.expect("a connection that lives goes on");
    let (_, wrong_key) = node.pki.leaf(&["spiffe://example.org/spire/server"]);
    let mut mismatched = node.pki.server();
    mismatched.key = wrong_key;
    node.tls.install(mismatched).expect_err("a key that is another certificate's");
    let mut no_anchor = node.pki.server();
    no_anchor.anchors = vec![no_anchor.chain[0].clone()];
    node.tls.install(no_anchor).expect_err("a leaf is no anchor");
    node.tls.install(node.pki.server()).unwrap();
    soon(node.agent(None)).await.unwrap().bundle().await.unwrap();
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections() {
    let node = Node::start().await;
    let shown = async || {
        let stream = dial(&node, Arc::new(lenient(&[b"h2"]))).await;
        stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let first = shown().await;
    let renewed = node.pki.server();
    let expected = renewed.chain[0].clone();
    node.tls.install(renewed).unwrap();
    assert_ne!(first, expected);
    assert_eq!(shown().await, expected);
}

#[tokio::test]
async fn a_connection_is_worth_no_more_than_its_certificate() {
    let node = Node::start().await;
    let agent = node.agent(Some(node.pki.agent())).await.unwrap();
    let web = node.token(Some(node.pki.agent()));
    let entry = "e".parse().unwrap();
    agent.new_jwt_svid(&entry, &["a".into()]).await.unwrap();
    assert_eq!(web.exchange(&[]).await.unwrap().status, 200);
    // 2031: the leaf is over, the CA is not.
    node.now.store(1_924_992_000, Ordering::SeqCst);
    let error = agent.new_jwt_svid(&entry, &["a".into()]).await.unwrap_err();
    assert_eq!(error.code, "unauthenticated");
    assert!(error.message.contains("expired"));
    let answer = web.exchange(&[]).await.unwrap();
    assert_eq!(answer.status, 401);
    assert!(std::str::from_utf8(&answer.body).unwrap().contains("invalid_client"));
}

#[tokio::test]
async fn sessions_are_never_resumed() {
    let node = Node::start().await;
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        let mut config = lenient_with(versions, &[b"http/1.1"]);
        config.resumption = Resumption::in_memory_sessions(8).tls12_resumption(Tls12Resumption::SessionIdOrTickets);
        let config = Arc::new(config);
        for _ in 0..3 {
            let stream = TcpStream::connect(node.https).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = TlsConnector::from(config.clone()).connect(name, stream).await.unwrap();
            // Tickets would come with the first answer.
            stream.write_all(b"GET /keys HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            soon(stream.read_to_end(&mut answer)).await.unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 200"));
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
        }
    }
}

#[tokio::test]
async fn the_grpc_port_speaks_h2_only() {
    let node = Node::start().await;
    let stream = dial(&node, Arc::new(lenient(&[b"http/1.1", b"h2"]))).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let stream = TcpStream::connect(node.grpc).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let refused = TlsConnector::from(Arc::new(lenient(&[b"http/1.1"]))).connect(name, stream).await;
    assert!(refused.is_err());
}

async fn dial(node: &Node, config: Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(node.grpc).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    soon(TlsConnector::from(config).connect(name, stream)).await.unwrap()
}

/// A client that takes any server: these tests look at the server's side.
pub(crate) fn lenient(protocols: &[&[u8]]) -> ClientConfig {
    lenient_with(&[&rustls::version::TLS13], protocols)
}

fn lenient_with(versions: &[&'static rustls::SupportedProtocolVersion], protocols: &[&[u8]]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config
}

#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn a_caller_whose_anchor_is_taken_away_is_disconnected_and_others_are_not() {
    let node = Node::start().await;
    let agent = soon(node.agent(Some(node.pki.agent()))).await.unwrap();
    let anonymous = soon(node.agent(None)).await.unwrap();
    let other = Pki::new();
    let with = |anchors| signet_api::tls::TlsMaterial { anchors, ..node.pki.server() };
    node.tls.install(with(vec![node.pki.anchor.clone(), other.anchor.clone()])).unwrap();
    agent.bundle().await.expect("an anchor more changes nothing");
    node.tls.install(with(vec![other.anchor.clone()])).unwrap();
    let refused = soon(async {
        loop {
            match agent.bundle().await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    });
    assert_eq!(refused.await.code, "unreachable");
    anonymous.bundle().await.expect("who showed nothing loses nothing");
}
