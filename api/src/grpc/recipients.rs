//! `signet.authority.v1`: who can open the keys.

use tonic::{Request, async_trait};

use super::handler::{Answer, Handler, answer};
use crate::proto::authority::recipients_server::Recipients;
use crate::proto::authority::{
    AddRecipientRequest, ListRecipientsRequest, PlaceRootsRequest, RecipientState, RemoveRecipientRequest,
};
use crate::service::{Call, RecipientChange};
use crate::wire::recipients::from_shown;
use signet_model::refusal::Refusal;

#[async_trait]
impl Recipients for Handler {
    async fn list(&self, request: Request<ListRecipientsRequest>) -> Answer<RecipientState> {
        answer(self.service.recipients(&self.call(request.metadata())).await.map(from_shown))
    }

    async fn add(&self, request: Request<AddRecipientRequest>) -> Answer<RecipientState> {
        let (call, request) = (self.change("recipient.Add", &request), request.into_inner());
        let change = RecipientChange::Add { which: request.recipient.clone(), roots: request.roots };
        self.change_recipients(&call, &request.recipient, change, request.dry_run).await
    }

    async fn remove(&self, request: Request<RemoveRecipientRequest>) -> Answer<RecipientState> {
        let (call, request) = (self.change("recipient.Remove", &request), request.into_inner());
        let change = RecipientChange::Remove { which: request.recipient.clone(), force: request.force };
        self.change_recipients(&call, &request.recipient, change, request.dry_run).await
    }

    async fn place_roots(&self, request: Request<PlaceRootsRequest>) -> Answer<RecipientState> {
        let (call, request) = (self.change("recipient.PlaceRoots", &request), request.into_inner());
        let change = RecipientChange::PlaceRoots { which: request.recipient.clone() };
        self.change_recipients(&call, &request.recipient, change, request.dry_run).await
    }
}

impl Handler {
    async fn change_recipients(
        &self,
        call: &Call,
        named: &str,
        change: RecipientChange,
        dry_run: bool,
    ) -> Answer<RecipientState> {
        if named.is_empty() {
            return answer(Err(Refusal::invalid(
                "recipient: is missing; `signet recipient list` shows those there are",
            )));
        }
        answer(self.service.change_recipients(call, change, dry_run).await.map(from_shown))
    }
}
