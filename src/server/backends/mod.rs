//! The key backends of this node: opened, tried now and then, and known by the recipients whose keys they have.
//!
//! Each may be away at any time, also when the node starts. Nobody who asks for a credential waits for one.

mod calls;
mod report;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use signet_kms::uri::KeyUri;
use signet_kms::{Backend, KmsError, Wrapper as _};
use signet_model::authority::{Authority, StoredKey};
use signet_model::recipient::{BackendState, Recipients};
use signet_model::refusal::{Reason, Refusal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use self::calls::Calls;
use self::calls::Counted;
pub(super) use self::report::keep as report;
use super::config::{KeyBackend, KeysConfig};
use crate::clock;

/// The key backends of this node's configuration, in its order.
#[derive(Debug)]
pub(crate) struct Backends {
    all: Vec<Arc<Configured>>,
    pub(crate) calls: Arc<Calls>,
    probe: Duration,
    changed: watch::Sender<u64>,
}

/// One of them.
#[derive(Debug)]
struct Configured {
    uri: KeyUri,
    name: String,
    /// `None` while it was never reached, and while a key file is away: what cannot be read any more is not kept either.
    opened: ArcSwapOption<Opened>,
    /// How it is, and the key-encryption key that it was last seen to have.
    known: Mutex<(Health, Option<String>)>,
}

/// A backend that has told which key-encryption key it has.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) recipient: String,
    backend: Counted,
}

impl Opened {
    /// Its calls are counted, and none lasts longer than some seconds.
    pub(crate) fn backend(&self) -> &dyn Backend {
        &self.backend
    }
}

/// How it is, as far as this node knows.
#[derive(Debug, Clone)]
pub(crate) enum Health {
    /// Being tried for the first time.
    Probing,
    /// It worked when it was last tried.
    Usable,
    /// It did not, since this moment of the boot clock, and why.
    Failing { since: Duration, problem: String },
}

impl Health {
    /// The word for it, stable for scripts.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Probing => "probing",
            Self::Usable => "usable",
            Self::Failing { .. } => "failing",
        }
    }
}

/// One backend as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) recipient: Option<String>,
    pub(crate) health: Health,
}

impl Backends {
    /// Opens nothing yet.
    pub(crate) fn new(config: &KeysConfig, calls: Arc<Calls>) -> Arc<Self> {
        let configured = |KeyBackend { uri, text }: &KeyBackend| {
            Arc::new(Configured {
                uri: uri.clone(),
                // It says where secrets are and holds none.
                name: text.clone(),
                opened: ArcSwapOption::empty(),
                known: Mutex::new((Health::Probing, None)),
            })
        };
        let all = config.backends.iter().map(configured).collect();
        Arc::new(Self { all, calls, probe: config.probe, changed: watch::Sender::new(0) })
    }

    /// Tries each once, all at a time, and waits for that within a bound.
    pub(crate) async fn first_look(self: &Arc<Self>) {
        let mut looks = tokio::task::JoinSet::new();
        for one in &self.all {
            let (this, one) = (self.clone(), one.clone());
            looks.spawn(async move { this.look(&one).await });
        }
        let all = async { while looks.join_next().await.is_some() {} };
        // Whoever is slower is tried again beside everything else.
        let _ = tokio::time::timeout(FIRST_LOOK, all).await;
    }

