//! Registration entries: from call to command, and lists.

use std::collections::BTreeSet;

use signet_api::service::{Call, Consistency, EntryFilter, EntryPage, Match, Page};
use signet_model::command::{Command, EntryChange, EntryOutcome, Outcome};
use signet_model::entry::{EntryId, EntrySpec, RegistrationEntry};
use signet_model::refusal::{Reason, Refusal};
use signet_model::request_key::RequestKey;
use signet_model::spiffe_id::TrustDomain;
use signet_model::state;
use signet_raft::{Node, View};

use super::{dice, ledger};

pub(super) async fn create(
    node: &Node,
    call: &Call,
    trust_domain: &TrustDomain,
    entries: Vec<(Option<EntryId>, EntrySpec)>,
) -> Result<Vec<EntryOutcome>, Refusal> {
    let (mut batch, mut own_ids) = (Batch::default(), BTreeSet::new());
    for (id, spec) in entries {
        match spec.checked(trust_domain).and_then(federated) {
            Ok(spec) => {
                let id = match id {
                    Some(id) => id,
                    None => {
                        let id = new_id()?;
                        own_ids.insert(id.clone());
                        id
                    }
                };
                batch.send((id, spec));
            }
            Err(refusal) => batch.refuse(refusal),
        }
    }
    batch.run(call, async |call, entries| propose_new(node, call, entries, &own_ids).await).await
}

/// Proposes new entries, and once more when the first proposal's fate is not known, as when the leader just died. An
/// entry that the first one did make is then similar to itself: its id, rolled here, tells. Ids that operators chose
/// tell nothing, so such a batch is proposed once.
async fn propose_new(
    node: &Node,
    call: &Call,
    entries: Vec<(EntryId, EntrySpec)>,
    own_ids: &BTreeSet<EntryId>,
) -> Result<Outcome, Refusal> {
    let ids: Vec<EntryId> = entries.iter().map(|(id, _)| id.clone()).collect();
    let repeatable = ids.iter().all(|id| own_ids.contains(id));
    let command = Command::CreateEntries { entries };
    // With a key the ledger proposes again by itself.
    let repeatable = repeatable && call.request.is_none();
    match ledger::propose(node, call, command.clone()).await {
        Err(refusal) if repeatable && refusal.reason == Reason::DeadlineExceeded => {
            let again = outcomes(ledger::propose(node, call, command).await?)?;
            let made_before = |(outcome, id): (EntryOutcome, EntryId)| match outcome {
                EntryOutcome::Similar(entry) if entry.id == id => EntryOutcome::Done(entry),
                EntryOutcome::Done(_)
                | EntryOutcome::Deleted(_)
                | EntryOutcome::Similar(_)
                | EntryOutcome::Refused(_) => outcome,
            };
            Ok(Outcome::Entries(again.into_iter().zip(ids).map(made_before).collect()))
        }
        result => result,
    }
}

pub(super) async fn update(
    node: &Node,
    call: &Call,
    trust_domain: &TrustDomain,
    changes: Vec<EntryChange>,
) -> Result<Vec<EntryOutcome>, Refusal> {
    // Never from old state: what is proposed is what the entry will be.
    let view = ledger::read(node, &Call { consistency: Consistency::Linearizable, ..call.clone() }).await?;
    // Before anything is held against entries that may have changed since.
    if let Some(done) = ledger::done_before(&view, call)? {
        return outcomes(done);
    }
    let mut batch = Batch::default();
    for mut change in changes {
        let Some(present) = state::entry(&view, &change.id).map_err(ledger::damaged)? else {
            batch.refuse(Refusal::new(Reason::NotFound, "entry not found"));
            continue;
        };
        match state::merged(&present.spec, &change).checked(trust_domain).and_then(federated) {
            Ok(spec) => {
                // As checked: sorted and without duplicates. The fields that count stay the caller's.
                change.spec = spec;
                batch.send(change);
            }
            Err(refusal) => batch.refuse(refusal),
        }
    }
    batch.run(call, async |call, changes| ledger::propose(node, call, Command::UpdateEntries { changes }).await).await
}

