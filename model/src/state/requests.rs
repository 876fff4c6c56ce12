//! What came of requests that carried an idempotency key, so that a retry is told the same and nothing is done twice.
//!
//! Each caller has a queue in the order of the log. It is bounded in number and in bytes and forgets from its front; the
//! number of queues is bounded too, and callers beyond it share one. All of it depends on nothing but the log.
//!
//! Change log of the stored form:
//! - 2026-11-22: rows `k`, `q` and `o`.

use std::time::Duration;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::{Position, load, store};
use crate::caller::Caller;
use crate::command::{EntryOutcome, Outcome};
use crate::request_key::{RequestKey, owner, reused};
use crate::rows::{Rows, RowsMut, Space};
use crate::stored::{StoredFormError, from_bytes, to_bytes};
use crate::time::UnixTime;

/// What came of one request. Stored form.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
struct Remembered {
    /// The row that finds it.
    #[n(0)]
    found_by: ByteVec,
    /// The digest of what was asked for.
    #[cbor(n(1), with = "minicbor::bytes")]
    request: [u8; 32],
    /// Cluster time.
    #[n(2)]
    at: UnixTime,
    /// The stored form of the [`Outcome`].
    #[n(3)]
    outcome: ByteVec,
}

/// Where it is remembered. Stored form.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
struct Place {
    #[cbor(n(0), with = "minicbor::bytes")]
    queue: [u8; 32],
    #[n(1)]
    number: u64,
}

/// One queue: what is in it are the numbers from `first` up to `next`. Stored form.
#[derive(Debug, Default, PartialEq, Eq, Encode, Decode)]
struct Queue {
    #[n(0)]
    first: u64,
    #[n(1)]
    next: u64,
    #[n(2)]
    bytes: u64,
}

/// What came of the caller's request, if it was carried out before `now` and is still remembered.
///
/// # Errors
/// A row is damaged; the node must stop.
pub fn first_outcome(
    rows: &dyn Rows,
    now: UnixTime,
    caller: &Caller,
    request: &RequestKey,
) -> Result<Option<Outcome>, StoredFormError> {
    let Some(place) = load::<Place>(rows, Space::Requests, &lookup_row(caller, request))? else { return Ok(None) };
    let found: Option<Remembered> = load(rows, Space::Requests, &place_row(&place.queue, place.number))?;
    match found {
        Some(found) if !expired(&found, now) && found.request == request.request => {
            Ok(Some(from_bytes(&found.outcome)?))
        }
        Some(found) if !expired(&found, now) => Ok(Some(Outcome::Refused(reused()))),
        Some(_) | None => Ok(None),
    }
}

/// Does `act` unless it was done before under the same key, and remembers what came of it.
pub(super) fn once(
    rows: &mut dyn RowsMut,
    position: Position,
    caller: &Caller,
    request: &RequestKey,
    act: impl FnOnce(&mut dyn RowsMut) -> Result<Outcome, StoredFormError>,
) -> Result<Outcome, StoredFormError> {
    if let Some(outcome) = first_outcome(rows, position.at, caller, request)? {
        return Ok(outcome);
    }
    let outcome = whole(act(rows)?, &request.refused);
    remember(rows, position.at, caller, request, &outcome)?;
    Ok(outcome)
}

/// The outcomes of all items of a batch, those that were refused before it was proposed in their places.
fn whole(outcome: Outcome, refused: &[(u32, crate::refusal::Refusal)]) -> Outcome {
    let Outcome::Entries(mut outcomes) = outcome else { return outcome };
    // In rising order, so that each insertion finds all items before it in place.
    for (place, refusal) in refused {
        let place = usize::try_from(*place).unwrap_or(usize::MAX).min(outcomes.len());
        outcomes.insert(place, EntryOutcome::Refused(refusal.clone()));
    }
    Outcome::Entries(outcomes)
}

fn remember(
    rows: &mut dyn RowsMut,
    at: UnixTime,
    caller: &Caller,
    request: &RequestKey,
    outcome: &Outcome,
) -> Result<(), StoredFormError> {
    let (id, mut queue) = queue_of(rows, caller)?;
    let found_by = lookup_row(caller, request);
    let remembered = Remembered {
        found_by: found_by.clone().into(),
        request: request.request,
        at,
        outcome: to_bytes(outcome).into(),
    };
    let bytes = to_bytes(&remembered);
    let number = queue.next;
    queue.next += 1;
    queue.bytes += size(&bytes);
    rows.put(Space::Requests, &place_row(&id, number), bytes);
    store(rows, Space::Requests, &found_by, &Place { queue: id, number });
    forget(rows, at, &id, &mut queue)?;
    store(rows, Space::Requests, &queue_row(&id), &queue);
    Ok(())
}

