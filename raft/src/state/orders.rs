//! The room's own orders: join tokens and the roster. Deterministic: time is cluster time, node ids are counted and never
//! given twice.

use std::collections::BTreeSet;
use std::time::Duration;

use signet_model::time::UnixTime;

use super::overlay::Overlay;
use super::rows::{LAST_NODE_KEY, NODE_PREFIX, REMOVED_PREFIX, TOKEN_PREFIX, TokenRow, prefixed};
use crate::encoding::{EncodingError, unversioned, versioned};
use crate::types::{Membership, Order, OrderOutcome, PeerNode, Pin};

/// Applies one of the room's own orders at a cluster time, which only one of them changes.
pub(crate) fn apply_order(
    rows: &mut Overlay<'_>,
    time: &mut UnixTime,
    membership: &Membership,
    order: &Order,
) -> Result<OrderOutcome, EncodingError> {
    let at = *time;
    match order {
        // Told apart before this is called.
        Order::Application(_) | Order::RaiseFeatureLevel { .. } => Ok(OrderOutcome::Done),
        Order::CreateJoinToken { hash, ttl_millis, caller, verifier, member_key } => {
            forget_old_tokens(rows, at)?;
            let expires_at = at.after(Duration::from_millis(*ttl_millis));
            let (verifier, member_key) = (*verifier, *member_key);
            let row = TokenRow { expires_at, used_by: None, caller: caller.clone(), verifier, member_key };
            rows.write(prefixed(TOKEN_PREFIX, hash), versioned(&row));
            Ok(OrderOutcome::TokenCreated { expires_at })
        }
        Order::ConsumeJoinToken { hash, node } => consume(rows, at, hash, node),
        Order::SetAddress { node, address } => {
            let key = node_key(*node);
            let Some(bytes) = rows.read(&key) else { return Ok(OrderOutcome::UnknownNode) };
            let known: PeerNode = unversioned(&bytes)?;
            rows.write(key, versioned(&PeerNode { address: address.clone(), ..known }));
            Ok(OrderOutcome::Done)
        }
        Order::Forget { node } if membership.get_node(node).is_some() => Ok(OrderOutcome::StillMember),
        Order::Forget { node } => {
            let known = forget(rows, *node)?;
            Ok(if known { OrderOutcome::Done } else { OrderOutcome::UnknownNode })
        }
        Order::ResetTime { to } if at > to.after(TIME_TOLERANCE) => {
            *time = *to;
            Ok(OrderOutcome::TimeReset { before: at })
        }
        Order::ResetTime { .. } => Ok(OrderOutcome::TimeIsRight { now: at }),
    }
}

/// Enters new members of `membership` into the roster and removes from it who was in `before` and is no more.
pub(crate) fn apply_membership(
    rows: &mut Overlay<'_>,
    before: &Membership,
    membership: &Membership,
) -> Result<(), EncodingError> {
    let now: BTreeSet<u64> = membership.nodes().map(|(id, _)| *id).collect();
    for (id, node) in membership.nodes() {
        if rows.read(&node_key(*id)).is_none() {
            rows.write(node_key(*id), versioned(node));
        }
    }
    for (id, _) in before.nodes().filter(|(id, _)| !now.contains(id)) {
        forget(rows, *id)?;
    }
    Ok(())
}

/// Takes a node out of the roster and remembers its key as a removed one's, so that it can be told.
fn forget(rows: &mut Overlay<'_>, id: u64) -> Result<bool, EncodingError> {
    let Some(bytes) = rows.read(&node_key(id)) else { return Ok(false) };
    let known: PeerNode = unversioned(&bytes)?;
    rows.remove(node_key(id));
    rows.write(removed_key(known.pin), versioned(&id));
    Ok(true)
}

/// The row key under which a removed node's key is remembered.
pub(crate) fn removed_key(pin: Pin) -> Vec<u8> {
    prefixed(REMOVED_PREFIX, &pin.0)
}

/// The row key of a member.
pub(crate) fn node_key(id: u64) -> Vec<u8> {
    prefixed(NODE_PREFIX, &id.to_be_bytes())
}

fn consume(rows: &mut Overlay<'_>, at: UnixTime, hash: &[u8], node: &PeerNode) -> Result<OrderOutcome, EncodingError> {
    let key = prefixed(TOKEN_PREFIX, hash);
    let Some(bytes) = rows.read(&key) else { return Ok(OrderOutcome::UnknownToken) };
    let token: TokenRow = unversioned(&bytes)?;
    if let Some(user) = token.used_by {
        // A newcomer whose first answer was lost asks again and must get the same id.
        let Some(known) = rows.read(&node_key(user)) else { return Ok(OrderOutcome::UsedToken) };
        let known: PeerNode = unversioned(&known)?;
        if known.pin != node.pin {
            return Ok(OrderOutcome::UsedToken);
        }
        rows.write(node_key(user), versioned(node));
        return Ok(OrderOutcome::Registered { node: user });
    }
    if at >= token.expires_at {
        return Ok(OrderOutcome::ExpiredToken);
    }
    if rows.read(&removed_key(node.pin)).is_some() {
        return Ok(OrderOutcome::RemovedKey);
    }
    let id = next_node_id(rows)?;
    rows.write(key, versioned(&TokenRow { used_by: Some(id), ..token }));
    rows.write(node_key(id), versioned(node));
    Ok(OrderOutcome::Registered { node: id })
}

/// One more than was ever given: a node that comes back under an old id with an empty log could split the cluster.
fn next_node_id(rows: &mut Overlay<'_>) -> Result<u64, EncodingError> {
    let last: Option<u64> = rows.read(LAST_NODE_KEY).map(|bytes| unversioned(&bytes)).transpose()?;
    let id = last.unwrap_or(FIRST_NODE) + 1;
    rows.write(LAST_NODE_KEY.to_vec(), versioned(&id));
    Ok(id)
}

fn forget_old_tokens(rows: &mut Overlay<'_>, at: UnixTime) -> Result<(), EncodingError> {
    for (key, bytes) in rows.scan_whole(&[TOKEN_PREFIX], &[TOKEN_PREFIX], usize::MAX) {
        let token: TokenRow = unversioned(&bytes)?;
        if at >= token.expires_at.after(TOKEN_MEMORY) {
            rows.remove(key);
        }
    }
    Ok(())
}

/// Cluster time is reset only if it is further ahead than this.
pub(crate) const TIME_TOLERANCE: Duration = Duration::from_secs(2);
/// The id of the node that makes the cluster.
const FIRST_NODE: u64 = 1;
/// For so long an ended token is told "used" or "expired" instead of "unknown".
const TOKEN_MEMORY: Duration = Duration::from_secs(30 * 24 * 3600);
