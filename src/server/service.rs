//! What the doors call: each request on its way through ledger and keys.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use signet_api::service::{
    Authorities, AuthorityChange, BackupStatus, Call, ChangeHow, ClusterHash, ClusterStatus, Document, Drained,
    EntryFilter, EntryPage, JoinToken, MemberChange, MembersChanged, NewX509Svid, Page, RecipientChange,
    RecipientsShown, Service, SnapshotStream, TimeReset, TokenAnswer,
};
use signet_model::caller::Caller;
use signet_model::command::{Command, EntryChange, EntryOutcome, Outcome};
use signet_model::entry::{EntryId, EntrySpec, RegistrationEntry, check_workload};
use signet_model::exchange;
use signet_model::policy::Policy;
use signet_model::record::CredentialKind;
use signet_model::refusal::{Reason, Refusal};
use signet_model::spiffe_id::SpiffeId;
use signet_model::state;
use signet_model::svid::{JwtSvid, TrustBundle, X509Svid};
use signet_model::x509::bundle_document;
use signet_model::x509::csr::Csr;
use signet_raft::Node;

use super::backups::Backups;
use super::cluster::Cluster;
use super::exchange::{Exchange, refusal};
use super::issue::{Issuer, JwtRequest, Licence, Unreleased, X509Request, not_initialized};
use super::live::Live;
use super::metrics::Metrics;
use super::ops::Started;
use super::rotation::Rotation;
use super::{entries, ledger};

/// One node, as its doors see it.
#[derive(Debug)]
pub(crate) struct NodeService {
    pub(crate) node: Node,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) exchange: Exchange,
    pub(crate) cluster: Cluster,
    pub(crate) backups: Backups,
    pub(crate) rotation: Arc<Rotation>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) started: Arc<Started>,
}

impl NodeService {
    fn live(&self) -> Result<Arc<Live>, Refusal> {
        self.issuer.live.current().ok_or_else(not_initialized)
    }

    /// The entries among `ids` that `caller` may ask SVIDs of: those whose parent it is and which have not expired.
    ///
    /// Local state decides where it says yes: it is as fresh as the lease. Before a no, the node makes sure that it is
    /// not merely behind, so that an entry just created elsewhere is never denied here.
    async fn entitled(
        &self,
        call: &Call,
        licence: &Licence,
        ids: &[&EntryId],
    ) -> Result<Vec<Option<Arc<RegistrationEntry>>>, Refusal> {
        let found = self.look_up(call, licence, ids)?;
        if found.iter().all(Option::is_some) {
            return Ok(found);
        }
        ledger::barrier(&self.node, ledger::timeout(call)).await?;
        self.look_up(call, licence, ids)
    }

    fn look_up(
        &self,
        call: &Call,
        licence: &Licence,
        ids: &[&EntryId],
    ) -> Result<Vec<Option<Arc<RegistrationEntry>>>, Refusal> {
        let entitled = |entry: &Arc<RegistrationEntry>| {
            let expires = entry.spec.expires_at_secs;
            matches!(&call.caller, Caller::Spiffe { id } if *id == entry.spec.parent_id)
                && (expires == 0 || expires > licence.now.secs())
        };
        let read = |id: &EntryId| self.issuer.live.entries.entry(id, || self.node.view()).map_err(ledger::damaged);
        ids.iter().map(|id| Ok(read(id)?.filter(entitled))).collect()
    }

    async fn new_x509_svid(
        &self,
        call: &Call,
        licence: &Licence,
        entry: Option<&RegistrationEntry>,
        csr: &[u8],
    ) -> Result<Unreleased<X509Svid>, Refusal> {
        let entry = entry.ok_or_else(not_entitled)?;
        let csr = Csr::parse(csr)?;
        let request = X509Request {
            spiffe_id: &entry.spec.spiffe_id,
            dns_names: &entry.spec.dns_names,
            ip_addresses: &[],
            public_key: csr.public_key(),
            ttl_secs: entry.spec.x509_svid_ttl_secs,
            hint: &entry.spec.hint,
            entry: Some(&entry.id),
            caller: &call.caller,
        };
        self.issuer.x509_svid(licence, request).await
    }
}

#[async_trait]
impl Service for NodeService {
    async fn list_entries(&self, call: &Call, filter: &EntryFilter, page: &Page) -> Result<EntryPage, Refusal> {
        entries::list(&ledger::read(&self.node, call).await?, filter, page)
    }

    async fn count_entries(&self, call: &Call, filter: &EntryFilter) -> Result<u32, Refusal> {
        entries::count(&ledger::read(&self.node, call).await?, filter)
    }

    async fn entry(&self, call: &Call, id: &EntryId) -> Result<RegistrationEntry, Refusal> {
        let view = ledger::read(&self.node, call).await?;
        let entry = state::entry(&view, id).map_err(ledger::damaged)?;
        entry.ok_or_else(|| Refusal::new(Reason::NotFound, "entry not found"))
    }

