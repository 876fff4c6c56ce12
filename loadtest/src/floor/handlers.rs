//! Answers of the right size after the bare cryptography.

use std::sync::Arc;

use signet_api::proto::svid::batch_new_x509svid_response::Result as X509Result;
use signet_api::proto::svid::svid_server;
use signet_api::proto::svid::{
    BatchNewX509svidRequest, BatchNewX509svidResponse, NewJwtsvidRequest, NewJwtsvidResponse,
};
use signet_api::proto::types::{Jwtsvid, Status, X509svid};
use tonic::{Request, Response};

use super::crypto::{Bare, Broken};

/// `spire.api.server.svid.v1.SVID`, as little of it as the load asks for.
pub(super) struct Svid {
    bare: Arc<Bare>,
}

impl Svid {
    pub(super) const fn new(bare: Arc<Bare>) -> Self {
        Self { bare }
    }
}

#[tonic::async_trait]
impl svid_server::Svid for Svid {
    async fn batch_new_x509svid(
        &self,
        request: Request<BatchNewX509svidRequest>,
    ) -> Result<Response<BatchNewX509svidResponse>, tonic::Status> {
        let mut results = Vec::with_capacity(request.get_ref().params.len());
        for _ in &request.get_ref().params {
            self.bare.x509().map_err(internal)?;
            let svid = X509svid {
                cert_chain: vec![vec![0x30; LEAF], vec![0x30; ISSUER]],
                expires_at: SOME_TIME,
                ..X509svid::default()
            };
            results.push(X509Result { status: Some(Status::default()), svid: Some(svid) });
        }
        Ok(Response::new(BatchNewX509svidResponse { results }))
    }

    async fn new_jwtsvid(&self, _: Request<NewJwtsvidRequest>) -> Result<Response<NewJwtsvidResponse>, tonic::Status> {
        self.bare.token().map_err(internal)?;
        let svid =
            Jwtsvid { token: "e".repeat(JWT_SVID), expires_at: SOME_TIME, issued_at: SOME_TIME, ..Jwtsvid::default() };
        Ok(Response::new(NewJwtsvidResponse { svid: Some(svid) }))
    }
}

/// The body of a granted exchange.
pub(super) fn token_answer() -> String {
    let token = "e".repeat(TRANSACTION_TOKEN);
    format!(
        r#"{{"access_token":"{token}","issued_token_type":"urn:ietf:params:oauth:token-type:txn_token","token_type":"N_A","expires_in":300}}"#
    )
}

fn internal(broken: Broken) -> tonic::Status {
    tonic::Status::internal(broken.to_string())
}

/// Bytes of an X.509-SVID and of the issuing CA's certificate that travels with it.
const LEAF: usize = 535;
const ISSUER: usize = 550;
/// Characters of a JWT-SVID and of a transaction token.
const JWT_SVID: usize = 310;
const TRANSACTION_TOKEN: usize = 520;
const SOME_TIME: i64 = 1_800_000_000;
