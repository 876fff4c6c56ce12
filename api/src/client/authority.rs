//! The authorities, over the admin socket.

use tonic::{Request, Response, Status};

use crate::proto::authority::authorities_client::AuthoritiesClient;
use crate::proto::authority::{
    ActivateRequest, DropCertificateRequestRequest, ForeignKey, ImportRequest, PrepareRequest,
    RequestCertificateRequest, RevokeRequest, RotateRequest, ShowRequest, State, TaintRequest,
};
use crate::service::AuthorityChange;
use crate::wire::authority::{from_kind, from_name};

use super::{AdminClient, ClientError, PatientChannel};

impl AdminClient {
    /// Every authority, and what is planned.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn authorities(&self) -> Result<State, ClientError> {
        let mut client = AuthoritiesClient::new(self.connection());
        Ok(client.show(self.ask(ShowRequest {})).await?.into_inner())
    }

    /// Changes an authority; with `dry_run` nothing is changed, and the answer is as it would be.
    ///
    /// # Errors
    /// What the server answered.
    pub async fn change_authority(&self, change: AuthorityChange, dry_run: bool) -> Result<State, ClientError> {
        match change {
            AuthorityChange::Prepare { kind } => {
                let request = PrepareRequest { kind: from_kind(kind) as i32, dry_run };
                self.changing(request, dry_run, async |mut client, request| client.prepare(request).await).await
            }
            AuthorityChange::Activate { authority, force } => {
                let request = ActivateRequest { authority: Some(from_name(&authority)), dry_run, force };
                self.changing(request, dry_run, async |mut client, request| client.activate(request).await).await
            }
            AuthorityChange::Taint { authority } => {
                let request = TaintRequest { authority: Some(from_name(&authority)), dry_run };
                self.changing(request, dry_run, async |mut client, request| client.taint(request).await).await
            }
            AuthorityChange::Revoke { authority, force } => {
                let request = RevokeRequest { authority: Some(from_name(&authority)), dry_run, force };
                self.changing(request, dry_run, async |mut client, request| client.revoke(request).await).await
            }
            AuthorityChange::Rotate { kinds, reason, emergency, revoke_after_secs } => {
                let kinds = kinds.into_iter().map(|kind| from_kind(kind) as i32).collect();
                let request = RotateRequest { kinds, dry_run, reason, emergency, revoke_after: revoke_after_secs };
                self.changing(request, dry_run, async |mut client, request| client.rotate(request).await).await
            }
            AuthorityChange::RequestCertificate { subject, another } => {
                let request = RequestCertificateRequest { subject, another, dry_run };
                let call = async |mut client: Client, request| client.request_certificate(request).await;
                self.changing(request, dry_run, call).await
            }
            AuthorityChange::DropCertificateRequest { id } => {
                let request = DropCertificateRequestRequest { id, dry_run };
                let call = async |mut client: Client, request| client.drop_certificate_request(request).await;
                self.changing(request, dry_run, call).await
            }
            AuthorityChange::Import { chain, key } => {
                let key = key.map(|key| ForeignKey { recipient: key.recipient, reference: key.reference });
                let request = ImportRequest { chain, key, dry_run };
                self.changing(request, dry_run, async |mut client, request| client.import(request).await).await
            }
        }
    }

    /// What changes nothing is asked once; a change until its outcome is known.
    async fn changing<M: Clone>(
        &self,
        message: M,
        dry_run: bool,
        call: impl AsyncFn(Client, Request<M>) -> Result<Response<State>, Status>,
    ) -> Result<State, ClientError> {
        let client = AuthoritiesClient::new(self.connection());
        if dry_run {
            return Ok(call(client, self.ask(message)).await?.into_inner());
        }
        self.manner.change(message, |request| call(client.clone(), request)).await
    }
}

type Client = AuthoritiesClient<PatientChannel>;