    async fn create_entries(
        &self,
        call: &Call,
        new: Vec<(Option<EntryId>, EntrySpec)>,
    ) -> Result<Vec<EntryOutcome>, Refusal> {
        entries::create(&self.node, call, &self.live()?.settings.trust_domain, new).await
    }

    async fn update_entries(&self, call: &Call, changes: Vec<EntryChange>) -> Result<Vec<EntryOutcome>, Refusal> {
        entries::update(&self.node, call, &self.live()?.settings.trust_domain, changes).await
    }

    async fn delete_entries(&self, call: &Call, ids: Vec<EntryId>) -> Result<Vec<EntryOutcome>, Refusal> {
        self.live()?;
        entries::delete(&self.node, call, ids).await
    }

    async fn mint_x509_svid(&self, call: &Call, csr: &[u8], ttl_secs: u32) -> Result<X509Svid, Refusal> {
        let counted = self.metrics.issue(CredentialKind::X509Svid);
        let minted = async {
            let licence = self.issuer.licence()?;
            let request = Csr::parse(csr)?.for_mint(&licence.live.settings.trust_domain)?;
            let request = X509Request {
                spiffe_id: &request.spiffe_id,
                dns_names: &request.dns_names,
                ip_addresses: &[],
                public_key: &request.public_key,
                ttl_secs,
                hint: "",
                entry: None,
                caller: &call.caller,
            };
            self.issuer.x509_svid(&licence, request).await?.release().await
        };
        counted.finish(minted.await)
    }

    async fn mint_jwt_svid(
        &self,
        call: &Call,
        id: &SpiffeId,
        audience: &[String],
        ttl_secs: u32,
    ) -> Result<JwtSvid, Refusal> {
        let counted = self.metrics.issue(CredentialKind::JwtSvid);
        let minted = async {
            let licence = self.issuer.licence()?;
            check_workload(id, &licence.live.settings.trust_domain)
                .map_err(|problem| Refusal::invalid(format!("invalid SPIFFE ID: {problem}")))?;
            let request = JwtRequest {
                spiffe_id: id,
                audience,
                ttl_secs,
                include_jti: false,
                hint: "",
                entry: None,
                caller: &call.caller,
            };
            self.issuer.jwt_svid(&licence, request).await?.release().await
        };
        counted.finish(minted.await)
    }

    async fn new_x509_svids(
        &self,
        call: &Call,
        requests: Vec<NewX509Svid>,
    ) -> Result<Vec<Result<X509Svid, Refusal>>, Refusal> {
        let licence = self.issuer.licence().inspect_err(|refusal| self.metrics.denied(refusal.reason.code()))?;
        let ids: Vec<&EntryId> = requests.iter().map(|request| &request.entry).collect();
        let entitled = self.entitled(call, &licence, &ids).await?;
        // All are signed before the first is waited for, so that their records share an fsync; in a key backend, at once.
        let licence = &licence;
        let signed = futures::future::join_all(requests.iter().zip(&entitled).map(async |(request, entry)| {
            let counted = self.metrics.issue(CredentialKind::X509Svid);
            (counted, self.new_x509_svid(call, licence, entry.as_deref(), &request.csr).await)
        }))
        .await;
        let mut results = Vec::with_capacity(signed.len());
        for (counted, signed) in signed {
            results.push(counted.finish(match signed {
                Ok(unreleased) => unreleased.release().await,
                Err(refusal) => Err(refusal),
            }));
        }
        Ok(results)
    }

    async fn new_jwt_svid(&self, call: &Call, entry: &EntryId, audience: &[String]) -> Result<JwtSvid, Refusal> {
        let counted = self.metrics.issue(CredentialKind::JwtSvid);
        let issued = async {
            let licence = self.issuer.licence()?;
            let mut entitled = self.entitled(call, &licence, &[entry]).await?;
            let entry = entitled.pop().flatten().ok_or_else(not_entitled)?;
            let request = JwtRequest {
                spiffe_id: &entry.spec.spiffe_id,
                audience,
                ttl_secs: entry.spec.jwt_svid_ttl_secs,
                include_jti: entry.spec.jwt_svid_include_jti,
                hint: &entry.spec.hint,
                entry: Some(&entry.id),
                caller: &call.caller,
            };
            self.issuer.jwt_svid(&licence, request).await?.release().await
        };
        counted.finish(issued.await)
    }

    async fn bundle(&self, _: &Call) -> Result<TrustBundle, Refusal> {
        Ok(self.live()?.bundle.clone())
    }

