//! `BatchNewX509SVID` and `NewJWTSVID` on one HTTP/2 connection, as an agent makes them.

use std::sync::Arc;

use signet_api::proto::svid::svid_client::SvidClient;
use signet_api::proto::svid::{BatchNewX509svidRequest, NewJwtsvidRequest, NewX509svidParams};
use tonic::transport::Channel;

use crate::load::Door;
use crate::seed::Seed;

/// A connection for X.509-SVIDs.
pub(crate) struct X509Door {
    client: SvidClient<Channel>,
    params: Arc<Vec<NewX509svidParams>>,
    batch: usize,
    seed: Seed,
}

impl X509Door {
    /// Asks for `batch` of `params` in each call on this connection.
    pub(crate) fn new(channel: Channel, params: Arc<Vec<NewX509svidParams>>, batch: usize, seed: Seed) -> Self {
        Self { client: SvidClient::new(channel), params, batch, seed }
    }
}

impl Door for X509Door {
    fn in_flight(&self) -> usize {
        STREAMS
    }

    async fn ask(&self, number: u64) -> Result<(), String> {
        let first = self.seed.pick(number, self.params.len());
        let params = self.params.iter().cycle().skip(first).take(self.batch).cloned().collect();
        let answer = self.client.clone().batch_new_x509svid(BatchNewX509svidRequest { params }).await;
        let results = answer.map_err(|status| code(&status))?.into_inner().results;
        if results.len() != self.batch {
            return Err("answer_incomplete".to_owned());
        }
        for result in results {
            let status = result.status.unwrap_or_default();
            if status.code != 0 {
                return Err(name(tonic::Code::from_i32(status.code)));
            }
            if result.svid.is_none_or(|svid| svid.cert_chain.is_empty()) {
                return Err("answer_malformed".to_owned());
            }
        }
        Ok(())
    }
}

/// A connection for JWT-SVIDs.
pub(crate) struct JwtDoor {
    client: SvidClient<Channel>,
    entries: Arc<Vec<String>>,
    audience: String,
    seed: Seed,
}

impl JwtDoor {
    /// Asks for JWT-SVIDs of `entries` for `audience` on this connection.
    pub(crate) fn new(channel: Channel, entries: Arc<Vec<String>>, audience: String, seed: Seed) -> Self {
        Self { client: SvidClient::new(channel), entries, audience, seed }
    }
}

impl Door for JwtDoor {
    fn in_flight(&self) -> usize {
        STREAMS
    }

    async fn ask(&self, number: u64) -> Result<(), String> {
        let entry_id = self.entries.get(self.seed.pick(number, self.entries.len())).cloned().unwrap_or_default();
        let request = NewJwtsvidRequest { entry_id, audience: vec![self.audience.clone()] };
        let answer = self.client.clone().new_jwtsvid(request).await.map_err(|status| code(&status))?.into_inner();
        match answer.svid {
            Some(svid) if !svid.token.is_empty() => Ok(()),
            _ => Err("answer_malformed".to_owned()),
        }
    }
}

fn code(status: &tonic::Status) -> String {
    name(status.code())
}

/// `Unavailable` and the like, the words of the gRPC documentation.
fn name(code: tonic::Code) -> String {
    format!("{code:?}")
}

/// Calls at once on a connection: what servers commonly allow.
const STREAMS: usize = 100;
