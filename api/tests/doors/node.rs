//! All doors of one node, on loopback and in a temporary folder.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::uri::PathAndQuery;
use signet_api::Clock;
use signet_api::client::{AdminClient, AgentClient, AgentIdentity, ClientError, TokenClient, Trust};
use signet_api::connections::Limits;
use signet_api::grpc::AdminSocket;
use signet_api::load::Total;
use signet_api::tls::Tls;
use signet_api::{admin_http, grpc, https};
use signet_model::time::UnixTime;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::fake::{Fake, FakeHealth};
use crate::pki::{Pki, domain};

pub(crate) struct Node {
    pub(crate) pki: Pki,
    pub(crate) fake: Arc<Fake>,
    pub(crate) health: Arc<FakeHealth>,
    pub(crate) tls: Arc<Tls>,
    pub(crate) now: Arc<AtomicU64>,
    pub(crate) grpc: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) admin_http: SocketAddr,
    pub(crate) socket: PathBuf,
    pub(crate) shutdown: CancellationToken,
    pub(crate) tasks: JoinSet<()>,
    folder: tempfile::TempDir,
}

/// 2026-11-22.
pub(crate) const NOW: u64 = 1_795_305_600;

impl Node {
    pub(crate) async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let pki = Pki::new();
        let now = Arc::new(AtomicU64::new(NOW));
        let tls = Tls::new(clock(&now));
        tls.install(pki.server()).unwrap();
        let (fake, health) = (Arc::new(Fake::default()), Arc::new(FakeHealth::default()));
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let (grpc, https, admin_http) = (listen().await, listen().await, listen().await);
        let own_uid = std::fs::metadata(folder.path()).unwrap().uid();
        let admin = AdminSocket::bind(&socket, vec![own_uid]).unwrap();
        let node = Self {
            grpc: grpc.local_addr().unwrap(),
            https: https.local_addr().unwrap(),
            admin_http: admin_http.local_addr().unwrap(),
            pki,
            fake: fake.clone(),
            health: health.clone(),
            tls: tls.clone(),
            now,
            socket,
            shutdown: shutdown.clone(),
            tasks: JoinSet::new(),
            folder,
        };
        tasks.spawn(grpc::serve_tls(grpc, tls.clone(), fake.clone(), health.clone(), limits.clone(), shutdown.clone()));
        let id = Arc::new(|| 5);
        let own = Limits { total: Total::new(64), ..limits.clone() };
        tasks.spawn(grpc::serve_admin(admin, id, fake.clone(), health.clone(), own, shutdown.clone()));
        tasks.spawn(https::serve(https, tls, fake, limits.clone(), shutdown.clone()));
        tasks.spawn(async move { admin_http::serve(admin_http, health, limits, shutdown).await.unwrap() });
        Self { tasks, ..node }
    }

    pub(crate) fn own_uid(&self) -> u32 {
        std::fs::metadata(self.folder.path()).unwrap().uid()
    }

    pub(crate) fn clock(&self) -> Clock {
        clock(&self.now)
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::from_pem(domain(), self.pki.anchor_pem.as_bytes(), self.clock()).unwrap()
    }

    pub(crate) async fn agent(&self, identity: Option<AgentIdentity>) -> Result<AgentClient, ClientError> {
        AgentClient::connect(&self.grpc.to_string(), identity, &self.trust()).await
    }

    pub(crate) async fn admin(&self) -> AdminClient {
        AdminClient::connect(&self.socket).await.unwrap()
    }

    pub(crate) fn token(&self, identity: Option<AgentIdentity>) -> TokenClient {
        TokenClient::new(&format!("https://{}", self.https), identity, &self.trust()).unwrap()
    }
}

fn clock(now: &Arc<AtomicU64>) -> Clock {
    let now = now.clone();
    Arc::new(move || UnixTime::from_secs(now.load(Ordering::SeqCst)))
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// What a method answers to an empty message, whatever its kind: the status, or none for success.
pub(crate) async fn knock(channel: Channel, path: &'static str) -> Option<Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<(), ()>::default();
    let answer = grpc.server_streaming(Request::new(()), PathAndQuery::from_static(path), codec).await;
    match answer {
        Err(status) => Some(status),
        Ok(answer) => answer.into_inner().message().await.err(),
    }
}

/// The gRPC code of what [`knock`] heard.
pub(crate) fn code(heard: Option<&Status>) -> Code {
    heard.map_or(Code::Ok, Status::code)
}

/// `work`, which must not take long.
pub(crate) async fn soon<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("it takes too long")
}