/// Drops what is too old or too much, from the front, but never what was just added. Mostly it is not yet worth looking:
/// the front of a queue lies in rows that nobody has read for long, and reading many in a row costs little more than one.
fn forget(rows: &mut dyn RowsMut, now: UnixTime, id: &[u8; 32], queue: &mut Queue) -> Result<(), StoredFormError> {
    let too_large = queue.bytes > BYTES_IN_A_QUEUE;
    if !too_large && !queue.next.is_multiple_of(LOOK_EVERY) {
        return Ok(());
    }
    let room = if too_large { BYTES_IN_A_QUEUE - BYTES_IN_A_QUEUE / 64 } else { BYTES_IN_A_QUEUE };
    let due = |queue: &Queue, oldest: &Remembered| {
        let too_much = queue.next - queue.first > IN_A_QUEUE || queue.bytes > room;
        queue.first + 1 < queue.next && (too_much || expired(oldest, now))
    };
    match load::<Remembered>(rows, Space::Requests, &place_row(id, queue.first))? {
        Some(oldest) if due(queue, &oldest) => {}
        Some(_) | None => return Ok(()),
    }
    let before_first = queue.first.checked_sub(1).map(|before| place_row(id, before));
    let front = rows.scan(Space::Requests, &[&[PLACE][..], id].concat(), before_first.as_deref(), FORGET_AT_ONCE);
    for (row, bytes) in front {
        let oldest: Remembered = from_bytes(&bytes)?;
        if !due(queue, &oldest) {
            break;
        }
        // Its key may have been used again after its time, and then finds that later request.
        let place: Option<Place> =
            if expired(&oldest, now) { load(rows, Space::Requests, &oldest.found_by)? } else { None };
        if place.is_none_or(|place| place.queue == *id && place.number == queue.first) {
            rows.delete(Space::Requests, &oldest.found_by);
        }
        rows.delete(Space::Requests, &row);
        queue.bytes = queue.bytes.saturating_sub(size(&bytes));
        queue.first += 1;
    }
    Ok(())
}

/// The caller's queue, or the shared one when there are too many.
fn queue_of(rows: &dyn Rows, caller: &Caller) -> Result<([u8; 32], Queue), StoredFormError> {
    let own = owner(caller);
    if let Some(queue) = load(rows, Space::Requests, &queue_row(&own))? {
        return Ok((own, queue));
    }
    if rows.scan(Space::Requests, &[QUEUE], None, QUEUES).len() < QUEUES {
        return Ok((own, Queue::default()));
    }
    Ok((SHARED, load(rows, Space::Requests, &queue_row(&SHARED))?.unwrap_or_default()))
}

/// What is wrong with a row, if anything is.
pub(super) fn judge(rows: &dyn Rows, key: &[u8], value: &[u8]) -> Result<(), String> {
    let damaged = |cause: StoredFormError| cause.to_string();
    match key.first() {
        Some(&LOOKUP) => {
            let place: Place = from_bytes(value).map_err(damaged)?;
            let found: Option<Remembered> =
                load(rows, Space::Requests, &place_row(&place.queue, place.number)).map_err(damaged)?;
            let leads_back = found.is_some_and(|found| found.found_by.as_slice() == key);
            if leads_back { Ok(()) } else { Err("it leads to no outcome of its own".to_owned()) }
        }
        Some(&PLACE) => {
            let remembered: Remembered = from_bytes(value).map_err(damaged)?;
            let _: Outcome = from_bytes(&remembered.outcome).map_err(damaged)?;
            Ok(())
        }
        Some(&QUEUE) => {
            let queue: Queue = from_bytes(value).map_err(damaged)?;
            let present =
                rows.scan(Space::Requests, &[&[PLACE], key.get(1..).unwrap_or(&[])].concat(), None, usize::MAX);
            if u64::try_from(present.len()) == Ok(queue.next.saturating_sub(queue.first)) {
                Ok(())
            } else {
                Err(format!("it counts from {} to {} and has {} rows", queue.first, queue.next, present.len()))
            }
        }
        Some(_) | None => Err("no kind of row that this program knows".to_owned()),
    }
}

fn expired(remembered: &Remembered, now: UnixTime) -> bool {
    remembered.at.after(MEMORY) <= now
}

fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Stored form: `k`, the caller's digest, the key's digest.
fn lookup_row(caller: &Caller, request: &RequestKey) -> Vec<u8> {
    [&[LOOKUP][..], &owner(caller), &request.key].concat()
}

/// Stored form: `q`, the queue, the number.
fn place_row(queue: &[u8; 32], number: u64) -> Vec<u8> {
    [&[PLACE][..], queue, &number.to_be_bytes()].concat()
}

/// Stored form: `o`, the queue.
fn queue_row(queue: &[u8; 32]) -> Vec<u8> {
    [&[QUEUE][..], queue].concat()
}

const LOOKUP: u8 = b'k';
const PLACE: u8 = b'q';
const QUEUE: u8 = b'o';
/// No caller's digest: SHA-256 of nothing known.
const SHARED: [u8; 32] = [0; 32];

/// How long an outcome is remembered, unless there are too many.
const MEMORY: Duration = Duration::from_hours(24);
/// Outcomes that one caller can make the cluster remember: some seconds of its fullest speed, days of an operator's.
const IN_A_QUEUE: u64 = 65_536;
/// The same in bytes. With the queues there can be, that is 1 GiB of disk at the very worst.
const BYTES_IN_A_QUEUE: u64 = 64 << 20;
/// Callers with a queue of their own.
const QUEUES: usize = 15;
/// How many requests of a queue pass between two looks at its front.
const LOOK_EVERY: u64 = 32;
/// So many at one look keep the work of one command bounded and still outrun those that are added.
const FORGET_AT_ONCE: usize = 64;

#[cfg(test)]
mod tests;
