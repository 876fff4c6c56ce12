//! Feature levels: what all programs of a cluster must know before any of them may propose it.
//!
//! The level in force is replicated. A program that knows a higher one proposes nothing of it until an operator has raised
//! the level, which takes every member, voters and learners, to know it. A program that knows less than the level in
//! force does not start and is not let in: it would have to stop at the first command it does not know.

use std::io;
use std::time::Duration;

use signet_model::stored::from_bytes;

use crate::encoding::{EncodingError, unversioned, versioned};
use crate::error::ProposeError;
use crate::node::Node;
use crate::state::{FEATURE_KEY, Overlay};
use crate::status::{NodeStatus, Role};
use crate::types::{Order, OrderOutcome};

/// A level and what it brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Its number.
    pub level: u32,
    /// What an operator gets by raising to it.
    pub brings: &'static str,
}

/// Every level that this program knows, in order. A new stored form or command comes with a new level here, and its
/// proposer asks [`Node::feature_level`] first.
pub const FEATURES: &[Feature] = &[Feature { level: 1, brings: "the first release" }];

/// The highest level that this program knows.
pub const FEATURE_LEVEL: u32 = 1;

/// Where a cluster's feature level stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureStatus {
    /// Whether a quorum confirmed it.
    pub confirmed: bool,
    /// The level in force.
    pub in_force: u32,
    /// The highest level that the answering node's program knows.
    pub known: u32,
    /// The members and what each knows.
    pub nodes: Vec<NodeStatus>,
}

impl FeatureStatus {
    /// Why the level cannot be raised to the next one now; empty if it can.
    #[must_use]
    pub fn obstacles(&self) -> Vec<String> {
        let next = self.in_force + 1;
        if self.known < next {
            return vec![format!("level {} is the highest that this node's program knows", self.known)];
        }
        let obstacle = |node: &NodeStatus| match (node.role, node.supports) {
            (Role::Unreachable, _) | (_, None) => Some(format!(
                "node {} ({}) does not answer, and might not know level {next}: start it, or remove it from the cluster",
                node.id, node.address
            )),
            (_, Some(knows)) if knows < next => Some(format!(
                "node {} runs version {}, which knows level {knows} only: upgrade its program",
                node.id,
                node.version.as_deref().unwrap_or("unknown")
            )),
            (_, Some(_)) => None,
        };
        let mut obstacles: Vec<String> = self.nodes.iter().filter_map(obstacle).collect();
        if !self.confirmed {
            obstacles.push("no leader with a quorum confirmed the members: retry".to_owned());
        }
        obstacles
    }
}

/// The level was not raised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RaiseError {
    /// The program of a member does not know the next level, or nobody can tell.
    #[error("the feature level stays at {in_force}: {}", .obstacles.join("; "))]
    Obstacles {
        /// The level in force.
        in_force: u32,
        /// What stands in the way, each a sentence.
        obstacles: Vec<String>,
    },
    /// Level or membership changed meanwhile. Nothing was changed by this call; look again.
    #[error("level or membership changed meanwhile; nothing was changed: look at the status and try again")]
    Changed,
    /// It could not be proposed.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

impl Node {
    /// The feature level in force: nothing of a higher one may be proposed.
    #[must_use]
    pub fn feature_level(&self) -> u32 {
        self.inner.state.feature_level()
    }

    /// Asks every member which level its program knows.
    pub async fn feature_status(&self, timeout: Duration) -> FeatureStatus {
        let status = self.cluster_status(timeout).await;
        FeatureStatus {
            confirmed: status.confirmed,
            in_force: self.feature_level(),
            known: self.inner.state.known_level(),
            nodes: status.nodes,
        }
    }

    /// Raises the level in force by one, if every member knows it; with `dry_run` only says whether it would. Returns how
    /// it stands then.
    ///
    /// # Errors
    /// See [`RaiseError`]. [`ProposeError::Unknown`]: it may have been raised; look.
    pub async fn raise_feature_level(&self, dry_run: bool, timeout: Duration) -> Result<FeatureStatus, RaiseError> {
        let member = self.member().ok_or(ProposeError::NotMember)?;
        // Before the members are asked: whoever is made one meanwhile spoils the comparison.
        let membership = member.state.membership_index();
        let mut status = self.feature_status(timeout).await;
        let obstacles = status.obstacles();
        if !obstacles.is_empty() {
            return Err(RaiseError::Obstacles { in_force: status.in_force, obstacles });
        }
        if dry_run {
            return Ok(status);
        }
        let order = Order::RaiseFeatureLevel { from: status.in_force, to: status.in_force + 1, membership };
        let placed = member.propose(order, timeout).await?;
        match from_bytes(&placed.outcome.body) {
            Ok(OrderOutcome::Done) => {
                status.in_force = self.feature_level();
                Ok(status)
            }
            Ok(_) | Err(_) => Err(RaiseError::Changed),
        }
    }

    /// A new cluster begins with all that its founder knows.
    pub(crate) async fn begin_with_what_is_known(&self, timeout: Duration) -> Result<(), ProposeError> {
        let known = self.inner.state.known_level();
        while self.feature_level() < known {
            let from = self.feature_level();
            match self.raise_feature_level(false, timeout).await {
                Ok(status) if status.in_force > from => {}
                Err(RaiseError::Propose(error)) => return Err(error),
                Ok(_) | Err(RaiseError::Changed | RaiseError::Obstacles { .. }) => return Err(ProposeError::NoQuorum),
            }
        }
        Ok(())
    }
}

/// Applies a raise: by comparison with what the proposer saw. Fails, so that the node stops, where its program does not
/// know the level.
pub(crate) fn apply(
    rows: &mut Overlay<'_>,
    known: u32,
    membership_now: u64,
    (from, to, membership): (u32, u32, u64),
) -> io::Result<OrderOutcome> {
    let in_force = read(rows.read(FEATURE_KEY).as_deref())?;
    if in_force != from || membership_now != membership || to <= from {
        return Ok(OrderOutcome::Changed);
    }
    if to > known {
        return Err(io::Error::other(too_old(to, known)));
    }
    rows.write(FEATURE_KEY.to_vec(), versioned(&to));
    Ok(OrderOutcome::Done)
}

/// The level in a state's row; the first where there is none.
pub(crate) fn read(row: Option<&[u8]>) -> Result<u32, EncodingError> {
    row.map_or(Ok(FIRST), unversioned)
}

/// What is said where a program knows less than the level in force.
pub(crate) fn too_old(in_force: u32, known: u32) -> String {
    format!(
        "this program is too old for this cluster: it knows feature level {known}, and level {in_force} is in force; install \
         the version that the other nodes run"
    )
}

/// What every program knows.
pub(crate) const FIRST: u32 = 1;
