//! Keys wrapped once more: for a new recipient, or for one that was away when they were made.

use signet_kms::issuing::IssuingKey;
use signet_model::authority::{Authority, WrappedKey};
use signet_model::command::{AuthorityRef, Command};
use signet_model::recipient::{Rewrapped, is_opened_by_nodes, wrappings};
use signet_model::refusal::{Reason, Refusal};
use signet_model::rotation::Hierarchy;
use zeroize::Zeroizing;

use super::Rotation;
use crate::server::backends::Opened;
use crate::server::keyring::context;

impl Rotation {
    /// Every key that nodes open, wrapped for `recipient`, whose backend must be usable here.
    ///
    /// # Errors
    /// A backend failed, or a key cannot be opened here. Nothing was changed.
    pub(in crate::server) async fn wrapped_for(
        &self,
        hierarchy: &Hierarchy,
        recipient: &str,
    ) -> Result<Vec<Rewrapped>, Refusal> {
        let to = self.backends.of(recipient)?;
        let mut wrapped = Vec::new();
        for key in hierarchy.authorities.iter().filter(|key| is_opened_by_nodes(key)) {
            wrapped.push(self.rewrap(hierarchy, key, &to).await?);
        }
        Ok(wrapped)
    }

    /// What keys lack of their wrappings, as far as this node can make it: `None` when they lack nothing, or this node can
    /// do nothing about it; `Some(None)` when it tried in vain.
    pub(super) async fn rewrapped(&self, hierarchy: &Hierarchy) -> Option<Option<Command>> {
        let mut wrapped = Vec::new();
        let mut tried = false;
        for key in &hierarchy.authorities {
            if wrappings(key).is_empty() {
                continue;
            }
            for recipient in hierarchy.recipients.missing(key) {
                let Ok(to) = self.backends.of(recipient) else { continue };
                tried = true;
                match self.rewrap(hierarchy, key, &to).await {
                    Ok(new) => {
                        tracing::info!(kind = %key.kind, key = %key.id, %recipient, "wrapped a key for a recipient that was away when it was made");
                        wrapped.push(new);
                    }
                    Err(cause) => {
                        tracing::warn!(kind = %key.kind, key = %key.id, %recipient, "a key is not wrapped for this recipient yet: {cause}");
                    }
                }
            }
        }
        tried.then(|| (!wrapped.is_empty()).then_some(Command::RewrapKeys { wrapped }))
    }

    /// Opens a key by whichever recipient can, and wraps it for another; held against what comes out of it again.
    async fn rewrap(&self, hierarchy: &Hierarchy, key: &Authority, to: &Opened) -> Result<Rewrapped, Refusal> {
        let settings = &hierarchy.settings;
        let context = context(settings.trust_domain.as_str(), &settings.cluster_id, key);
        let failed = |cause: String| {
            let detail = format!("{} {} was not wrapped for {}: {cause}", key.kind, key.id, to.recipient);
            Refusal::new(Reason::FailedPrecondition, detail)
        };
        let pkcs8 = self.open(key, &context).await.map_err(failed)?;
        let blob = to.backend().wrap(&pkcs8, &context).await.map_err(|cause| failed(cause.to_string()))?;
        let again = to.backend().unwrap(&blob, &context).await.map_err(|cause| failed(cause.to_string()))?;
        IssuingKey::from_pkcs8(&again, &key.public_key).map_err(|cause| failed(cause.to_string()))?;
        let wrapped = WrappedKey { recipient: to.recipient.clone(), blob };
        Ok(Rewrapped { authority: AuthorityRef { kind: key.kind, id: key.id.clone() }, wrapped })
    }

    async fn open(&self, key: &Authority, context: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut problems = Vec::new();
        for opened in self.backends.opened() {
            let Some(wrapped) = wrappings(key).iter().find(|wrapped| wrapped.recipient == opened.recipient) else {
                continue;
            };
            match opened.backend().unwrap(&wrapped.blob, context).await {
                Ok(pkcs8) if IssuingKey::from_pkcs8(&pkcs8, &key.public_key).is_ok() => return Ok(pkcs8),
                Ok(_) => problems.push(format!("{} opened another key", opened.recipient)),
                Err(cause) => problems.push(cause.to_string()),
            }
        }
        if problems.is_empty() {
            return Err(format!("this node can open it by none of its key backends: {}", self.backends.described()));
        }
        Err(problems.join("; "))
    }
}