    /// Tries each now and then, until `stop`.
    pub(crate) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut keeping = tokio::task::JoinSet::new();
        for one in &self.all {
            let (this, one, stop) = (self.clone(), one.clone(), stop.clone());
            keeping.spawn(async move {
                loop {
                    let pause = match one.shown().health {
                        Health::Probing => Duration::ZERO,
                        Health::Usable => this.probe,
                        Health::Failing { .. } => this.probe.min(PROBE_FAILING),
                    };
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                    this.look(&one).await;
                }
            });
        }
        while keeping.join_next().await.is_some() {}
    }

    /// Counts changes of what is open and how it is.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Those that can be asked, in the order of the configuration.
    pub(crate) fn opened(&self) -> impl Iterator<Item = Arc<Opened>> {
        self.all.iter().filter_map(|one| one.opened.load_full())
    }

    /// The one with the key of `recipient`.
    ///
    /// # Errors
    /// [`Reason::FailedPrecondition`]: it is not among them, or cannot be used now; the text says which and why.
    pub(crate) fn of(&self, recipient: &str) -> Result<Arc<Opened>, Refusal> {
        self.opened().find(|opened| opened.recipient == recipient).ok_or_else(|| {
            let detail =
                format!("this node cannot use the key backend of recipient {recipient}: it has {}", self.described());
            Refusal::new(Reason::FailedPrecondition, detail)
        })
    }

    /// The one that holds the key of `authority`, a root's or one that signs in its backend.
    ///
    /// # Errors
    /// As for [`of`](Self::of).
    pub(crate) fn of_key(&self, authority: &Authority) -> Result<Arc<Opened>, Refusal> {
        if let StoredKey::InBackend { recipient: Some(recipient), .. } = &authority.key {
            return self.of(recipient);
        }
        self.opened().find(|opened| Recipients::holds(&opened.recipient, authority)).ok_or_else(|| {
            let detail = format!(
                "this node cannot use the key backend that holds {} {}: it has {}",
                authority.kind,
                authority.id,
                self.described()
            );
            Refusal::new(Reason::FailedPrecondition, detail)
        })
    }

    /// Since when (boot clock) no backend with the key of `recipient` could be used here; `None` while one can, or while
    /// that is not known yet.
    pub(crate) fn failing(&self, recipient: &str) -> Option<Duration> {
        let shown = self.shown();
        if shown.iter().any(|one| matches!(one.health, Health::Probing)) {
            return None;
        }
        let having = shown.iter().filter(|one| one.recipient.as_deref() == Some(recipient));
        let mut failing = Some(Duration::ZERO);
        for one in having {
            let Health::Failing { since, .. } = one.health else { return None };
            failing = failing.max(Some(since));
        }
        failing
    }

    /// Tries those with the key of `recipient` now.
    pub(crate) async fn look_at(&self, recipient: &str) {
        for one in self.all.iter().filter(|one| one.shown().recipient.as_deref() == Some(recipient)) {
            self.look(one).await;
        }
    }

    /// How each is.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        self.all.iter().map(|one| one.shown()).collect()
    }

    /// All in a sentence, for errors.
    pub(crate) fn described(&self) -> String {
        let one = |shown: Shown| {
            let recipient = shown.recipient.as_deref().unwrap_or("not known yet");
            match shown.health {
                Health::Probing => format!("{} (being tried)", shown.name),
                Health::Usable => format!("{} (recipient {recipient}, usable)", shown.name),
                Health::Failing { problem, .. } => {
                    format!("{} (recipient {recipient}, failing: {problem})", shown.name)
                }
            }
        };
        self.shown().into_iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// As the other nodes are told.
    pub(crate) fn states(&self) -> Vec<BackendState> {
        let state = |shown: Shown| BackendState {
            name: shown.name,
            recipient: shown.recipient,
            problem: match shown.health {
                Health::Usable => String::new(),
                Health::Probing => "it was not reached yet".to_owned(),
                Health::Failing { problem, .. } => shortened(&problem),
            },
        };
        self.shown().into_iter().map(state).collect()
    }

    /// What is wrong with any of them, each a sentence.
    pub(crate) fn notes(&self) -> Vec<String> {
        let note = |shown: Shown| match shown.health {
            Health::Failing { since, problem } => {
                let minutes = clock::boottime().saturating_sub(since).as_secs() / 60;
                Some(format!(
                    "key backend {} has not been usable for {minutes} min: {problem}. What is open stays open; new keys and this node's next start may need it",
                    shown.name
                ))
            }
            Health::Probing | Health::Usable => None,
        };
        self.shown().into_iter().filter_map(note).collect()
    }

    /// # Errors
    /// None can be used; says why for each.
    pub(crate) fn any_usable(&self) -> Result<(), String> {
        if self.opened().next().is_some() { Ok(()) } else { Err(self.described()) }
    }

    async fn look(&self, one: &Configured) {
        let before = one.shown();
        let found = one.attempt(&self.calls).await;
        let health = match (&found, &before.health) {
            (Ok(_), Health::Probing) => {
                tracing::info!(backend = %one.name, "key backend is usable");
                Health::Usable
            }
            (Ok(_), Health::Failing { .. }) => {
                tracing::info!(backend = %one.name, "key backend is usable again");
                Health::Usable
            }
            (Ok(_), Health::Usable) => Health::Usable,
            (Err(cause), Health::Failing { since, .. }) => Health::Failing { since: *since, problem: chain(cause) },
            (Err(cause), Health::Probing | Health::Usable) => {
                tracing::error!(backend = %one.name, "key backend is failing; it is tried again within a minute: {}", chain(cause));
                Health::Failing { since: clock::boottime(), problem: chain(cause) }
            }
        };
        {
            let mut known = one.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.0 = health;
            if let Ok(recipient) = found {
                known.1 = Some(recipient);
            }
        }
        let after = one.shown();
        if after.recipient != before.recipient || after.health.as_str() != before.health.as_str() {
            self.changed.send_modify(|count| *count += 1);
        }
    }
}

