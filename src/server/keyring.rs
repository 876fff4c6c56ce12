//! The issuing keys of this node: unwrapped into memory or found in their backend, checked, ready to sign.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use signet_kms::issuing::IssuingKey;
use signet_model::authority::{Authority, AuthorityKind, KeyId, Slot, StoredKey, wrapping_context};
use signet_model::command::AuthorityRef;
use signet_model::exchange::TRANSACTION_TOKEN_TYP;
use signet_model::jws::HeaderSegment;
use signet_model::jwt_svid;
use signet_model::refusal::{Reason, Refusal};
use signet_model::time::UnixTime;
use signet_model::x509::IssuerView;
use signet_raft::Node;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::backends::Backends;
use super::lending::{LentKey, Members};
use super::live::{Live, LiveState};
use super::signing::{BackendKey, Queue, SigningKey};

/// The keys of this node: those that sign, and those that will.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    held: Vec<Held>,
    x509: Option<Arc<X509Key>>,
    jwt_svid: Option<Arc<JwtKey>>,
    transaction_token: Option<Arc<JwtKey>>,
}

/// A key. The last of its holders wipes it.
#[derive(Debug, Clone)]
pub(crate) enum Held {
    X509(Arc<X509Key>),
    Token(AuthorityKind, Arc<JwtKey>),
}

impl Held {
    fn is(&self, authority: &Authority) -> bool {
        match self {
            Self::X509(key) => authority.kind == AuthorityKind::X509Issuing && key.id == authority.id,
            Self::Token(kind, key) => authority.kind == *kind && key.id == authority.id,
        }
    }

    /// Whether it is a stand-in for a key that only other nodes hold.
    fn is_lent(&self) -> bool {
        matches!(self.key(), SigningKey::Lent(_))
    }

    /// The key.
    pub(crate) fn key(&self) -> &SigningKey {
        match self {
            Self::X509(key) => &key.key,
            Self::Token(_, key) => &key.key,
        }
    }

    fn name(&self) -> AuthorityRef {
        match self {
            Self::X509(key) => AuthorityRef { kind: AuthorityKind::X509Issuing, id: key.id.clone() },
            Self::Token(kind, key) => AuthorityRef { kind: *kind, id: key.id.clone() },
        }
    }
}

impl Keyring {
    /// Of the keys in `held`, those that sign or will, each in its place. The others are let go: what has stopped
    /// signing is not kept, nor a stand-in for a key that is there.
    fn arrange(live: Option<&Live>, held: impl Iterator<Item = Held>) -> Self {
        let mut ring = Self::default();
        let (lent, own): (Vec<Held>, Vec<Held>) = held.partition(Held::is_lent);
        for key in own.into_iter().chain(lent) {
            let Some(authority) = live.and_then(|live| wanted(live).find(|authority| key.is(authority))) else {
                continue;
            };
            if ring.held.iter().any(|other| other.is(authority)) {
                continue;
            }
            if authority.slot == Slot::Active {
                match &key {
                    Held::X509(key) => ring.x509 = Some(key.clone()),
                    Held::Token(AuthorityKind::JwtSvid, key) => ring.jwt_svid = Some(key.clone()),
                    Held::Token(_, key) => ring.transaction_token = Some(key.clone()),
                }
            }
            ring.held.push(key);
        }
        ring
    }

    /// The names of the keys that sign.
    fn signing(&self) -> [Option<&KeyId>; 3] {
        [
            self.x509.as_ref().map(|key| &key.id),
            self.jwt_svid.as_ref().map(|key| &key.id),
            self.transaction_token.as_ref().map(|key| &key.id),
        ]
    }
}

/// The authorities whose keys a node should hold.
fn wanted(live: &Live) -> impl Iterator<Item = &Authority> {
    live.issuing.iter().filter(|authority| match authority.slot {
        Slot::Prepared | Slot::Active => authority.kind != AuthorityKind::X509Root,
        Slot::Retiring => false,
    })
}

/// Signs X.509-SVIDs.
#[derive(Debug)]
pub(crate) struct X509Key {
    pub(crate) issuer: IssuerView,
    pub(crate) key: SigningKey,
    pub(crate) id: KeyId,
    /// The certificates that travel behind what it signs, its own first, DER.
    pub(crate) chain: Vec<Vec<u8>>,
}

/// Signs tokens.
#[derive(Debug)]
pub(crate) struct JwtKey {
    pub(crate) header: HeaderSegment,
    pub(crate) key: SigningKey,
    pub(crate) id: KeyId,
    pub(crate) not_after: UnixTime,
}

/// Holds the keyring and renews it when the authorities change.
#[derive(Debug)]
pub(crate) struct Keys {
    current: ArcSwap<Keyring>,
    backends: Arc<Backends>,
    /// For keys that stay in a backend, and those of other nodes.
    queue: Arc<Queue>,
    members: Members,
    changed: watch::Sender<u64>,
    /// The keys that this node should hold and could not unwrap, each with the reason.
    sealed: ArcSwap<Vec<String>>,
}

