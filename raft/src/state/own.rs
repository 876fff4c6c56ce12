//! The room's own rows as a whole, for backups and recovery: read at once, and rewritten for a new cluster.

use rocksdb::{DB, WriteBatch, WriteOptions};
use signet_model::time::UnixTime;

use super::orders::node_key;
use super::overlay::Overlay;
use super::rows::{
    APPLIED_KEY, AppliedRow, CLUSTER_KEY, LAST_NODE_KEY, LINEAGE_KEY, MEMBERSHIP_KEY, Roster, TOKEN_PREFIX, TokenRow,
    read,
};
use super::store::{Position, load_position, load_roster};
use crate::backup::Lineage;
use crate::encoding::{EncodingError, StoredLogId, StoredMembershipForm, unversioned, versioned};
use crate::log::Chain;
use crate::types::{LogId, PeerNode, StoredMembership};

/// What the room itself has in a state.
#[derive(Debug)]
pub(crate) struct StateRows {
    pub(crate) position: Position,
    pub(crate) cluster: Option<Vec<u8>>,
    pub(crate) roster: Roster,
    /// Join tokens that could still be used, and those that were.
    pub(crate) tokens: (u64, u64),
    /// The highest node id that was ever given.
    pub(crate) last_node: u64,
    pub(crate) lineage: Vec<Lineage>,
}

impl StateRows {
    /// Reads and decodes all of them.
    pub(crate) fn read(db: &DB) -> Result<Self, EncodingError> {
        let position = load_position(db)?;
        let roster = load_roster(db)?;
        let given: Option<u64> = read(db, LAST_NODE_KEY).map(|bytes| unversioned(&bytes)).transpose()?;
        let members = position.membership.membership().nodes().map(|(id, _)| *id);
        let last_node = members.chain(roster.keys().copied()).chain(given).max().unwrap_or(0);
        let lineage = read(db, LINEAGE_KEY).map(|bytes| unversioned(&bytes)).transpose()?;
        let tokens = tokens(db)?;
        let used = tokens.iter().filter(|(_, token)| token.used_by.is_some()).count() as u64;
        let unused = tokens.iter().filter(|(_, token)| usable(token, position.time)).count() as u64;
        Ok(Self {
            cluster: read(db, CLUSTER_KEY),
            roster,
            tokens: (unused, used),
            last_node,
            lineage: lineage.unwrap_or_default(),
            position,
        })
    }
}

/// What becomes of a state when it is given to a new cluster.
pub(crate) struct Rewrite {
    pub(crate) cluster: [u8; 16],
    pub(crate) node: u64,
    pub(crate) peer: PeerNode,
    /// The entry with which the new cluster begins.
    pub(crate) at: LogId,
    /// The value of the log's hash chain there.
    pub(crate) chain: Chain,
    pub(crate) membership: StoredMembership,
    pub(crate) lineage: Vec<Lineage>,
}

/// Gives the state to a new cluster of one: nobody else is a member, and no join token can be used. Those that were used
/// stay so. Durable when this returns.
pub(crate) fn rewrite(db: &DB, rows: &StateRows, new: &Rewrite) -> Result<(), String> {
    let mut batch = WriteBatch::default();
    // Their keys are not remembered as removed: a node that is told so for good could not be the way back from a recovery
    // that was a mistake.
    for id in rows.roster.keys() {
        batch.delete(node_key(*id));
    }
    batch.put(node_key(new.node), versioned(&new.peer));
    batch.put(LAST_NODE_KEY, versioned(&new.node));
    batch.put(CLUSTER_KEY, new.cluster);
    batch.put(MEMBERSHIP_KEY, versioned(&StoredMembershipForm::from(&new.membership)));
    let applied = AppliedRow { id: StoredLogId::from(&new.at), time: rows.position.time, chain: Some(new.chain) };
    batch.put(APPLIED_KEY, versioned(&applied));
    batch.put(LINEAGE_KEY, versioned(&new.lineage));
    for (key, token) in tokens(db).map_err(|cause| cause.to_string())? {
        if usable(&token, rows.position.time) {
            // Expired as of now; told so for as long as other expired ones are.
            batch.put(key, versioned(&TokenRow { expires_at: rows.position.time, ..token }));
        }
    }
    let mut durable = WriteOptions::default();
    durable.set_sync(true);
    db.write_opt(batch, &durable).map_err(|cause| cause.to_string())?;
    db.flush().map_err(|cause| cause.to_string())
}

fn usable(token: &TokenRow, now: UnixTime) -> bool {
    token.used_by.is_none() && now < token.expires_at
}

fn tokens(db: &DB) -> Result<Vec<(Vec<u8>, TokenRow)>, EncodingError> {
    let rows = Overlay::new(db).scan_whole(&[TOKEN_PREFIX], &[TOKEN_PREFIX], usize::MAX);
    rows.into_iter().map(|(key, value)| Ok((key, unversioned(&value)?))).collect()
}
