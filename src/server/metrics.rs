//! What machines watch: OpenMetrics, base units, no identities as labels.

use std::fmt::Write as _;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use signet_api::load::Total;
use signet_model::authority::{Authority, Slot};
use signet_model::record::CredentialKind;
use signet_model::refusal::Refusal;
use signet_raft::{LocalStatus, Role};

use super::backends::{Calls, Health, Shown};
use super::disk::Reading;
use crate::clock;

/// All counters and histograms of this process.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    issue_seconds: Family<IssueLabels, Histogram>,
    exchange_seconds: Family<ResultLabels, Histogram>,
    denied: Family<DeniedLabels, Counter>,
    backups: Family<ResultLabels, Counter>,
    backup_at: Gauge,
    backup_bytes: Gauge,
    authority_ends: Family<AuthorityLabels, Gauge>,
    backend_usable: Family<BackendLabels, Gauge>,
    sealed_keys: Gauge,
    rotation_waits: Gauge,
    load: Total,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssueLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AuthorityLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BackendLabels {
    backend: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeniedLabels {
    reason: &'static str,
}

/// One credential being issued.
#[derive(Debug)]
pub(crate) struct Issuing<'a> {
    metrics: &'a Metrics,
    kind: CredentialKind,
    since: Duration,
}

/// One exchange being answered.
#[derive(Debug)]
pub(crate) struct Exchanging<'a> {
    metrics: &'a Metrics,
    since: Duration,
}

impl Metrics {
    /// `load` is what the public doors hold.
    pub(crate) fn new(load: Total, calls: &Calls) -> Self {
        let mut registry = Registry::with_prefix("signet");
        calls.register(&mut registry);
        let issue_seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        registry.register(
            "issue_duration_seconds",
            "Time to issue a credential, its record included",
            issue_seconds.clone(),
        );
        let exchange_seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        registry.register("exchange_duration_seconds", "Time to answer a token exchange", exchange_seconds.clone());
        let denied = Family::<DeniedLabels, Counter>::default();
        registry.register("denied", "Requests for credentials that were refused, by reason", denied.clone());
        let backups = Family::<ResultLabels, Counter>::default();
        registry.register("backups", "Scheduled backups that this node has taken or failed to take", backups.clone());
        let (backup_at, backup_bytes) = (Gauge::default(), Gauge::default());
        let help = "When the newest scheduled backup was taken, as far as this node knows; 0 if it knows of none";
        registry.register("backup_last_success_timestamp_seconds", help, backup_at.clone());
        registry.register("backup_last_size_bytes", "The size of the last backup this node took", backup_bytes.clone());
        let authority_ends = Family::<AuthorityLabels, Gauge>::default();
        registry.register(
            "authority_not_after_seconds",
            "When the active authority of a kind ends, seconds since the epoch: alarm when less than a third of its life is left",
            authority_ends.clone(),
        );
        let backend_usable = Family::<BackendLabels, Gauge>::default();
        let help = "Whether a key backend worked when it was last tried";
        registry.register("kms_backend_usable", help, backend_usable.clone());
        let (sealed_keys, rotation_waits) = (Gauge::default(), Gauge::default());
        let help = "Keys that this node should hold and could not unwrap: it does not sign with them";
        registry.register("sealed_keys", help, sealed_keys.clone());
        let help =
            "On the leader: for how long a step of the rotation has been due and could not be done; 0 when none is";
        registry.register("rotation_waiting_seconds", help, rotation_waits.clone());
        Self {
            registry,
            issue_seconds,
            exchange_seconds,
            denied,
            backups,
            backup_at,
            backup_bytes,
            authority_ends,
            backend_usable,
            sealed_keys,
            rotation_waits,
            load,
        }
    }

