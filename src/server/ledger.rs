//! The replicated ledger as use-cases need it: propose on somebody's behalf, read what is linearizable.

use std::time::Duration;

use signet_api::service::{Call, Consistency};
use signet_model::caller::Caller;
use signet_model::command::{Command, Outcome, Proposal};
use signet_model::refusal::{Reason, Refusal};
use signet_model::request_key::RequestKey;
use signet_model::state;
use signet_model::stored::{StoredFormError, from_bytes, to_bytes};
use signet_raft::{Applied, BarrierError, Node, ProposeError, View};

/// Proposes `command` on behalf of `call`'s caller.
///
/// # Errors
/// Why it was not carried out; or [`Reason::DeadlineExceeded`] when nobody knows whether it was.
pub(crate) async fn propose(node: &Node, call: &Call, command: Command) -> Result<Outcome, Refusal> {
    match &call.request {
        None => propose_as(node, call.caller.clone(), command, timeout(call)).await,
        Some(request) => propose_once(node, call, command, request.clone()).await,
    }
}

/// Proposes `command` under the call's idempotency key, so that it is carried out once however often it is asked for.
/// For the same reason it is proposed again here when its fate is not known, as when the leader just died.
///
/// # Errors
/// As [`propose`].
pub(crate) async fn propose_once(
    node: &Node,
    call: &Call,
    command: Command,
    request: RequestKey,
) -> Result<Outcome, Refusal> {
    let proposal = to_bytes(&Proposal { caller: call.caller.clone(), command, request: Some(request) });
    let limit = timeout(call);
    let work = async {
        let mut certain = true;
        loop {
            match node.propose(proposal.clone(), limit).await {
                Ok(applied) => return outcome_of(&applied),
                Err(ProposeError::Unknown) => certain = false,
                Err(cause) if certain => return Err(not_proposed(cause)),
                // This one was not proposed, but one before it may have been.
                Err(_) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(not_proposed(ProposeError::Unknown)))
}

/// What came of the call's request if it was carried out before: the answer to a retry.
///
/// # Errors
/// The refusal that the first attempt was given, or of another request under its key.
pub(crate) fn done_before(view: &View, call: &Call) -> Result<Option<Outcome>, Refusal> {
    let Some(request) = &call.request else { return Ok(None) };
    match state::first_outcome(view, view.cluster_time(), &call.caller, request).map_err(damaged)? {
        Some(Outcome::Refused(refusal)) => Err(refusal),
        found => Ok(found),
    }
}

/// Proposes `command` on behalf of `caller`.
///
/// # Errors
/// As [`propose`].
pub(crate) async fn propose_as(
    node: &Node,
    caller: Caller,
    command: Command,
    timeout: Duration,
) -> Result<Outcome, Refusal> {
    let proposal = to_bytes(&Proposal { caller, command, request: None });
    outcome_of(&node.propose(proposal, timeout).await.map_err(not_proposed)?)
}

fn outcome_of(applied: &Applied) -> Result<Outcome, Refusal> {
    match from_bytes(&applied.outcome).map_err(damaged)? {
        Outcome::Refused(refusal) => Err(refusal),
        outcome @ (Outcome::Done
        | Outcome::Entries(_)
        | Outcome::Policy { .. }
        | Outcome::Recorded { .. }
        | Outcome::Remembered { .. }) => Ok(outcome),
    }
}

/// A view that covers every write which anyone was told of before this call; or, if the caller is content with that, what
/// this node has.
///
/// # Errors
/// No quorum, or this node lags too far: retry, here or elsewhere.
pub(crate) async fn read(node: &Node, call: &Call) -> Result<View, Refusal> {
    match call.consistency {
        Consistency::Linearizable => barrier(node, timeout(call)).await?,
        Consistency::Stale if node.identity().is_none() => return Err(super::issue::not_initialized()),
        Consistency::Stale => {}
    }
    let view = node.view();
    call.covers.note(view.index());
    Ok(view)
}

/// Waits until local state covers every write which anyone was told of before this call.
///
/// # Errors
/// As [`read`].
pub(crate) async fn barrier(node: &Node, timeout: Duration) -> Result<(), Refusal> {
    node.barrier(timeout).await.map(|_| ()).map_err(not_read)
}

/// How long to work on `call`: nearly as long as its caller waits, so that they still hear why, within bounds.
pub(crate) fn timeout(call: &Call) -> Duration {
    let patience = call.timeout.unwrap_or(DEFAULT_TIMEOUT).min(LONGEST_TIMEOUT);
    patience.saturating_sub((patience / 10).min(WAY_BACK))
}

/// The refusal for state that cannot be read.
pub(crate) fn damaged(cause: StoredFormError) -> Refusal {
    tracing::error!(%cause, "replicated state cannot be read");
    Refusal::new(Reason::Internal, "this node cannot read its replicated state; ask another node")
}

/// The refusal for an outcome that belongs to another command.
pub(crate) fn unexpected(outcome: &Outcome) -> Refusal {
    tracing::error!(?outcome, "an outcome of another command");
    Refusal::new(Reason::Internal, "the cluster gave an answer to another command; ask another node")
}

pub(crate) fn not_proposed(error: ProposeError) -> Refusal {
    let reason = match error {
        ProposeError::NoQuorum => Reason::NoQuorum,
        ProposeError::Unknown => Reason::DeadlineExceeded,
        ProposeError::Overloaded | ProposeError::NoSpace(_) => Reason::ResourceExhausted,
        ProposeError::TooLarge { .. } => Reason::InvalidArgument,
        ProposeError::NotMember => return super::issue::not_initialized(),
        ProposeError::ShuttingDown => Reason::ShuttingDown,
    };
    Refusal::new(reason, error.to_string())
}

/// The refusal for a read that could not be made linearizable.
pub(crate) fn not_read(error: BarrierError) -> Refusal {
    let reason = match error {
        BarrierError::NoQuorum | BarrierError::Behind => Reason::NoQuorum,
        BarrierError::NotMember => return super::issue::not_initialized(),
        BarrierError::ShuttingDown => Reason::ShuttingDown,
    };
    Refusal::new(reason, error.to_string())
}

/// Time for an answer to reach whoever waits for it.
const WAY_BACK: Duration = Duration::from_millis(200);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Before a command of unknown fate is proposed again.
const PAUSE: Duration = Duration::from_millis(50);