pub(super) async fn delete(node: &Node, call: &Call, ids: Vec<EntryId>) -> Result<Vec<EntryOutcome>, Refusal> {
    outcomes(ledger::propose(node, call, Command::DeleteEntries { ids }).await?)
}

pub(super) fn list(view: &View, filter: &EntryFilter, page: &Page) -> Result<EntryPage, Refusal> {
    let size = match page.size {
        0 => LARGEST_PAGE,
        size => usize::try_from(size).unwrap_or(LARGEST_PAGE).min(LARGEST_PAGE),
    };
    let mut found = matching(view, filter, page.after.as_ref(), size + 1)?;
    let more = found.len() > size;
    found.truncate(size);
    let next = if more { found.last().map(|entry| entry.id.clone()) } else { None };
    Ok(EntryPage { entries: found, next })
}

pub(super) fn count(view: &View, filter: &EntryFilter) -> Result<u32, Refusal> {
    Ok(u32::try_from(matching(view, filter, None, usize::MAX)?.len()).unwrap_or(u32::MAX))
}

/// Up to `limit` entries that match, in the order of their ids, by the narrowest index there is.
fn matching(
    view: &View,
    filter: &EntryFilter,
    after: Option<&EntryId>,
    limit: usize,
) -> Result<Vec<RegistrationEntry>, Refusal> {
    let indexed = match (&filter.spiffe_id, &filter.parent_id) {
        (Some(id), _) => Some(state::entries_by_spiffe_id(view, id)),
        (None, Some(id)) => Some(state::children(view, id)),
        (None, None) => None,
    };
    if let Some(mut entries) = indexed.transpose().map_err(ledger::damaged)? {
        entries.retain(|entry| after.is_none_or(|after| entry.id > *after) && matches(filter, entry));
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        entries.truncate(limit);
        return Ok(entries);
    }
    let (mut found, mut after) = (Vec::new(), after.cloned());
    while found.len() < limit {
        let part = state::list(view, after.as_ref(), SCANNED_AT_ONCE).map_err(ledger::damaged)?;
        let Some(last) = part.last() else { break };
        after = Some(last.id.clone());
        found.extend(part.into_iter().filter(|entry| matches(filter, entry)));
    }
    found.truncate(limit);
    Ok(found)
}

/// Bundles of other trust domains cannot be stored yet, so no entry can be given any.
fn federated(spec: EntrySpec) -> Result<EntrySpec, Refusal> {
    match spec.federates_with.first() {
        None => Ok(spec),
        Some(other) => Err(Refusal::new(
            Reason::FailedPrecondition,
            format!("federates_with: unable to find federated bundle: this cluster has no bundle of {other}"),
        )),
    }
}

fn matches(filter: &EntryFilter, entry: &RegistrationEntry) -> bool {
    let spec = &entry.spec;
    filter.spiffe_id.as_ref().is_none_or(|id| *id == spec.spiffe_id)
        && filter.parent_id.as_ref().is_none_or(|id| *id == spec.parent_id)
        && filter.hint.as_ref().is_none_or(|hint| *hint == spec.hint)
        && filter.downstream.is_none_or(|downstream| downstream == spec.downstream)
        && filter.selectors.as_ref().is_none_or(|(set, how)| compares(&spec.selectors, set, *how))
        && filter.federates_with.as_ref().is_none_or(|(set, how)| compares(&spec.federates_with, set, *how))
}

fn compares<T: PartialEq>(own: &[T], asked: &[T], how: Match) -> bool {
    let own_within = || own.iter().all(|one| asked.contains(one));
    let asked_within = || asked.iter().all(|one| own.contains(one));
    match how {
        Match::Exact => own_within() && asked_within(),
        Match::Subset => own_within(),
        Match::Superset => asked_within(),
        Match::Any => asked.iter().any(|one| own.contains(one)),
    }
}

