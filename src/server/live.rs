//! What this node serves from: the parts of replicated state that every request needs, ready for use.
//!
//! Refreshed on the apply path whenever one of its spaces changed, so it is as fresh as the node itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use signet_model::authority::{Authority, AuthorityKind};
use signet_model::command::{Outcome, Proposal, Settings};
use signet_model::exchange::Endpoint;
use signet_model::jwks::{DemoRule, KeySet};
use signet_model::policy::Policy;
use signet_model::recipient::NodeBackends;
use signet_model::rows::{Rows, RowsMut, Space};
use signet_model::state::{self, Position};
use signet_model::stored::{StoredFormError, from_bytes, to_bytes_of};
use signet_model::svid::TrustBundle;
use signet_raft::{ApplyContext, StateMachine, UnknownCommand};
use tokio::sync::watch;

use super::entry_cache::EntryCache;

/// One consistent picture of what is replicated.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) settings: Settings,
    pub(crate) bundle: TrustBundle,
    /// The keys of the bundle that verify JWT-SVIDs.
    pub(crate) jwt_svid_keys: KeySet,
    pub(crate) endpoint: Endpoint,
    pub(crate) demo: DemoRule,
    /// Version 0 and nothing allowed before the first policy was applied.
    pub(crate) policy_version: u64,
    pub(crate) policy: Arc<Policy>,
    /// Authorities that sign in memory, of every slot.
    pub(crate) issuing: Vec<Authority>,
    /// What every node last said of its key backends.
    pub(crate) backends: Vec<NodeBackends>,
}

/// Holds [`Live`], keeps it fresh, and tells who waits for changes.
#[derive(Debug)]
pub(crate) struct LiveState {
    current: ArcSwapOption<Live>,
    pub(crate) entries: EntryCache,
    changed: watch::Sender<u64>,
}

impl LiveState {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { current: ArcSwapOption::empty(), entries: EntryCache::new(), changed: watch::Sender::new(0) })
    }

    /// The picture as it is now; `None` before the trust domain was made.
    pub(crate) fn current(&self) -> Option<Arc<Live>> {
        self.current.load_full()
    }

    /// Counts changes of the picture.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn refresh(&self, rows: &dyn Rows) -> Result<(), StoredFormError> {
        let live = Live::load(rows, self.current().as_deref())?;
        self.current.store(live.map(Arc::new));
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }
}

impl Live {
    fn load(rows: &dyn Rows, previous: Option<&Self>) -> Result<Option<Self>, StoredFormError> {
        let (Some(settings), Some(bundle)) = (state::settings(rows)?, state::trust_bundle(rows)?) else {
            return Ok(None);
        };
        let stored = state::policy(rows)?;
        let policy_version = stored.as_ref().map_or(0, |stored| stored.version);
        let policy = match (previous, stored) {
            (Some(previous), _) if previous.policy_version == policy_version => previous.policy.clone(),
            (_, None) => Arc::new(Policy::default()),
            (_, Some(stored)) => Arc::new(Policy::parse(&stored.document).unwrap_or_else(|mistakes| {
                // It was checked before it was proposed, so this can only be a document of a newer program. Fail closed.
                tracing::error!(version = stored.version, %mistakes, "the exchange policy cannot be read by this program: every exchange is refused until the program is upgraded");
                Policy::default()
            })),
        };
        let mut issuing = Vec::new();
        for kind in [AuthorityKind::X509Issuing, AuthorityKind::JwtSvid, AuthorityKind::TransactionToken] {
            issuing.extend(state::authorities(rows, kind)?);
        }
        Ok(Some(Self {
            jwt_svid_keys: KeySet::from_jwt_authorities(&bundle.jwt_authorities),
            endpoint: Endpoint::new(settings.trust_domain.clone(), settings.token_issuer.clone()),
            demo: DemoRule { demo: settings.demo, cluster_id: settings.cluster_id.clone() },
            settings,
            bundle,
            policy_version,
            policy,
            issuing,
            backends: state::backends(rows)?,
        }))
    }
}

/// The highest feature level that this program knows. In a debug build a test can say otherwise, to have programs of two
/// levels in one cluster.
fn known_level() -> u32 {
    #[cfg(debug_assertions)]
    if let Some(level) = std::env::var("SIGNET_TEST_FEATURE_LEVEL").ok().and_then(|level| level.parse().ok()) {
        return level;
    }
    signet_raft::FEATURE_LEVEL
}

/// The meaning of Signet's commands, for the `raft` room.
#[derive(Debug)]
pub(crate) struct Machine(pub(crate) Arc<LiveState>);

impl StateMachine for Machine {
    fn apply(&self, rows: &mut dyn RowsMut, context: ApplyContext, command: &[u8]) -> Result<Vec<u8>, UnknownCommand> {
        let unknown = |cause: StoredFormError| UnknownCommand { detail: cause.to_string() };
        let proposal: Proposal = from_bytes(command).map_err(unknown)?;
        let position = Position { index: context.index, at: context.at };
        let outcome: Outcome = state::apply(rows, position, &proposal).map_err(unknown)?;
        // An outcome holds about what the command held.
        Ok(if context.answered { to_bytes_of(&outcome, command.len() + command.len() / 2) } else { Vec::new() })
    }

    fn feature_level(&self) -> u32 {
        known_level()
    }

    fn applied(&self, rows: &dyn Rows, index: u64, changed: &BTreeSet<Space>) {
        if changed.contains(&Space::Entries) {
            self.0.entries.changed();
        }
        let of_interest = [Space::Meta, Space::Authorities, Space::Policy];
        if !of_interest.iter().any(|space| changed.contains(space)) {
            return;
        }
        if let Err(cause) = self.0.refresh(rows) {
            tracing::error!(index, %cause, "replicated state cannot be read. The node stops: put back its newest snapshot, or remove this node and join a new one");
            std::process::abort();
        }
    }
}
