//! One connection's door: who is there, what they may call, and which service answers.

use std::convert::Infallible;
use std::sync::Arc;

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use signet_model::caller::Caller;
use signet_model::refusal::{Reason, Refusal};
use tonic::Status;
use tonic::body::Body;
use tonic_health::pb::health_server::HealthServer;
use tower::Service as _;
use tower::util::BoxCloneSyncService;

use super::call;
use super::handler::Handler;
use super::health::HealthAnswers;
use crate::Clock;
use crate::connections::Limits;
use crate::health::Health;
use crate::load::{Held, Load, Metered, Slot};
use crate::methods::{self, Method, Target, Who};
use crate::proto::authority::authorities_server::AuthoritiesServer;
use crate::proto::authority::recipients_server::RecipientsServer;
use crate::proto::bundle::bundle_server::BundleServer;
use crate::proto::cluster::cluster_server::ClusterServer;
use crate::proto::entry::entry_server::EntryServer;
use crate::proto::local_authority::local_authority_server::LocalAuthorityServer;
use crate::proto::ops::ops_server::OpsServer;
use crate::proto::policy::policy_server::PolicyServer;
use crate::proto::snapshot::snapshot_server::SnapshotServer;
use crate::proto::svid::svid_server::SvidServer;
use crate::service::Service;
use crate::status;
use crate::tls::Peer;

/// What a caller proved when the connection was made.
pub(super) enum Credential {
    /// Nothing.
    None,
    /// An X.509-SVID.
    Svid {
        /// Whose.
        peer: Peer,
        /// To see when it ends.
        clock: Clock,
    },
    /// A local user.
    Local(Caller),
}

/// What all connections of a listener share.
pub(super) struct Parts {
    service: Arc<dyn Service>,
    health: HealthServer<HealthAnswers>,
    reflection: Option<Reflection>,
    message_limit: usize,
    load: Load,
}

type Reflection = BoxCloneSyncService<Request<Metered>, Response<Body>, Infallible>;

impl Parts {
    pub(super) fn new(service: Arc<dyn Service>, health: Arc<dyn Health>, limits: &Limits) -> Self {
        Self {
            service,
            health: HealthServer::new(HealthAnswers::new(health)),
            reflection: None,
            message_limit: limits.message,
            load: Load::new(limits),
        }
    }

    pub(super) fn with_reflection(service: Arc<dyn Service>, health: Arc<dyn Health>, limits: &Limits) -> Self {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(crate::proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        let reflection = match builder.build_v1() {
            Ok(server) => Some(BoxCloneSyncService::new(server)),
            Err(error) => {
                tracing::warn!(%error, "reflection is not available");
                None
            }
        };
        Self { reflection, ..Self::new(service, health, limits) }
    }
}

/// The services of one connection, with the caller built into them: no request can be taken for somebody else's.
#[derive(Clone)]
pub(super) struct Door {
    admits: Admits,
    load: Load,
    entry: EntryServer<Handler>,
    svid: SvidServer<Handler>,
    bundle: BundleServer<Handler>,
    cluster: ClusterServer<Handler>,
    policy: PolicyServer<Handler>,
    snapshot: SnapshotServer<Handler>,
    authority: AuthoritiesServer<Handler>,
    recipient: RecipientsServer<Handler>,
    local_authority: LocalAuthorityServer<Handler>,
    ops: OpsServer<Handler>,
    health: HealthServer<HealthAnswers>,
    reflection: Option<Reflection>,
}

/// Whom the door lets in.
#[derive(Clone)]
enum Admits {
    Anybody,
    SvidHolder(Arc<(Peer, Clock)>),
    Administrator,
}

impl Door {
    pub(super) fn new(parts: &Parts, credential: Credential) -> Self {
        let (caller, admits) = match credential {
            Credential::None => (Caller::Anonymous, Admits::Anybody),
            Credential::Svid { peer, clock } => {
                (Caller::Spiffe { id: peer.id.clone() }, Admits::SvidHolder(Arc::new((peer, clock))))
            }
            Credential::Local(caller) => (caller, Admits::Administrator),
        };
        let handler = Arc::new(Handler::new(parts.service.clone(), caller));
        let limit = parts.message_limit;
        Self {
            admits,
            load: parts.load.clone(),
            entry: EntryServer::from_arc(handler.clone()).max_decoding_message_size(limit),
            svid: SvidServer::from_arc(handler.clone()).max_decoding_message_size(limit),
            bundle: BundleServer::from_arc(handler.clone()).max_decoding_message_size(limit),
            cluster: ClusterServer::from_arc(handler.clone()).max_decoding_message_size(limit),
            ops: OpsServer::from_arc(handler.clone()).max_decoding_message_size(limit),
            snapshot: SnapshotServer::from_arc(handler.clone()).max_decoding_message_size(limit),
            authority: AuthoritiesServer::from_arc(handler.clone()).max_decoding_message_size(limit),
            recipient: RecipientsServer::from_arc(handler.clone()).max_decoding_message_size(limit),
            local_authority: LocalAuthorityServer::from_arc(handler.clone()).max_decoding_message_size(limit),
            policy: PolicyServer::from_arc(handler).max_decoding_message_size(limit),
            health: parts.health.clone(),
            reflection: parts.reflection.clone(),
        }
    }