/// A batch of which some members may be refused before anything is proposed; the outcomes keep its order.
struct Batch<T> {
    /// What is proposed.
    sent: Vec<T>,
    /// For each member its refusal, or `None` where the outcome decides.
    refused: Vec<Option<Refusal>>,
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { sent: Vec::new(), refused: Vec::new() }
    }
}

impl<T> Batch<T> {
    fn send(&mut self, member: T) {
        self.sent.push(member);
        self.refused.push(None);
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refused.push(Some(refusal));
    }

    async fn run(
        self,
        call: &Call,
        propose: impl AsyncFnOnce(&Call, Vec<T>) -> Result<Outcome, Refusal>,
    ) -> Result<Vec<EntryOutcome>, Refusal> {
        if let Some(request) = &call.request
            && !self.sent.is_empty()
        {
            // The outcome is remembered whole, so the refusals go along.
            let refused = (0..).zip(self.refused).filter_map(|(place, refused)| Some((place, refused?)));
            let request = RequestKey { refused: refused.collect(), ..request.clone() };
            return outcomes(propose(&Call { request: Some(request), ..call.clone() }, self.sent).await?);
        }
        let decided = if self.sent.is_empty() { Vec::new() } else { outcomes(propose(call, self.sent).await?)? };
        let mut decided = decided.into_iter();
        self.refused
            .into_iter()
            .map(|refused| match refused {
                Some(refusal) => Ok(EntryOutcome::Refused(refusal)),
                None => decided.next().ok_or_else(|| ledger::unexpected(&Outcome::Entries(Vec::new()))),
            })
            .collect()
    }
}

fn outcomes(outcome: Outcome) -> Result<Vec<EntryOutcome>, Refusal> {
    match outcome {
        Outcome::Entries(outcomes) => Ok(outcomes),
        other @ (Outcome::Done
        | Outcome::Refused(_)
        | Outcome::Policy { .. }
        | Outcome::Recorded { .. }
        | Outcome::Remembered { .. }) => Err(ledger::unexpected(&other)),
    }
}

fn new_id() -> Result<EntryId, Refusal> {
    let id = uuid::Builder::from_random_bytes(dice::bytes()?).into_uuid().to_string();
    id.parse().map_err(|cause: signet_model::entry::EntryIdError| Refusal::new(Reason::Internal, cause.to_string()))
}

/// Also SPIRE's page size.
const LARGEST_PAGE: usize = 500;
const SCANNED_AT_ONCE: usize = 1_000;

#[cfg(test)]
mod tests {
    use signet_model::caller::Caller;

    use super::*;

    #[test]
    fn sets_compare_as_the_filter_says() {
        for (own, asked, how, expected) in [
            (vec![1, 2], vec![2, 1], Match::Exact, true),
            (vec![1, 2], vec![1], Match::Exact, false),
            (vec![1], vec![1, 2], Match::Subset, true),
            (vec![1, 3], vec![1, 2], Match::Subset, false),
            (vec![1, 2], vec![1], Match::Superset, true),
            (vec![2], vec![1], Match::Superset, false),
            (vec![1, 3], vec![3, 4], Match::Any, true),
            (vec![1], vec![4], Match::Any, false),
        ] {
            assert_eq!(compares(&own, &asked, how), expected, "{own:?} {asked:?} {how:?}");
        }
    }

    #[test]
    fn a_refused_member_keeps_its_place_in_the_batch() {
        let mut batch = Batch::default();
        batch.send("a".parse::<EntryId>().unwrap());
        batch.refuse(Refusal::invalid("wrong"));
        batch.send("b".parse::<EntryId>().unwrap());
        let call = Call::new(Caller::Anonymous);
        let run =
            batch.run(&call, async |_, ids| Ok(Outcome::Entries(ids.into_iter().map(EntryOutcome::Deleted).collect())));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let outcomes = runtime.block_on(run).unwrap();
        assert!(
            matches!(&outcomes[..], [EntryOutcome::Deleted(a), EntryOutcome::Refused(_), EntryOutcome::Deleted(b)] if a.as_str() == "a" && b.as_str() == "b")
        );
    }
}
