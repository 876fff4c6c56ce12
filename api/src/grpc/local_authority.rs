//! `spire.api.server.localauthority.v1`: SPIRE's own view of the authorities.
//!
//! SPIRE knows servers with an upstream authority, whose intermediates nobody can revoke alone. That is what a Signet
//! cluster is: the issuing CAs are its X.509 authorities, the roots their upstream.

use signet_model::authority::{Authority, AuthorityKind, Slot};
use signet_model::command::AuthorityRef;
use signet_model::refusal::{Reason, Refusal};
use tonic::{Request, async_trait};

use super::handler::{Answer, Handler, answer};
use crate::proto::local_authority::local_authority_server::LocalAuthority;
use crate::proto::local_authority::{
    ActivateJwtAuthorityRequest, ActivateJwtAuthorityResponse, ActivateX509AuthorityRequest,
    ActivateX509AuthorityResponse, AuthorityState, GetJwtAuthorityStateRequest, GetJwtAuthorityStateResponse,
    GetX509AuthorityStateRequest, GetX509AuthorityStateResponse, PrepareJwtAuthorityRequest,
    PrepareJwtAuthorityResponse, PrepareX509AuthorityRequest, PrepareX509AuthorityResponse, RevokeJwtAuthorityRequest,
    RevokeJwtAuthorityResponse, RevokeX509AuthorityRequest, RevokeX509AuthorityResponse,
    RevokeX509UpstreamAuthorityRequest, RevokeX509UpstreamAuthorityResponse, TaintJwtAuthorityRequest,
    TaintJwtAuthorityResponse, TaintX509AuthorityRequest, TaintX509AuthorityResponse,
    TaintX509UpstreamAuthorityRequest, TaintX509UpstreamAuthorityResponse,
};
use crate::service::{Authorities, AuthorityChange, Call};
use crate::wire::signed;

use AuthorityKind::{JwtSvid, X509Issuing, X509Root};

#[async_trait]
impl LocalAuthority for Handler {
    async fn get_jwt_authority_state(
        &self,
        request: Request<GetJwtAuthorityStateRequest>,
    ) -> Answer<GetJwtAuthorityStateResponse> {
        let told = self.service.authorities(&self.call(request.metadata())).await;
        answer(told.map(|told| GetJwtAuthorityStateResponse {
            active: latest(&told, JwtSvid, Slot::Active),
            prepared: latest(&told, JwtSvid, Slot::Prepared),
            old: latest(&told, JwtSvid, Slot::Retiring),
        }))
    }

    async fn prepare_jwt_authority(
        &self,
        request: Request<PrepareJwtAuthorityRequest>,
    ) -> Answer<PrepareJwtAuthorityResponse> {
        let change = AuthorityChange::Prepare { kind: JwtSvid };
        let state = self.changed(&self.change("localauthority.prepare_jwt_authority", &request), Ok(change)).await;
        answer(state.map(|state| PrepareJwtAuthorityResponse { prepared_authority: Some(state) }))
    }

    async fn activate_jwt_authority(
        &self,
        request: Request<ActivateJwtAuthorityRequest>,
    ) -> Answer<ActivateJwtAuthorityResponse> {
        let (call, request) = (self.change("localauthority.activate_jwt_authority", &request), request.into_inner());
        let state = self.changed(&call, activate(JwtSvid, request.authority_id)).await;
        answer(state.map(|state| ActivateJwtAuthorityResponse { activated_authority: Some(state) }))
    }

    async fn taint_jwt_authority(
        &self,
        request: Request<TaintJwtAuthorityRequest>,
    ) -> Answer<TaintJwtAuthorityResponse> {
        let (call, request) = (self.change("localauthority.taint_jwt_authority", &request), request.into_inner());
        let state = self.changed(&call, taint(JwtSvid, request.authority_id)).await;
        answer(state.map(|state| TaintJwtAuthorityResponse { tainted_authority: Some(state) }))
    }

    async fn revoke_jwt_authority(
        &self,
        request: Request<RevokeJwtAuthorityRequest>,
    ) -> Answer<RevokeJwtAuthorityResponse> {
        let (call, request) = (self.change("localauthority.revoke_jwt_authority", &request), request.into_inner());
        let state = self.changed(&call, revoke(JwtSvid, request.authority_id)).await;
        answer(state.map(|state| RevokeJwtAuthorityResponse { revoked_authority: Some(state) }))
    }

    async fn get_x509_authority_state(
        &self,
        request: Request<GetX509AuthorityStateRequest>,
    ) -> Answer<GetX509AuthorityStateResponse> {
        let told = self.service.authorities(&self.call(request.metadata())).await;
        answer(told.map(|told| GetX509AuthorityStateResponse {
            active: latest(&told, X509Issuing, Slot::Active),
            prepared: latest(&told, X509Issuing, Slot::Prepared),
            old: latest(&told, X509Issuing, Slot::Retiring),
        }))
    }

