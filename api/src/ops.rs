//! What the door for operators needs from behind it, besides what every caller can ask.

use async_trait::async_trait;
use signet_model::refusal::Refusal;

use crate::service::Call;

/// A node as somebody who looks after it asks it.
#[async_trait]
pub trait Ops: Send + Sync + 'static {
    /// Measures and judges this node and what it sees of the others.
    async fn diagnose(&self, call: &Call) -> Result<Vec<Check>, Refusal>;
    /// What a bug report needs, without any secret.
    async fn collect_debug(&self, call: &Call) -> Result<Vec<DebugFile>, Refusal>;
    /// The feature level in force and what each member's program knows.
    async fn upgrade_status(&self, call: &Call) -> Result<UpgradeStatus, Refusal>;
    /// Raises the feature level by one, or only says whether it would.
    async fn finalize_upgrade(&self, call: &Call, dry_run: bool) -> Result<UpgradeStatus, Refusal>;
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// Something will go wrong, or is not as it should be.
    Warn,
    /// Something is wrong.
    Fail,
    /// It could not be looked at.
    Skipped,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Warn, Self::Fail, Self::Skipped];

    /// The word for it, stable for scripts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What; stable for scripts.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was measured; for a skipped check, why it was.
    pub measured: String,
    /// What is wrong; empty if nothing is.
    pub problem: String,
    /// What to do about it; empty if nothing is wrong.
    pub fix: String,
}

/// A part of a bug report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebugFile {
    /// Its name, without a directory.
    pub name: String,
    /// Text.
    pub content: Vec<u8>,
}

/// Where a cluster's feature level stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeStatus {
    /// The level in force.
    pub level: u32,
    /// The highest level that the answering node's program knows.
    pub known: u32,
    /// No quorum confirmed this.
    pub stale: bool,
    /// The members.
    pub nodes: Vec<UpgradeNode>,
    /// What the levels above the one in force bring, in order.
    pub next: Vec<UpgradeLevel>,
    /// Why the level cannot be raised now; empty if it can.
    pub obstacles: Vec<String>,
}

/// A member's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeNode {
    /// The member.
    pub id: u64,
    /// The highest level it knows; `None` if it did not answer.
    pub knows: Option<u32>,
    /// Its version; `None` if it did not answer.
    pub version: Option<String>,
}

/// A feature level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeLevel {
    /// Its number.
    pub level: u32,
    /// What it brings.
    pub brings: String,
}
