//! The floor's server: the same stack as the cluster's doors, whose handlers do the bare cryptography.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes as Form;
use axum::extract::State;
use axum::routing::post;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::crypto::Bare;
use super::handlers::Svid;
use super::pki::ServerSide;
use signet_api::proto::svid::svid_server::SvidServer;

/// What the floor is told, in one line on its standard input.
#[derive(Serialize, Deserialize)]
pub(super) struct Setup {
    pub(super) tls: ServerSide,
    /// Exchanges verify a token too, instead of signing only.
    pub(super) verify_tokens: bool,
}

/// What it answers, in one line on its standard output.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) grpc: SocketAddr,
    pub(crate) https: SocketAddr,
}

/// A listener and what it serves.
struct Door {
    listener: TcpListener,
    tls: TlsAcceptor,
    http: auto::Builder<TokioExecutor>,
    router: Router,
}

/// Two listeners, bound.
pub(super) struct Server {
    grpc: Door,
    https: Door,
    addresses: Addresses,
}

impl Server {
    /// Binds free ports on loopback.
    pub(super) async fn bind(setup: &Setup) -> anyhow::Result<Self> {
        let bare = Arc::new(Bare::new()?);
        let grpc = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port on 127.0.0.1")?;
        let https = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port on 127.0.0.1")?;
        let addresses = Addresses { grpc: grpc.local_addr()?, https: https.local_addr()? };
        let svid = Routes::new(SvidServer::new(Svid::new(Arc::clone(&bare)))).into_axum_router();
        let token = Router::new()
            .route("/token", post(exchange))
            .with_state(Exchange { bare, verify_tokens: setup.verify_tokens });
        Ok(Self {
            grpc: Door {
                listener: grpc,
                tls: acceptor(&setup.tls, b"h2")?,
                http: auto::Builder::new(TokioExecutor::new()).http2_only(),
                router: svid,
            },
            https: Door {
                listener: https,
                tls: acceptor(&setup.tls, b"http/1.1")?,
                http: auto::Builder::new(TokioExecutor::new()).http1_only(),
                router: token,
            },
            addresses,
        })
    }

    /// Where it listens.
    pub(super) const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        tokio::join!(self.grpc.serve(stop.clone()), self.https.serve(stop));
    }
}

impl Door {
    /// Accepts connections and serves each in a task, until `stop`; then they are cut.
    async fn serve(self, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => {
                    let Ok((tcp, _)) = accepted else { continue };
                    let (tls, http, router) = (self.tls.clone(), self.http.clone(), self.router.clone());
                    connections.spawn(async move {
                        let _ = tcp.set_nodelay(true);
                        let Ok(stream) = tls.accept(tcp).await else { return };
                        // A connection's end, whatever its cause, is the client's to report.
                        let _ = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
                    });
                }
            }
        }
    }
}

fn acceptor(tls: &ServerSide, protocol: &[u8]) -> anyhow::Result<TlsAcceptor> {
    let certificates = |pem: &str| CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let mut roots = RootCertStore::empty();
    for root in certificates(&tls.roots).context("the floor's roots are not PEM")? {
        roots.add(root)?;
    }
    let key = PrivateKeyDer::from_pem_slice(tls.key.as_bytes()).context("the floor's key is not PEM")?;
    let chain = certificates(&tls.chain).context("the floor's chain is not PEM")?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[derive(Clone)]
struct Exchange {
    bare: Arc<Bare>,
    verify_tokens: bool,
}

async fn exchange(
    State(exchange): State<Exchange>,
    form: Form,
) -> Result<([(http::HeaderName, &'static str); 1], String), StatusCode> {
    std::hint::black_box(form);
    if exchange.verify_tokens {
        exchange.bare.user_token().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    }
    exchange.bare.token().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(CONTENT_TYPE, "application/json")], super::handlers::token_answer()))
}