impl Keys {
    pub(crate) fn new(backends: Arc<Backends>) -> Arc<Self> {
        Arc::new(Self {
            current: ArcSwap::default(),
            backends,
            queue: Queue::new(),
            members: Members::default(),
            changed: watch::Sender::new(0),
            sealed: ArcSwap::default(),
        })
    }

    /// The keys that this node should hold and could not unwrap when it last tried, each with the reason.
    pub(crate) fn sealed(&self) -> Arc<Vec<String>> {
        self.sealed.load_full()
    }

    /// The key that signs X.509-SVIDs.
    ///
    /// # Errors
    /// [`Reason::Sealed`] while this node has not unwrapped it.
    pub(crate) fn x509(&self) -> Result<Arc<X509Key>, Refusal> {
        self.current.load().x509.clone().ok_or_else(|| sealed(AuthorityKind::X509Issuing))
    }

    /// The key that signs JWT-SVIDs. Errors as [`x509`](Self::x509).
    pub(crate) fn jwt_svid(&self) -> Result<Arc<JwtKey>, Refusal> {
        self.current.load().jwt_svid.clone().ok_or_else(|| sealed(AuthorityKind::JwtSvid))
    }

    /// The key that signs transaction tokens. Errors as [`x509`](Self::x509).
    pub(crate) fn transaction_token(&self) -> Result<Arc<JwtKey>, Refusal> {
        self.current.load().transaction_token.clone().ok_or_else(|| sealed(AuthorityKind::TransactionToken))
    }

    /// Whether the key of this name signs now.
    pub(crate) fn signs(&self, id: &KeyId) -> bool {
        self.current.load().signing().contains(&Some(id))
    }

    /// What this node holds and could sign with by itself.
    pub(crate) fn held(&self) -> Vec<AuthorityRef> {
        self.current.load().held.iter().filter(|held| !held.is_lent()).map(Held::name).collect()
    }

    /// The key of this name, if it signs now and this node holds it.
    pub(crate) fn own(&self, id: &KeyId) -> Option<Held> {
        let ring = self.current.load();
        let signs = ring.signing().contains(&Some(id));
        ring.held.iter().find(|held| signs && !held.is_lent() && held.name().id == *id).cloned()
    }

    /// Whether this node holds a key of each kind that signs.
    ///
    /// # Errors
    /// [`Reason::Sealed`] names the first that it lacks, or that others use for it.
    pub(crate) fn complete(&self) -> Result<(), Refusal> {
        let lent = |key: &SigningKey| matches!(key, SigningKey::Lent(_));
        for (kind, is_lent) in [
            (AuthorityKind::X509Issuing, lent(&self.x509()?.key)),
            (AuthorityKind::JwtSvid, lent(&self.jwt_svid()?.key)),
            (AuthorityKind::TransactionToken, lent(&self.transaction_token()?.key)),
        ] {
            if is_lent {
                return Err(sealed(kind));
            }
        }
        Ok(())
    }

    /// From now on `node`'s members are asked for signatures that this node cannot make.
    pub(crate) fn borrow_from(&self, node: Node) {
        // Set once: a process has one node.
        let _ = self.members.set(node);
    }

    /// Counts changes of what is held.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Arranges what is held, and `new`, by the authorities as they are now.
    fn arrange(&self, live: &LiveState, new: Option<&Held>) {
        let before = self.current.rcu(|ring| {
            let live = live.current();
            Arc::new(Keyring::arrange(live.as_deref(), ring.held.iter().chain(new).cloned()))
        });
        if new.is_some() || before.signing() != self.current.load().signing() {
            self.changed.send_modify(|count| *count += 1);
        }
    }

    /// Unwraps what should be held and is not; whether that worked for all.
    async fn unwrap_missing(&self, state: &LiveState) -> bool {
        let Some(live) = state.current() else { return true };
        let mut problems = Vec::new();
        for authority in wanted(&live) {
            let ring = self.current.load_full();
            if ring.held.iter().any(|held| held.is(authority) && !held.is_lent()) {
                continue;
            }
            match self.take_up(&live, authority).await {
                Ok(held) => self.arrange(state, Some(&held)),
                Err(problem) => {
                    problems.push(format!("{} {}: {problem}", authority.kind, authority.id));
                    let lent = LentKey::of(authority, &self.members, &self.queue).map(SigningKey::Lent);
                    if let Some(Ok(lent)) = lent.map(|key| hold(&live, authority, key))
                        && !ring.held.iter().any(|held| held.is(authority))
                    {
                        self.arrange(state, Some(&lent));
                    }
                }
            }
        }
        if !problems.is_empty() {
            tracing::error!("sealed: this node cannot sign with every key: {}", problems.join("; "));
        }
        let all = problems.is_empty();
        self.sealed.store(Arc::new(problems));
        all
    }

