//! `signet.authority.v1`: the authorities as their operators see them.

use tonic::{Request, async_trait};

use super::handler::{Answer, Handler, answer};
use crate::proto::authority::authorities_server::Authorities;
use crate::proto::authority::{
    ActivateRequest, DropCertificateRequestRequest, ImportRequest, PrepareRequest, RequestCertificateRequest,
    RevokeRequest, RotateRequest, ShowRequest, State, TaintRequest,
};
use crate::service::{AuthorityChange, Call, ForeignKey};
use crate::wire::authority::{from_authorities, kind, name};
use signet_model::refusal::Refusal;

#[async_trait]
impl Authorities for Handler {
    async fn show(&self, request: Request<ShowRequest>) -> Answer<State> {
        answer(self.service.authorities(&self.call(request.metadata())).await.map(from_authorities))
    }

    async fn prepare(&self, request: Request<PrepareRequest>) -> Answer<State> {
        let (call, request) = (self.change("authority.Prepare", &request), request.into_inner());
        let change = kind(request.kind).map(|kind| AuthorityChange::Prepare { kind });
        self.decide(&call, change, request.dry_run).await
    }

    async fn activate(&self, request: Request<ActivateRequest>) -> Answer<State> {
        let (call, request) = (self.change("authority.Activate", &request), request.into_inner());
        let force = request.force;
        let change = name(request.authority).map(|authority| AuthorityChange::Activate { authority, force });
        self.decide(&call, change, request.dry_run).await
    }

    async fn taint(&self, request: Request<TaintRequest>) -> Answer<State> {
        let (call, request) = (self.change("authority.Taint", &request), request.into_inner());
        let change = name(request.authority).map(|authority| AuthorityChange::Taint { authority });
        self.decide(&call, change, request.dry_run).await
    }

    async fn revoke(&self, request: Request<RevokeRequest>) -> Answer<State> {
        let (call, request) = (self.change("authority.Revoke", &request), request.into_inner());
        let force = request.force;
        let change = name(request.authority).map(|authority| AuthorityChange::Revoke { authority, force });
        self.decide(&call, change, request.dry_run).await
    }

    async fn rotate(&self, request: Request<RotateRequest>) -> Answer<State> {
        let (call, request) = (self.change("authority.Rotate", &request), request.into_inner());
        let kinds = request.kinds.iter().map(|number| kind(*number)).collect::<Result<Vec<_>, _>>();
        let kinds = kinds.and_then(|kinds| match kinds.is_empty() {
            true => Err(Refusal::invalid("kinds: name at least one")),
            false => Ok(kinds),
        });
        let change = kinds.map(|kinds| AuthorityChange::Rotate {
            kinds,
            reason: request.reason,
            emergency: request.emergency,
            revoke_after_secs: request.revoke_after,
        });
        self.decide(&call, change, request.dry_run).await
    }

    async fn request_certificate(&self, request: Request<RequestCertificateRequest>) -> Answer<State> {
        let (call, request) = (self.change("authority.RequestCertificate", &request), request.into_inner());
        let change = AuthorityChange::RequestCertificate { subject: request.subject, another: request.another };
        self.decide(&call, Ok(change), request.dry_run).await
    }

    async fn drop_certificate_request(&self, request: Request<DropCertificateRequestRequest>) -> Answer<State> {
        let (call, request) = (self.change("authority.DropCertificateRequest", &request), request.into_inner());
        let change = AuthorityChange::DropCertificateRequest { id: request.id };
        self.decide(&call, Ok(change), request.dry_run).await
    }

    async fn import(&self, request: Request<ImportRequest>) -> Answer<State> {
        let (call, request) = (self.change("authority.Import", &request), request.into_inner());
        let key = request.key.map(|key| ForeignKey { recipient: key.recipient, reference: key.reference });
        let change = AuthorityChange::Import { chain: request.chain, key };
        self.decide(&call, Ok(change), request.dry_run).await
    }
}

impl Handler {
    async fn decide(&self, call: &Call, change: Result<AuthorityChange, Refusal>, dry_run: bool) -> Answer<State> {
        let told = match change {
            Ok(change) => self.service.change_authority(call, change, dry_run).await,
            Err(refusal) => Err(refusal),
        };
        answer(told.map(from_authorities))
    }
}