    async fn exchange(&self, call: &Call, parameters: Vec<(String, String)>) -> TokenAnswer {
        let counted = self.metrics.exchange();
        match self.exchange.answer(call, &parameters).await {
            Ok(answer) => {
                counted.done();
                answer
            }
            Err(error) => {
                tracing::info!(caller = %call.caller, reason = error.reason, code = error.code.as_str(), "exchange refused: {}", error.description);
                counted.refused(error.reason);
                refusal(&error)
            }
        }
    }

    async fn token_jwks(&self) -> Result<Document, Refusal> {
        let live = self.live()?;
        Ok(Document { body: exchange::jwks_document(&live.issuing), max_age_secs: live.settings.refresh_hint_secs })
    }

    async fn token_metadata(&self) -> Result<Document, Refusal> {
        let live = self.live()?;
        Ok(Document {
            body: exchange::metadata_document(&live.endpoint),
            max_age_secs: live.settings.refresh_hint_secs,
        })
    }

    async fn bundle_document(&self) -> Result<Document, Refusal> {
        let live = self.live()?;
        let body = bundle_document::to_json(&live.bundle).map_err(|cause| {
            tracing::error!(%cause, "the bundle holds an authority that cannot be written down");
            Refusal::new(Reason::Internal, "the bundle cannot be written down")
        })?;
        Ok(Document { body, max_age_secs: live.settings.refresh_hint_secs })
    }

    async fn init_cluster(&self, call: &Call) -> Result<ClusterStatus, Refusal> {
        self.cluster.init(call).await?;
        self.cluster_status(call).await
    }

    async fn cluster_status(&self, call: &Call) -> Result<ClusterStatus, Refusal> {
        Ok(self.cluster.status(ledger::timeout(call).min(STATUS_TIMEOUT)).await)
    }

    async fn change_member(&self, call: &Call, change: MemberChange) -> Result<MembersChanged, Refusal> {
        self.cluster.change_member(call, change).await
    }

    async fn transfer_leader(&self, call: &Call, to: Option<u64>, how: ChangeHow) -> Result<u64, Refusal> {
        self.cluster.transfer_leader(call, to, how).await
    }

    async fn drain(&self, call: &Call, undo: bool, dry_run: bool) -> Result<Drained, Refusal> {
        self.cluster.drain(call, undo, dry_run).await
    }

    async fn cluster_hash(&self, call: &Call, at: Option<u64>) -> Result<ClusterHash, Refusal> {
        self.cluster.hash(call, at).await
    }

    async fn reset_time(&self, call: &Call, dry_run: bool) -> Result<TimeReset, Refusal> {
        self.cluster.reset_time(call, dry_run).await
    }

    async fn create_join_token(&self, call: &Call, ttl_secs: u32) -> Result<JoinToken, Refusal> {
        self.cluster.join_token(call, ttl_secs).await
    }

    async fn save_snapshot(&self, call: &Call) -> Result<SnapshotStream, Refusal> {
        self.backups.save(call).await
    }

    async fn backup_status(&self, _: &Call) -> Result<BackupStatus, Refusal> {
        Ok(self.backups.status())
    }

    async fn apply_policy(&self, call: &Call, document: String, expected_version: Option<u64>) -> Result<u64, Refusal> {
        self.live()?;
        Policy::parse(&document)
            .map_err(|mistakes| Refusal::invalid(format!("the policy was not applied:\n{mistakes}")))?;
        match ledger::propose(&self.node, call, Command::ApplyPolicy { document, expected_version }).await? {
            Outcome::Policy { version } => Ok(version),
            other @ (Outcome::Done
            | Outcome::Refused(_)
            | Outcome::Entries(_)
            | Outcome::Recorded { .. }
            | Outcome::Remembered { .. }) => Err(ledger::unexpected(&other)),
        }
    }

    async fn policy(&self, call: &Call) -> Result<(u64, String), Refusal> {
        let view = ledger::read(&self.node, call).await?;
        let stored = state::policy(&view).map_err(ledger::damaged)?;
        Ok(stored.map_or((0, String::new()), |stored| (stored.version, stored.document)))
    }

    async fn authorities(&self, call: &Call) -> Result<Authorities, Refusal> {
        self.rotation.show(call).await
    }

    async fn change_authority(
        &self,
        call: &Call,
        change: AuthorityChange,
        dry_run: bool,
    ) -> Result<Authorities, Refusal> {
        self.rotation.change(call, change, dry_run).await
    }

    async fn recipients(&self, call: &Call) -> Result<RecipientsShown, Refusal> {
        self.rotation.recipients(call).await
    }

    async fn change_recipients(
        &self,
        call: &Call,
        change: RecipientChange,
        dry_run: bool,
    ) -> Result<RecipientsShown, Refusal> {
        self.rotation.change_recipients(call, change, dry_run).await
    }
}

/// One text for both, so that nobody learns by asking which entries exist.
fn not_entitled() -> Refusal {
    Refusal::new(Reason::NotFound, "entry not found or not authorized")
}

const STATUS_TIMEOUT: Duration = Duration::from_secs(2);
