//! `spire.api.server.entry.v1`: registration entries.

use signet_model::command::EntryOutcome;
use signet_model::refusal::{Reason, Refusal};
use tonic::{Request, async_trait};

use super::handler::{Answer, Handler, answer, read_answer, short_answer};
use crate::proto::entry::entry_server::Entry;
use crate::proto::entry::{
    BatchCreateEntryRequest, BatchCreateEntryResponse, BatchDeleteEntryRequest, BatchDeleteEntryResponse,
    BatchUpdateEntryRequest, BatchUpdateEntryResponse, CountEntriesRequest, CountEntriesResponse, GetEntryRequest,
    ListEntriesRequest, ListEntriesResponse, batch_create_entry_response, batch_delete_entry_response,
    batch_update_entry_response,
};
use crate::proto::types;
use crate::status::{item_ok, to_item};
use crate::wire::entry::{change, entry_id, from_entry, new_entry};
use crate::wire::filter::{filter, of_count};
use crate::wire::{mask, page};

#[async_trait]
impl Entry for Handler {
    async fn count_entries(&self, request: Request<CountEntriesRequest>) -> Answer<CountEntriesResponse> {
        let (call, request) = (self.call(request.metadata()), request.into_inner());
        let count = async { self.service.count_entries(&call, &filter(request.filter.map(of_count))?).await };
        read_answer(
            &call,
            count.await.map(|count| CountEntriesResponse { count: i32::try_from(count).unwrap_or(i32::MAX) }),
        )
    }

    async fn list_entries(&self, request: Request<ListEntriesRequest>) -> Answer<ListEntriesResponse> {
        let (call, request) = (self.call(request.metadata()), request.into_inner());
        let list = async {
            let page = page::page(request.page_size, &request.page_token)?;
            self.service.list_entries(&call, &filter(request.filter)?, &page).await
        };
        let mask = request.output_mask.as_ref();
        read_answer(
            &call,
            list.await.map(|found| ListEntriesResponse {
                entries: found.entries.into_iter().map(|entry| mask::entry(from_entry(entry), mask)).collect(),
                next_page_token: found.next.as_ref().map(page::token).unwrap_or_default(),
            }),
        )
    }

    async fn get_entry(&self, request: Request<GetEntryRequest>) -> Answer<types::Entry> {
        let (call, request) = (self.call(request.metadata()), request.into_inner());
        let entry = async { self.service.entry(&call, &entry_id(&request.id, "missing ID")?).await };
        read_answer(&call, entry.await.map(|entry| mask::entry(from_entry(entry), request.output_mask.as_ref())))
    }

    async fn batch_create_entry(&self, request: Request<BatchCreateEntryRequest>) -> Answer<BatchCreateEntryResponse> {
        let (call, request) = (self.change("entry.BatchCreateEntry", &request), request.into_inner());
        let mask = request.output_mask.as_ref();
        let (entries, problems) = sort_out(request.entries, new_entry);
        let create = async {
            if entries.is_empty() { Ok(Vec::new()) } else { self.service.create_entries(&call, entries).await }
        };
        answer(create.await.map(|outcomes| {
            let result = |(status, entry)| batch_create_entry_response::Result { status: Some(status), entry };
            let items = merge(outcomes, problems).map(|outcome| item(outcome, mask));
            BatchCreateEntryResponse { results: items.map(result).collect() }
        }))
    }

    async fn batch_update_entry(&self, request: Request<BatchUpdateEntryRequest>) -> Answer<BatchUpdateEntryResponse> {
        let (call, request) = (self.change("entry.BatchUpdateEntry", &request), request.into_inner());
        let mask = request.output_mask.as_ref();
        let fields = mask::fields(request.input_mask.as_ref());
        let (changes, problems) = sort_out(request.entries, |entry| change(entry, fields));
        let update = async {
            if changes.is_empty() { Ok(Vec::new()) } else { self.service.update_entries(&call, changes).await }
        };
        answer(update.await.map(|outcomes| {
            let result = |(status, entry)| batch_update_entry_response::Result { status: Some(status), entry };
            let items = merge(outcomes, problems).map(|outcome| item(outcome, mask));
            BatchUpdateEntryResponse { results: items.map(result).collect() }
        }))
    }

    async fn batch_delete_entry(&self, request: Request<BatchDeleteEntryRequest>) -> Answer<BatchDeleteEntryResponse> {
        let (call, request) = (self.change("entry.BatchDeleteEntry", &request), request.into_inner());
        let named = request.ids.clone();
        let (ids, problems) = sort_out(request.ids, |id| entry_id(&id, "missing entry ID"));
        let delete =
            async { if ids.is_empty() { Ok(Vec::new()) } else { self.service.delete_entries(&call, ids).await } };
        answer(delete.await.map(|outcomes| {
            let statuses = merge(outcomes, problems).map(|outcome| item(outcome, None).0);
            let result = |(status, id)| batch_delete_entry_response::Result { status: Some(status), id };
            BatchDeleteEntryResponse { results: statuses.zip(named).map(result).collect() }
        }))
    }
}

/// The items that can be asked of the service, and for each item what stands in the way of asking.
fn sort_out<W, T>(items: Vec<W>, parse: impl Fn(W) -> Result<T, Refusal>) -> (Vec<T>, Vec<Option<Refusal>>) {
    let mut asked = Vec::with_capacity(items.len());
    let problems = items.into_iter().map(|item| parse(item).map(|item| asked.push(item)).err()).collect();
    (asked, problems)
}

/// One outcome for each item, in its place.
fn merge(outcomes: Vec<EntryOutcome>, problems: Vec<Option<Refusal>>) -> impl Iterator<Item = EntryOutcome> {
    let mut outcomes = outcomes.into_iter();
    problems.into_iter().map(move |problem| match problem {
        Some(refusal) => EntryOutcome::Refused(refusal),
        None => outcomes.next().unwrap_or_else(|| EntryOutcome::Refused(short_answer())),
    })
}

/// Status and entry of one item. A similar entry is shown with the status that says so.
fn item(outcome: EntryOutcome, mask: Option<&types::EntryMask>) -> (types::Status, Option<types::Entry>) {
    match outcome {
        EntryOutcome::Done(entry) => (item_ok(), Some(mask::entry(from_entry(entry), mask))),
        EntryOutcome::Deleted(_) => (item_ok(), None),
        EntryOutcome::Similar(entry) => {
            let status = to_item(Refusal::new(Reason::AlreadyExists, "similar entry already exists"));
            (status, Some(mask::entry(from_entry(entry), mask)))
        }
        EntryOutcome::Refused(refusal) => (to_item(explained(refusal)), None),
    }
}

/// SPIRE's tools know a bad entry by this text.
fn explained(mut refusal: Refusal) -> Refusal {
    let is_id = matches!(refusal.detail.as_str(), "missing entry ID");
    if refusal.reason == Reason::InvalidArgument && !is_id {
        refusal.detail.insert_str(0, "failed to convert entry: ");
    }
    refusal
}
