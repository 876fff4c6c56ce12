//! Whether this node lives, and whether it serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signet_api::health::Health;
use signet_api::tls::Tls;
use signet_model::refusal::{Reason, Refusal};
use signet_raft::Node;

use super::issue::{Issuer, not_initialized};
use super::metrics::Metrics;
use super::rotation::Rotation;

/// The node's health, asked for by orchestrators.
#[derive(Debug)]
pub(crate) struct NodeHealth {
    node: Node,
    issuer: Arc<Issuer>,
    metrics: Arc<Metrics>,
    tls: Arc<Tls>,
    rotation: Arc<Rotation>,
    started: AtomicBool,
    stopping: AtomicBool,
}

impl NodeHealth {
    pub(crate) fn new(
        node: Node,
        issuer: Arc<Issuer>,
        metrics: Arc<Metrics>,
        tls: Arc<Tls>,
        rotation: Arc<Rotation>,
    ) -> Self {
        Self { node, issuer, metrics, tls, rotation, started: AtomicBool::new(false), stopping: AtomicBool::new(false) }
    }

    pub(crate) fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    pub(crate) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}

impl Health for NodeHealth {
    fn live(&self) -> Result<(), Refusal> {
        Ok(())
    }

    fn ready(&self) -> Result<(), Refusal> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Refusal::new(Reason::ShuttingDown, "the node is stopping"));
        }
        self.started()?;
        if self.node.local_status().draining {
            let detail = "this node is drained: `signet cluster drain --undo`, or a restart, lets it take part again";
            return Err(Refusal::new(Reason::ShuttingDown, detail));
        }
        if self.node.identity().is_none() {
            return Err(not_initialized());
        }
        self.issuer.licence()?;
        self.issuer.keys.complete()?;
        if self.tls.is_installed() {
            Ok(())
        } else {
            let detail =
                "this node has no certificate of its own yet, and so no TLS: it gets one a moment after its lease";
            Err(Refusal::new(Reason::NotInitialized, detail))
        }
    }

    fn started(&self) -> Result<(), Refusal> {
        if self.started.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(Refusal::new(Reason::NotInitialized, "the node is starting"))
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.issuer.disk.note().into_iter().collect();
        notes.extend(self.rotation.backends.notes());
        notes.extend(self.issuer.keys.sealed().iter().map(|problem| format!("sealed for a key: {problem}")));
        notes.extend(self.rotation.waiting.note());
        notes
    }

    fn metrics(&self) -> String {
        if let Some(live) = self.issuer.live.current() {
            self.metrics.authorities(&live.issuing);
        }
        let (backends, sealed) = (self.rotation.backends.shown(), self.issuer.keys.sealed().len());
        self.metrics.keys(&backends, sealed, self.rotation.waiting.lasts());
        let backlog = self.issuer.journal.get().map_or(0, super::journal::Journal::backlog);
        self.metrics.render(&self.node.local_status(), self.ready().is_ok(), backlog, &self.issuer.disk.reading())
    }
}