    pub(crate) fn issue(&self, kind: CredentialKind) -> Issuing<'_> {
        Issuing { metrics: self, kind, since: clock::boottime() }
    }

    pub(crate) fn exchange(&self) -> Exchanging<'_> {
        Exchanging { metrics: self, since: clock::boottime() }
    }

    /// Takes over when the active ones of these end.
    pub(crate) fn authorities(&self, authorities: &[Authority]) {
        for active in authorities.iter().filter(|authority| authority.slot == Slot::Active) {
            let ends = i64::try_from(active.not_after.secs()).unwrap_or(i64::MAX);
            self.authority_ends.get_or_create(&AuthorityLabels { kind: active.kind.name() }).set(ends);
        }
    }

    /// Takes over how it stands with keys and their backends.
    pub(crate) fn keys(&self, backends: &[Shown], sealed: usize, waits: Option<Duration>) {
        for shown in backends {
            let usable = i64::from(matches!(shown.health, Health::Usable));
            self.backend_usable.get_or_create(&BackendLabels { backend: shown.name.clone() }).set(usable);
        }
        self.sealed_keys.set(i64::try_from(sealed).unwrap_or(i64::MAX));
        self.rotation_waits.set(i64::try_from(waits.unwrap_or_default().as_secs()).unwrap_or(i64::MAX));
    }

    /// Counts a refusal.
    pub(crate) fn denied(&self, reason: &'static str) {
        self.denied.get_or_create(&DeniedLabels { reason }).inc();
    }

    /// A scheduled backup was taken.
    pub(crate) fn backup_done(&self, at_secs: u64, bytes: u64) {
        self.backups.get_or_create(&ResultLabels { result: "ok" }).inc();
        self.backup_known(at_secs);
        self.backup_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// A scheduled backup was not taken.
    pub(crate) fn backup_failed(&self) {
        self.backups.get_or_create(&ResultLabels { result: "failed" }).inc();
    }

    /// The newest backup is of this time.
    pub(crate) fn backup_known(&self, at_secs: u64) {
        self.backup_at.set(i64::try_from(at_secs).unwrap_or(i64::MAX));
    }

    /// Everything as OpenMetrics text, with what the raft room and the journal say at this moment.
    pub(crate) fn render(&self, raft: &LocalStatus, ready: bool, backlog: usize, disk: &Reading) -> String {
        let mut out = String::new();
        let gauges = [
            ("signet_ready", "Whether this node serves callers", u64::from(ready)),
            ("signet_raft_term", "The raft term", raft.term),
            ("signet_raft_is_leader", "Whether this node leads", u64::from(raft.role == Role::Leader)),
            ("signet_raft_applied_index", "The last log index that was applied", raft.applied),
            ("signet_raft_last_log_index", "The last log index", raft.last_log),
            ("signet_raft_draining", "Whether this node gives up and refuses leadership", u64::from(raft.draining)),
            (
                "signet_raft_clock_is_off",
                "Whether this node's clock is more than two seconds away from the members' median",
                u64::from(raft.clock_is_off),
            ),
            ("signet_issuance_backlog_records", "Issuance records not yet replicated", backlog as u64),
            ("signet_disk_free_bytes", "Room left on the disk of the data directory", disk.space.free),
            ("signet_disk_size_bytes", "The size of the disk of the data directory", disk.space.total),
            ("signet_disk_ballast_bytes", "What deleting the ballast file would free", disk.ballast),
            ("signet_disk_state", "0 ok, 1 low, 2 hand_over, 3 refuse, 4 stop", disk.state as u64),
            ("signet_requests_in_progress", "Requests under way on the public doors", self.load.requests() as u64),
        ];
        for (name, help, value) in gauges {
            // Writing to a `String` cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}");
        }
        let counters = [
            ("signet_raft_log_durable_entries", "Log entries made durable", raft.log_durable_entries),
            ("signet_raft_log_fsyncs", "Fsyncs of the raft log that made entries durable", raft.log_fsyncs),
        ];
        for (name, help, value) in counters {
            let _ = writeln!(out, "# HELP {name} {help}.\n# TYPE {name} counter\n{name}_total {value}");
        }
        if let Some(millis) = raft.clock_ahead_millis {
            let name = "signet_raft_clock_ahead_seconds";
            let help = "How far this node's clock is ahead of the members' median";
            let seconds =
                Duration::from_millis(millis.unsigned_abs()).as_secs_f64() * if millis < 0 { -1.0 } else { 1.0 };
            let _ = writeln!(out, "# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {seconds}");
        }
        let _ = writeln!(
            out,
            "# HELP signet_build_info The program.\n# TYPE signet_build_info gauge\nsignet_build_info{{version=\"{}\"}} 1",
            env!("CARGO_PKG_VERSION")
        );
        let _ = writeln!(
            out,
            "# HELP signet_requests_overload Requests refused because too many were under way.\n# TYPE signet_requests_overload counter\nsignet_requests_overload_total {}",
            self.load.refused()
        );
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

impl Issuing<'_> {
    /// Counts what came of it.
    pub(crate) fn finish<T>(self, result: Result<T, Refusal>) -> Result<T, Refusal> {
        let kind = match self.kind {
            CredentialKind::X509Svid => "x509_svid",
            CredentialKind::JwtSvid => "jwt_svid",
            CredentialKind::TransactionToken => "transaction_token",
        };
        let label = if result.is_ok() { "ok" } else { "refused" };
        self.metrics.issue_seconds.get_or_create(&IssueLabels { kind, result: label }).observe(elapsed(self.since));
        if let Err(refusal) = &result {
            self.metrics.denied(refusal.reason.code());
        }
        result
    }
}

impl Exchanging<'_> {
    /// A token was issued.
    pub(crate) fn done(self) {
        self.observe("ok");
    }

    /// It was refused.
    pub(crate) fn refused(self, reason: &'static str) {
        self.metrics.denied(reason);
        self.observe("refused");
    }

    fn observe(&self, result: &'static str) {
        self.metrics.exchange_seconds.get_or_create(&ResultLabels { result }).observe(elapsed(self.since));
    }
}