    async fn prepare_x509_authority(
        &self,
        request: Request<PrepareX509AuthorityRequest>,
    ) -> Answer<PrepareX509AuthorityResponse> {
        let change = AuthorityChange::Prepare { kind: X509Issuing };
        let state = self.changed(&self.change("localauthority.prepare_x509_authority", &request), Ok(change)).await;
        answer(state.map(|state| PrepareX509AuthorityResponse { prepared_authority: Some(state) }))
    }

    async fn activate_x509_authority(
        &self,
        request: Request<ActivateX509AuthorityRequest>,
    ) -> Answer<ActivateX509AuthorityResponse> {
        let (call, request) = (self.change("localauthority.activate_x509_authority", &request), request.into_inner());
        let state = self.changed(&call, activate(X509Issuing, request.authority_id)).await;
        answer(state.map(|state| ActivateX509AuthorityResponse { activated_authority: Some(state) }))
    }

    async fn taint_x509_authority(&self, _: Request<TaintX509AuthorityRequest>) -> Answer<TaintX509AuthorityResponse> {
        answer(Err(upstream_instead("taint", "tainted")))
    }

    async fn taint_x509_upstream_authority(
        &self,
        request: Request<TaintX509UpstreamAuthorityRequest>,
    ) -> Answer<TaintX509UpstreamAuthorityResponse> {
        let (call, request) =
            (self.change("localauthority.taint_x509_upstream_authority", &request), request.into_inner());
        let state = self.changed(&call, taint(X509Root, request.subject_key_id)).await;
        let id = state.map(|state| state.authority_id);
        answer(id.map(|id| TaintX509UpstreamAuthorityResponse { upstream_authority_subject_key_id: id }))
    }

    async fn revoke_x509_authority(
        &self,
        _: Request<RevokeX509AuthorityRequest>,
    ) -> Answer<RevokeX509AuthorityResponse> {
        answer(Err(upstream_instead("revoke", "revoked")))
    }

    async fn revoke_x509_upstream_authority(
        &self,
        request: Request<RevokeX509UpstreamAuthorityRequest>,
    ) -> Answer<RevokeX509UpstreamAuthorityResponse> {
        let (call, request) =
            (self.change("localauthority.revoke_x509_upstream_authority", &request), request.into_inner());
        let state = self.changed(&call, revoke(X509Root, request.subject_key_id)).await;
        let id = state.map(|state| state.authority_id);
        answer(id.map(|id| RevokeX509UpstreamAuthorityResponse { upstream_authority_subject_key_id: id }))
    }
}

impl Handler {
    /// Makes the change and answers what became of the authority that it is about.
    async fn changed(&self, call: &Call, change: Result<AuthorityChange, Refusal>) -> Result<AuthorityState, Refusal> {
        let told = self.service.change_authority(call, change?, false).await?;
        let changed = told.changed.unwrap_or_else(|| AuthorityRef { kind: X509Issuing, id: String::new() });
        if let Some(authority) = told.hierarchy.find(&changed) {
            return Ok(state(authority));
        }
        let past = told.hierarchy.past.iter().rev().find(|past| past.authority == changed);
        let expires_at = past.map_or(0, |past| signed(past.not_after.secs()));
        Ok(AuthorityState { authority_id: changed.id, expires_at, ..AuthorityState::default() })
    }
}

/// SPIRE shows one of each: the one that came last.
fn latest(told: &Authorities, kind: AuthorityKind, slot: Slot) -> Option<AuthorityState> {
    let of_slot = told.hierarchy.of(kind).filter(|authority| authority.slot == slot);
    of_slot.max_by_key(|authority| (authority.life.stopped_at, authority.life.added_at_index)).map(state)
}

fn state(authority: &Authority) -> AuthorityState {
    AuthorityState {
        authority_id: authority.id.clone(),
        expires_at: signed(authority.not_after.secs()),
        upstream_authority_subject_key_id: authority.life.issuer.clone(),
    }
}

fn activate(kind: AuthorityKind, id: String) -> Result<AuthorityChange, Refusal> {
    Ok(AuthorityChange::Activate { authority: named(kind, id)?, force: false })
}

fn taint(kind: AuthorityKind, id: String) -> Result<AuthorityChange, Refusal> {
    Ok(AuthorityChange::Taint { authority: named(kind, id)? })
}

fn revoke(kind: AuthorityKind, id: String) -> Result<AuthorityChange, Refusal> {
    Ok(AuthorityChange::Revoke { authority: named(kind, id)?, force: false })
}

fn named(kind: AuthorityKind, id: String) -> Result<AuthorityRef, Refusal> {
    if id.is_empty() {
        return Err(Refusal::invalid("no authority ID provided"));
    }
    Ok(AuthorityRef { kind, id })
}

fn upstream_instead(verb: &str, done: &str) -> Refusal {
    let detail = format!(
        "local authority can't be {done} alone: verifiers go by its root. {verb} the root by its subject key id instead, after another is active (`signet authority rotate --kind x509-root --emergency`)"
    );
    Refusal::new(Reason::FailedPrecondition, detail)
}
