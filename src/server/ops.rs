//! What an operator asks of this node: how it is, what a bug report needs, and which feature level its cluster is at.

mod redact;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use signet_api::health::Health as _;
use signet_api::ops::{Check, DebugFile, Ops, UpgradeLevel, UpgradeNode, UpgradeStatus};
use signet_api::service::{Call, Service as _};
use signet_model::authority::{AuthorityKind, Slot};
use signet_model::refusal::{Reason, Refusal};
use signet_model::state;
use signet_raft::{FEATURES, FeatureStatus, RaiseError, Timings};

use super::backends::Health;
use super::config::DiskConfig;
use super::health::NodeHealth;
use super::journal::Journal;
use super::service::NodeService;
use super::{ledger, logging};
use crate::clock;
use crate::doctor::{self, Expiry, Place};

/// What this node was started with.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) config_file: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) disk: DiskConfig,
    pub(crate) timings: Timings,
    pub(crate) health: std::sync::OnceLock<Arc<NodeHealth>>,
}

#[async_trait]
impl Ops for NodeService {
    async fn diagnose(&self, call: &Call) -> Result<Vec<Check>, Refusal> {
        let timeout = ledger::timeout(call).min(STATUS);
        let (status, features, probes) = tokio::join!(
            self.node.cluster_status(timeout),
            self.node.feature_status(timeout),
            self.node.probe_peers(ROUNDS, timeout),
        );
        // After the round trips, which the writing would disturb.
        let started = self.started.clone();
        let local = tokio::task::spawn_blocking(move || {
            let Started { data_dir, disk, timings, .. } = &*started;
            doctor::local(&Place { data_dir, disk: *disk, timings })
        });
        let mut checks = local.await.map_err(|cause| Refusal::new(Reason::Internal, cause.to_string()))?;
        if self.node.identity().is_none() {
            let why = "this node belongs to no cluster yet";
            checks.extend(doctor::ONLINE.map(|name| doctor::skipped(name, why)));
            return Ok(checks);
        }
        checks.extend([
            doctor::quorum(&status),
            doctor::clocks(&probes),
            doctor::peers(&probes, &self.started.timings),
            doctor::versions(&status),
            doctor::upgrade(&features),
            doctor::authorities(&self.expiries()?, clock::now()),
            doctor::journal(self.issuer.journal.get().map(Journal::backlog)),
            self.key_check(),
        ]);
        Ok(checks)
    }

    async fn collect_debug(&self, call: &Call) -> Result<Vec<DebugFile>, Refusal> {
        let checks = self.diagnose(call).await?;
        let status = self.cluster_status(call).await?;
        let features = self.node.feature_status(STATUS).await;
        let text = |name: &str, content: String| DebugFile { name: name.to_owned(), content: content.into_bytes() };
        let config = match std::fs::read_to_string(&self.started.config_file) {
            Ok(config) => redact::config(&config),
            Err(cause) => format!("{}: {cause}\n", self.started.config_file.display()),
        };
        let checks: Vec<_> = checks.iter().map(show_check).collect();
        let metrics = self.started.health.get().map(|health| health.metrics()).unwrap_or_default();
        let ready = self.started.health.get().map(|health| match health.ready() {
            Ok(()) => json!({ "ready": true, "notes": health.notes() }),
            Err(refusal) => json!({ "ready": false, "reason": refusal.reason.code(), "detail": refusal.detail }),
        });
        let mut files = vec![
            text("version.txt", format!("signet {}\n{}\n", env!("CARGO_PKG_VERSION"), kernel())),
            text("config.toml", config),
            text("doctor.json", pretty(&json!(checks))),
            text("ready.json", pretty(&json!(ready))),
            text("metrics.txt", metrics),
            text("cluster-status.txt", format!("{status:#?}\n")),
            text("local-status.txt", format!("{:#?}\n", self.node.local_status())),
            text("feature-level.txt", format!("{features:#?}\n")),
            text("journal.json", pretty(&self.journal_positions())),
            DebugFile { name: "log.txt".to_owned(), content: logging::recent() },
        ];
        files.extend(self.node.debug_texts().into_iter().map(|(name, content)| text(&format!("{name}.txt"), content)));
        Ok(files)
    }