fn elapsed(since: Duration) -> f64 {
    clock::boottime().saturating_sub(since).as_secs_f64()
}

/// From 50 µs, doubling, to 1.6 s.
fn histogram() -> Histogram {
    Histogram::new((0..16).map(|nth| 50e-6 * f64::from(1 << nth)))
}

#[cfg(test)]
mod tests {
    use signet_raft::DiskState;

    use super::*;
    use crate::server::disk::{Marks, Space};

    #[test]
    fn metrics_are_open_metrics_text_with_one_end() {
        let metrics = Metrics::new(Total::new(1), &Calls::new());
        let refused: Result<(), _> = metrics.issue(CredentialKind::JwtSvid).finish(Err(Refusal::invalid("no")));
        refused.unwrap_err();
        metrics.exchange().done();
        let status = LocalStatus {
            id: None,
            cluster_id: None,
            role: Role::Unreachable,
            term: 3,
            leader: None,
            applied: 7,
            last_log: 9,
            log_durable_entries: 8,
            log_fsyncs: 3,
            draining: true,
            clock_ahead_millis: Some(-1500),
            clock_is_off: false,
            peers: vec![],
        };
        let space = Space { free: 70, total: 100 };
        let marks = Marks { warn: 80, hand_over: 60, refuse: 40, stop: 10, start: 5 };
        let disk = Reading { space, state: DiskState::Low, marks, ballast: 3 };
        let text = metrics.render(&status, false, 2, &disk);
        assert_eq!(text.matches("# EOF").count(), 1);
        assert!(text.ends_with("# EOF\n"));
        for line in [
            "signet_raft_term 3",
            "signet_raft_draining 1",
            "signet_raft_clock_ahead_seconds -1.5",
            "signet_requests_in_progress 0",
            "signet_requests_overload_total 0",
            "signet_issuance_backlog_records 2",
            "signet_disk_free_bytes 70",
            "signet_disk_state 1",
            "signet_denied_total{reason=\"invalid_argument\"} 1",
            "signet_issue_duration_seconds_count{kind=\"jwt_svid\",result=\"refused\"} 1",
            "signet_exchange_duration_seconds_count{result=\"ok\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        }
    }
}