impl Configured {
    fn shown(&self) -> Shown {
        let (health, recipient) = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Shown { name: self.name.clone(), recipient, health }
    }

    /// Opens it if need be, and tries whether it wraps and unwraps. Answers whose key it has.
    async fn attempt(&self, calls: &Arc<Calls>) -> Result<String, KmsError> {
        let open = self.opened.load_full();
        let opened = match (open, &self.uri) {
            // Its key is in memory: only the file tells whether the next start will find it.
            (open, KeyUri::File { .. }) => {
                let read = self.open(calls).await.inspect_err(|_| self.opened.store(None))?;
                open.filter(|open| open.recipient == read.recipient).unwrap_or(read)
            }
            (Some(open), _) => open,
            (None, _) => self.open(calls).await?,
        };
        opened.backend.probe().await?;
        self.opened.store(Some(opened.clone()));
        Ok(opened.recipient.clone())
    }

    async fn open(&self, calls: &Arc<Calls>) -> Result<Arc<Opened>, KmsError> {
        let unavailable = |problem: String| KmsError::Unavailable { backend: self.name.clone(), problem };
        let uri = self.uri.clone();
        // A passphrase takes a second of a whole core to become a key.
        let open = tokio::task::spawn_blocking(move || uri.open());
        let open = tokio::time::timeout(LONGEST_OPEN, open)
            .await
            .map_err(|_| unavailable(format!("it could not be opened within {LONGEST_OPEN:?}")))?;
        let inner = open.map_err(|cause| unavailable(cause.to_string()))??;
        let backend = Counted::new(inner, self.name.clone(), calls.clone());
        Ok(Arc::new(Opened { recipient: backend.recipient().await?, backend }))
    }
}

/// The failure with its causes.
fn chain(cause: &KmsError) -> String {
    let mut text = cause.to_string();
    let mut source = std::error::Error::source(cause);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn shortened(problem: &str) -> String {
    problem.chars().take(LONGEST_PROBLEM).collect()
}

/// A start does not wait longer for key backends.
const FIRST_LOOK: Duration = Duration::from_secs(5);
const PROBE_FAILING: Duration = Duration::from_mins(1);
const LONGEST_OPEN: Duration = Duration::from_secs(15);
/// What is replicated of why a backend cannot be used, in characters.
const LONGEST_PROBLEM: usize = 300;

#[cfg(test)]
mod tests;
