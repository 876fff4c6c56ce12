//! `spire.api.server.svid.v1`: X.509-SVIDs and JWT-SVIDs.

use signet_model::refusal::{Reason, Refusal};
use signet_model::svid::X509Svid;
use tonic::{Request, async_trait};

use super::handler::{Answer, Handler, answer, short_answer};
use crate::proto::svid::svid_server::Svid;
use crate::proto::svid::{
    BatchNewX509svidRequest, BatchNewX509svidResponse, MintJwtsvidRequest, MintJwtsvidResponse, MintX509svidRequest,
    MintX509svidResponse, NewJwtsvidRequest, NewJwtsvidResponse, NewX509svidParams, batch_new_x509svid_response,
};
use crate::service::NewX509Svid;
use crate::status::{item_ok, to_item};
use crate::wire::entry::entry_id;
use crate::wire::svid::{from_jwt, from_x509};
use crate::wire::{spiffe_id, ttl_secs};

#[async_trait]
impl Svid for Handler {
    async fn mint_x509svid(&self, request: Request<MintX509svidRequest>) -> Answer<MintX509svidResponse> {
        let (call, request) = (self.call(request.metadata()), request.into_inner());
        let mint = async {
            if request.csr.is_empty() {
                return Err(Refusal::invalid("missing CSR"));
            }
            let ttl = ttl_secs("ttl", request.ttl)?;
            self.service.mint_x509_svid(&call, &request.csr, ttl).await
        };
        answer(mint.await.map(|svid| MintX509svidResponse { svid: Some(from_x509(svid)) }))
    }

    async fn mint_jwtsvid(&self, request: Request<MintJwtsvidRequest>) -> Answer<MintJwtsvidResponse> {
        let (call, request) = (self.call(request.metadata()), request.into_inner());
        let mint = async {
            let id = spiffe_id(request.id.as_ref()).map_err(|e| Refusal::invalid(format!("invalid SPIFFE ID: {e}")))?;
            check_audience(&request.audience)?;
            let ttl = ttl_secs("ttl", request.ttl)?;
            self.service.mint_jwt_svid(&call, &id, &request.audience, ttl).await
        };
        answer(mint.await.map(|svid| MintJwtsvidResponse { svid: Some(from_jwt(svid)) }))
    }

    async fn batch_new_x509svid(&self, request: Request<BatchNewX509svidRequest>) -> Answer<BatchNewX509svidResponse> {
        let (call, request) = (self.call(request.metadata()), request.into_inner());
        let issue = async {
            let (asked, problems) = sort_out(request.params)?;
            let issued = if asked.is_empty() { Vec::new() } else { self.service.new_x509_svids(&call, asked).await? };
            Ok(BatchNewX509svidResponse { results: merge(issued, problems) })
        };
        answer(issue.await)
    }

    async fn new_jwtsvid(&self, request: Request<NewJwtsvidRequest>) -> Answer<NewJwtsvidResponse> {
        let (call, request) = (self.call(request.metadata()), request.into_inner());
        let issue = async {
            if request.entry_id.is_empty() {
                return Err(Refusal::invalid("missing entry ID"));
            }
            check_audience(&request.audience)?;
            // An id that no entry can have is an entry that there is not.
            let entry = entry_id(&request.entry_id, "").map_err(|_| no_entry())?;
            self.service.new_jwt_svid(&call, &entry, &request.audience).await
        };
        answer(issue.await.map(|svid| NewJwtsvidResponse { svid: Some(from_jwt(svid)) }))
    }
}

fn check_audience(audience: &[String]) -> Result<(), Refusal> {
    if audience.is_empty() {
        return Err(Refusal::invalid("at least one audience is required"));
    }
    if audience.iter().any(String::is_empty) {
        return Err(Refusal::invalid("audience must not hold an empty text"));
    }
    Ok(())
}

/// What can be asked of the service, and for each item what stands in the way of asking.
fn sort_out(params: Vec<NewX509svidParams>) -> Result<(Vec<NewX509Svid>, Vec<Option<Refusal>>), Refusal> {
    if params.is_empty() {
        return Err(Refusal::invalid("missing parameters"));
    }
    if params.len() > MAX_BATCH {
        let text = format!("at most {MAX_BATCH} X.509-SVIDs can be asked for at once");
        return Err(Refusal::new(Reason::ResourceExhausted, text));
    }
    let mut asked = Vec::with_capacity(params.len());
    let problems = params.into_iter().map(|item| check(item).map(|item| asked.push(item)).err()).collect();
    Ok((asked, problems))
}

fn check(item: NewX509svidParams) -> Result<NewX509Svid, Refusal> {
    if item.entry_id.is_empty() {
        return Err(Refusal::invalid("missing entry ID"));
    }
    if item.csr.is_empty() {
        return Err(Refusal::invalid("missing CSR"));
    }
    let entry = entry_id(&item.entry_id, "").map_err(|_| no_entry())?;
    Ok(NewX509Svid { entry, csr: item.csr })
}

/// One result for each item, in its place, always with a status.
fn merge(
    issued: Vec<Result<X509Svid, Refusal>>,
    problems: Vec<Option<Refusal>>,
) -> Vec<batch_new_x509svid_response::Result> {
    let mut issued = issued.into_iter();
    let place = |problem: Option<Refusal>| match problem {
        Some(refusal) => Err(refusal),
        None => issued.next().unwrap_or_else(|| Err(short_answer())),
    };
    let result = |outcome| match outcome {
        Ok(svid) => batch_new_x509svid_response::Result { status: Some(item_ok()), svid: Some(from_x509(svid)) },
        Err(refusal) => batch_new_x509svid_response::Result { status: Some(to_item(refusal)), svid: None },
    };
    problems.into_iter().map(place).map(result).collect()
}

fn no_entry() -> Refusal {
    Refusal::new(Reason::NotFound, "entry not found or not authorized")
}

/// Twice what an agent asks for at once; it halves its batches when they are refused as too large.
const MAX_BATCH: usize = 1000;