    async fn take_up(&self, live: &Live, authority: &Authority) -> Result<Held, String> {
        hold(live, authority, self.key(live, authority).await?)
    }

    async fn key(&self, live: &Live, authority: &Authority) -> Result<SigningKey, String> {
        match &authority.key {
            StoredKey::Wrapped { .. } => self.unwrap(live, authority).await.map(SigningKey::Memory),
            StoredKey::InBackend { .. } => {
                BackendKey::take_up(&self.backends, &self.queue, authority).await.map(SigningKey::Backend)
            }
        }
    }

    async fn unwrap(&self, live: &Live, authority: &Authority) -> Result<IssuingKey, String> {
        let StoredKey::Wrapped { for_recipients } = &authority.key else {
            return Err("is stored as a key of a backend, not as a wrapped key".to_owned());
        };
        let context = context(live.settings.trust_domain.as_str(), &live.settings.cluster_id, authority);
        let mut problems = Vec::new();
        for opened in self.backends.opened() {
            let Some(wrapped) = for_recipients.iter().find(|wrapped| wrapped.recipient == opened.recipient) else {
                continue;
            };
            let unwrapped = opened.backend().unwrap(&wrapped.blob, &context).await;
            match unwrapped.map_err(|cause| cause.to_string()).and_then(|pkcs8| {
                IssuingKey::from_pkcs8(&pkcs8, &authority.public_key).map_err(|cause| cause.to_string())
            }) {
                Ok(key) => return Ok(key),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            let known: Vec<&str> = for_recipients.iter().map(|wrapped| wrapped.recipient.as_str()).collect();
            return Err(format!(
                "is wrapped for {known:?}, and this node has {}: give it a key backend that the others have, and see that it can be reached",
                self.backends.described()
            ));
        }
        Err(problems.join("; "))
    }
}

/// `key`, with what it signs for `authority`.
fn hold(live: &Live, authority: &Authority, key: SigningKey) -> Result<Held, String> {
    let id = authority.id.clone();
    let typ = match authority.kind {
        AuthorityKind::X509Issuing => {
            let trust_domain = &live.settings.trust_domain;
            let issuer = IssuerView::new(&authority.certificate, &authority.public_key, trust_domain)
                .map_err(|cause| cause.to_string())?;
            return Ok(Held::X509(Arc::new(X509Key { issuer, key, id, chain: authority.presented() })));
        }
        AuthorityKind::JwtSvid => jwt_svid::TYP,
        AuthorityKind::TransactionToken => TRANSACTION_TOKEN_TYP,
        AuthorityKind::X509Root => return Err("a root stays in its backend".to_owned()),
    };
    let header = HeaderSegment::new(key.algorithm().jws(), &id, typ);
    Ok(Held::Token(authority.kind, Arc::new(JwtKey { header, key, id, not_after: authority.not_after })))
}

/// The associated data of an authority's wrapping.
pub(super) fn context(trust_domain: &str, cluster_id: &str, authority: &Authority) -> Vec<u8> {
    wrapping_context(trust_domain, cluster_id, authority.kind, &authority.id, &authority.public_key)
}

/// Keeps the keyring in step with the replicated authorities. What signs changes at once, and never waits for the
/// backend; what is missing is unwrapped beside it, and tried again while it cannot be.
pub(crate) async fn keep(keys: &Keys, live: &LiveState, stop: CancellationToken) {
    tokio::join!(follow(keys, live, &stop), unwrap(keys, live, &stop));
}

async fn follow(keys: &Keys, live: &LiveState, stop: &CancellationToken) {
    let mut changes = live.watch();
    loop {
        changes.mark_unchanged();
        keys.arrange(live, None);
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

async fn unwrap(keys: &Keys, live: &LiveState, stop: &CancellationToken) {
    let (mut changes, mut backends) = (live.watch(), keys.backends.watch());
    let mut again = RETRY;
    loop {
        changes.mark_unchanged();
        backends.mark_unchanged();
        let all = keys.unwrap_missing(live).await;
        again = if all { RETRY } else { (again * 2).min(LONGEST_RETRY) };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            changed = backends.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(again), if !all => {}
        }
    }
}

fn sealed(kind: AuthorityKind) -> Refusal {
    let detail = format!(
        "this node has not unwrapped the {kind} key, so it does not sign; ask another node, and see this node's log for the reason"
    );
    Refusal::new(Reason::Sealed, detail)
}

const RETRY: Duration = Duration::from_secs(2);
/// A backend that answers wrongly is not asked more often: each attempt costs a call for each key.
const LONGEST_RETRY: Duration = Duration::from_mins(1);