    /// Which service answers, and the request's place among those under way.
    fn let_in(&self, request: &Request<Incoming>) -> Result<(Target, Option<Arc<Slot>>), Refusal> {
        let path = request.uri().path();
        let target = self.admit(path)?;
        call::check(request.headers())?;
        // A node that is busy is not ill: whoever asks after its health is always told.
        let slot = if path == HEALTH_CHECK { None } else { Some(self.load.admit()?) };
        Ok((target, slot))
    }

    fn dispatch(&self, target: Target, request: Request<Metered>) -> Answering {
        match target {
            Target::Svid => self.svid.clone().call(request),
            Target::Bundle => self.bundle.clone().call(request),
            Target::Entry => self.entry.clone().call(request),
            Target::Cluster => self.cluster.clone().call(request),
            Target::Policy => self.policy.clone().call(request),
            Target::Ops => self.ops.clone().call(request),
            Target::Snapshot => self.snapshot.clone().call(request),
            Target::Authority => self.authority.clone().call(request),
            Target::Recipient => self.recipient.clone().call(request),
            Target::LocalAuthority => self.local_authority.clone().call(request),
            Target::Health => self.health.clone().call(request),
            Target::Reflection => match self.reflection.clone() {
                Some(mut reflection) => reflection.call(request),
                None => answer(status::to_grpc(&unknown(request.uri().path()))),
            },
        }
    }

    fn admit(&self, path: &str) -> Result<Target, Refusal> {
        let method = methods::find(path).ok_or_else(|| unknown(path))?;
        match (method.who, &self.admits) {
            (Who::Anybody, _) | (Who::Administrator, Admits::Administrator) => {}
            (Who::SvidHolder, Admits::SvidHolder(holder)) => check_expiry(&holder.0, &holder.1)?,
            (Who::SvidHolder | Who::Administrator, _) => return Err(denied(path)),
        }
        match method {
            Method { absent: Some(text), .. } => Err(Refusal::new(Reason::Unimplemented, *text)),
            Method { target, .. } => Ok(*target),
        }
    }
}

/// A connection can outlive the certificate it was made with.
fn check_expiry(peer: &Peer, clock: &Clock) -> Result<(), Refusal> {
    if clock() <= peer.not_after {
        return Ok(());
    }
    Err(Refusal::new(Reason::Unauthenticated, "the client certificate has expired; connect again with a current one"))
}

fn denied(path: &str) -> Refusal {
    Refusal::new(Reason::PermissionDenied, format!("authorization denied for method {path}"))
}

fn unknown(path: &str) -> Refusal {
    // The path is the caller's text: no more of it than a method's name could be.
    let path: String = path.chars().take(MAX_PATH_ECHO).collect();
    Refusal::new(Reason::Unimplemented, format!("this server has no method {path}"))
}

impl hyper::service::Service<Request<Incoming>> for Door {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (target, slot) = match self.let_in(&request) {
            Ok(admitted) => admitted,
            Err(refusal) => return answer(status::to_grpc(&refusal)),
        };
        let deadline = call::said(request.headers());
        let answering = self.dispatch(target, request.map(|body| Metered::new(body, slot.clone(), &self.load)));
        Box::pin(async move {
            let response = match deadline {
                None => answering.await,
                // The service keeps to the deadline by itself, and says what it waited for; this is for what does not.
                Some(deadline) => match tokio::time::timeout(deadline, answering).await {
                    Ok(response) => response,
                    Err(_) => Ok(status::to_grpc(&too_late()).into_http()),
                },
            };
            response.map(|response| response.map(|body| Body::new(Held { body, _slot: slot })))
        })
    }
}

/// A service at work.
type Answering = BoxFuture<'static, Result<Response<Body>, Infallible>>;

fn answer(status: Status) -> Answering {
    Box::pin(std::future::ready(Ok(status.into_http())))
}

fn too_late() -> Refusal {
    Refusal::new(
        Reason::DeadlineExceeded,
        "the caller's deadline passed; if this was a change, it may still take effect",
    )
}

const MAX_PATH_ECHO: usize = 120;
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";