    async fn upgrade_status(&self, call: &Call) -> Result<UpgradeStatus, Refusal> {
        Ok(shown(self.node.feature_status(ledger::timeout(call).min(STATUS)).await))
    }

    async fn finalize_upgrade(&self, call: &Call, dry_run: bool) -> Result<UpgradeStatus, Refusal> {
        match self.node.raise_feature_level(dry_run, ledger::timeout(call)).await {
            Ok(status) => {
                if !dry_run {
                    tracing::info!(caller = %call.caller, level = status.in_force, "raised the feature level");
                }
                Ok(shown(status))
            }
            Err(cause @ RaiseError::Obstacles { .. }) => {
                Err(Refusal::new(Reason::FailedPrecondition, cause.to_string()))
            }
            Err(cause @ RaiseError::Changed) => Err(Refusal::new(Reason::Conflict, cause.to_string())),
            Err(RaiseError::Propose(cause)) => Err(ledger::not_proposed(cause)),
        }
    }
}

impl NodeService {
    /// When what this node signs with, and what it is believed by, ends.
    fn expiries(&self) -> Result<Vec<Expiry>, Refusal> {
        let mut found = Vec::new();
        if self.issuer.live.current().is_none() {
            return Ok(found);
        }
        let view = self.node.view();
        for kind in AuthorityKind::ALL {
            let notice = match kind {
                AuthorityKind::X509Root => ROOT_NOTICE,
                AuthorityKind::X509Issuing | AuthorityKind::JwtSvid | AuthorityKind::TransactionToken => NOTICE,
            };
            for authority in state::authorities(&view, *kind).map_err(ledger::damaged)? {
                if authority.slot == Slot::Active {
                    let what = format!("{} {}", kind.name(), authority.id);
                    // A key that lives for hours only is renewed at half of its life.
                    let life = authority.not_after.since(authority.created_at);
                    found.push(Expiry { what, not_after: authority.not_after, notice: notice.min(life / 4) });
                }
            }
        }
        Ok(found)
    }

    /// How it stands with this node's keys and key backends.
    fn key_check(&self) -> Check {
        let backends = &self.rotation.backends;
        let wrong = backends.shown().into_iter().filter(|shown| !matches!(shown.health, Health::Usable)).count();
        let mut problems = self.issuer.keys.sealed().as_ref().clone();
        let sealed = !problems.is_empty();
        problems.extend(backends.notes());
        problems.extend(self.rotation.waiting.note());
        doctor::keys(&backends.described(), wrong, sealed, &problems)
    }

    fn journal_positions(&self) -> serde_json::Value {
        let node = self.node.identity().map(|identity| identity.node_id);
        let replicated = node.and_then(|node| state::committed_position(&self.node.view(), node).ok());
        let waiting = self.issuer.journal.get().map(Journal::backlog);
        json!({ "replicated_up_to": replicated, "waiting": waiting })
    }
}

/// A check as scripts see it.
pub(crate) fn show_check(check: &Check) -> serde_json::Value {
    json!({
        "name": check.name,
        "verdict": check.verdict.as_str(),
        "measured": check.measured,
        "problem": check.problem,
        "fix": check.fix,
    })
}

fn shown(status: FeatureStatus) -> UpgradeStatus {
    let next = FEATURES.iter().filter(|feature| feature.level > status.in_force);
    UpgradeStatus {
        level: status.in_force,
        known: status.known,
        stale: !status.confirmed,
        next: next.map(|feature| UpgradeLevel { level: feature.level, brings: feature.brings.to_owned() }).collect(),
        obstacles: if status.in_force < status.known { status.obstacles() } else { Vec::new() },
        nodes: status
            .nodes
            .into_iter()
            .map(|node| UpgradeNode { id: node.id, knows: node.supports, version: node.version })
            .collect(),
    }
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

fn kernel() -> String {
    let kernel = rustix::system::uname();
    format!("{} {}", kernel.sysname().to_string_lossy(), kernel.release().to_string_lossy())
}

const STATUS: Duration = Duration::from_secs(2);
/// Enough for a p99 that means something, few enough to be done at once.
const ROUNDS: usize = 100;
const NOTICE: Duration = Duration::from_hours(24 * 30);
const ROOT_NOTICE: Duration = Duration::from_hours(24 * 365);
