//! The issuing keys of this node: unwrapped into memory, checked, ready to sign.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use signet_kms::Backend;
use signet_kms::issuing::IssuingKey;
use signet_model::authority::{Authority, AuthorityKind, KeyId, Slot, StoredKey, wrapping_context};
use signet_model::exchange::TRANSACTION_TOKEN_TYP;
use signet_model::jws::HeaderSegment;
use signet_model::jwt_svid;
use signet_model::refusal::{Reason, Refusal};
use signet_model::time::UnixTime;
use signet_model::x509::IssuerView;
use tokio_util::sync::CancellationToken;

use super::live::{Live, LiveState};

/// The active key of each kind, as far as this node has it.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    x509: Option<Arc<X509Key>>,
    jwt_svid: Option<Arc<JwtKey>>,
    transaction_token: Option<Arc<JwtKey>>,
}

/// Signs X.509-SVIDs.
#[derive(Debug)]
pub(crate) struct X509Key {
    pub(crate) issuer: IssuerView,
    pub(crate) key: IssuingKey,
    pub(crate) id: KeyId,
}

/// Signs tokens.
#[derive(Debug)]
pub(crate) struct JwtKey {
    pub(crate) header: HeaderSegment,
    pub(crate) key: IssuingKey,
    pub(crate) id: KeyId,
    pub(crate) not_after: UnixTime,
}

/// Holds the keyring and renews it when the authorities change.
#[derive(Debug)]
pub(crate) struct Keys {
    current: ArcSwap<Keyring>,
    backend: Arc<dyn Backend>,
}

impl Keys {
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Arc<Self> {
        Arc::new(Self { current: ArcSwap::default(), backend })
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

    /// Unwraps what is active and not yet held.
    async fn refresh(&self, live: &Live) -> Result<(), String> {
        let held = self.current.load_full();
        let mut next = Keyring::default();
        let mut problems = Vec::new();
        for authority in live.issuing.iter().filter(|authority| authority.slot == Slot::Active) {
            let added = match authority.kind {
                AuthorityKind::X509Issuing => {
                    self.x509_key(live, authority, &held).await.map(|key| next.x509 = Some(key))
                }
                AuthorityKind::JwtSvid => {
                    let key = self.jwt_key(live, authority, held.jwt_svid.as_ref(), jwt_svid::TYP).await;
                    key.map(|key| next.jwt_svid = Some(key))
                }
                AuthorityKind::TransactionToken => {
                    let held = held.transaction_token.as_ref();
                    let key = self.jwt_key(live, authority, held, TRANSACTION_TOKEN_TYP).await;
                    key.map(|key| next.transaction_token = Some(key))
                }
                AuthorityKind::X509Root => Ok(()),
            };
            if let Err(problem) = added {
                problems.push(format!("{} {}: {problem}", authority.kind, authority.id));
            }
        }
        self.current.store(Arc::new(next));
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }

    async fn x509_key(&self, live: &Live, authority: &Authority, held: &Keyring) -> Result<Arc<X509Key>, String> {
        if let Some(held) = held.x509.as_ref().filter(|held| held.id == authority.id) {
            return Ok(held.clone());
        }
        let issuer = IssuerView::new(&authority.certificate, &authority.public_key, &live.settings.trust_domain)
            .map_err(|cause| cause.to_string())?;
        Ok(Arc::new(X509Key { issuer, key: self.unwrap(live, authority).await?, id: authority.id.clone() }))
    }

    async fn jwt_key(
        &self,
        live: &Live,
        authority: &Authority,
        held: Option<&Arc<JwtKey>>,
        typ: &str,
    ) -> Result<Arc<JwtKey>, String> {
        if let Some(held) = held.filter(|held| held.id == authority.id) {
            return Ok(held.clone());
        }
        Ok(Arc::new(JwtKey {
            header: HeaderSegment::es256(&authority.id, typ),
            key: self.unwrap(live, authority).await?,
            id: authority.id.clone(),
            not_after: authority.not_after,
        }))
    }

    async fn unwrap(&self, live: &Live, authority: &Authority) -> Result<IssuingKey, String> {
        let StoredKey::Wrapped { for_recipients } = &authority.key else {
            return Err("is stored as a key of a backend, not as a wrapped key".to_owned());
        };
        let recipient = self.backend.recipient();
        let Some(wrapped) = for_recipients.iter().find(|wrapped| wrapped.recipient == recipient) else {
            let known: Vec<&str> = for_recipients.iter().map(|wrapped| wrapped.recipient.as_str()).collect();
            return Err(format!(
                "is wrapped for {known:?}, and this node's keys.backend is {recipient:?}: give this node the same key file as the others"
            ));
        };
        let context = context(live.settings.trust_domain.as_str(), &live.settings.cluster_id, authority);
        let pkcs8 = self.backend.unwrap(&wrapped.blob, &context).await.map_err(|cause| cause.to_string())?;
        IssuingKey::from_pkcs8(&pkcs8, &authority.public_key).map_err(|cause| cause.to_string())
    }
}

/// The associated data of an authority's wrapping.
pub(super) fn context(trust_domain: &str, cluster_id: &str, authority: &Authority) -> Vec<u8> {
    wrapping_context(trust_domain, cluster_id, authority.kind, &authority.id, &authority.public_key)
}

/// Keeps the keyring in step with the replicated authorities, and tries again while a key cannot be unwrapped.
pub(crate) async fn keep(keys: &Keys, live: &LiveState, stop: CancellationToken) {
    let mut changes = live.watch();
    loop {
        changes.mark_unchanged();
        let mut again = None;
        if let Some(live) = live.current()
            && let Err(problem) = keys.refresh(&live).await
        {
            tracing::error!("sealed: this node cannot sign with every key: {problem}");
            again = Some(RETRY);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(again.unwrap_or(Duration::MAX)), if again.is_some() => {}
        }
    }
}

fn sealed(kind: AuthorityKind) -> Refusal {
    let detail = format!(
        "this node has not unwrapped the {kind} key, so it does not sign; ask another node, and see this node's log for the reason"
    );
    Refusal::new(Reason::Sealed, detail)
}

const RETRY: Duration = Duration::from_secs(5);
