//! A service that keeps entries in a map, notes who asked, and refuses when it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use signet_api::health::Health;
use signet_api::ops::{Check, DebugFile, Ops, UpgradeLevel, UpgradeNode, UpgradeStatus, Verdict};
use signet_api::service::{
    Authorities, AuthorityChange, BackupStatus, Call, ChangeHow, ClusterHash, ClusterStatus, Document, Drained,
    EntryFilter, EntryPage, JoinToken, MemberChange, MembersChanged, NewX509Svid, NodeStatus, Page, RecipientChange,
    RecipientsShown, Service, SnapshotStream, TimeReset, TokenAnswer,
};
use signet_model::caller::Caller;
use signet_model::command::{EntryChange, EntryOutcome};
use signet_model::entry::{EntryId, EntrySpec, RegistrationEntry};
use signet_model::refusal::{Reason, Refusal};
use signet_model::spiffe_id::SpiffeId;
use signet_model::svid::{JwtAuthority, JwtSvid, TrustBundle, X509Authority, X509Svid};
use signet_model::time::UnixTime;
use tokio::sync::Notify;

use crate::pki::domain;

#[derive(Default)]
pub(crate) struct Fake {
    /// Answer everything with this.
    pub(crate) refuse: Mutex<Option<Refusal>>,
    /// Answer the next ones with these.
    pub(crate) refuse_once: Mutex<Vec<Refusal>>,
    /// The log index that answers cover.
    pub(crate) covers: Mutex<u64>,
    /// Who asked for what.
    pub(crate) seen: Mutex<Vec<(&'static str, Call)>>,
    pub(crate) entries: Mutex<BTreeMap<EntryId, RegistrationEntry>>,
    /// When set, `bundle` says that it was entered and waits to be let go.
    pub(crate) gate: Mutex<Option<Arc<Gate>>>,
}

#[derive(Default)]
pub(crate) struct Gate {
    pub(crate) entered: Notify,
    pub(crate) go: Notify,
}

impl Fake {
    fn note(&self, what: &'static str, call: &Call) -> Result<(), Refusal> {
        self.seen.lock().unwrap().push((what, call.clone()));
        call.covers.note(*self.covers.lock().unwrap());
        if !self.refuse_once.lock().unwrap().is_empty() {
            return Err(self.refuse_once.lock().unwrap().remove(0));
        }
        self.willing()
    }

    fn willing(&self) -> Result<(), Refusal> {
        self.refuse.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    pub(crate) fn callers(&self) -> Vec<Caller> {
        self.seen.lock().unwrap().iter().map(|(_, call)| call.caller.clone()).collect()
    }

    pub(crate) fn seen_count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn document(&self, body: &str) -> Result<Document, Refusal> {
        self.willing()?;
        Ok(Document { body: body.as_bytes().to_vec(), max_age_secs: 300 })
    }
}

fn entry(id: EntryId, spec: EntrySpec, caller: &Caller) -> RegistrationEntry {
    RegistrationEntry {
        id,
        spec,
        revision: 0,
        created_at: UnixTime::from_secs(1_700_000_000),
        changed_by: caller.clone(),
        changed_at_index: 1,
    }
}

#[async_trait]
impl Service for Fake {
    async fn list_entries(&self, call: &Call, _: &EntryFilter, page: &Page) -> Result<EntryPage, Refusal> {
        self.note("list_entries", call)?;
        let entries = self.entries.lock().unwrap();
        let after = entries.values().filter(|entry| page.after.as_ref().is_none_or(|after| entry.id > *after));
        let size = if page.size == 0 { 1000 } else { page.size as usize };
        let found: Vec<_> = after.clone().take(size).cloned().collect();
        let next = if after.count() > size { found.last().map(|entry| entry.id.clone()) } else { None };
        Ok(EntryPage { entries: found, next })
    }

    async fn count_entries(&self, call: &Call, _: &EntryFilter) -> Result<u32, Refusal> {
        self.note("count_entries", call)?;
        Ok(u32::try_from(self.entries.lock().unwrap().len()).unwrap())
    }

    async fn entry(&self, call: &Call, id: &EntryId) -> Result<RegistrationEntry, Refusal> {
        self.note("entry", call)?;
        let missing = || Refusal::new(Reason::NotFound, "entry not found");
        self.entries.lock().unwrap().get(id).cloned().ok_or_else(missing)
    }

    async fn create_entries(
        &self,
        call: &Call,
        entries: Vec<(Option<EntryId>, EntrySpec)>,
    ) -> Result<Vec<EntryOutcome>, Refusal> {
        self.note("create_entries", call)?;
        let mut all = self.entries.lock().unwrap();
        let mut create = |(id, spec): (Option<EntryId>, EntrySpec)| {
            let spec = match spec.checked(&domain()) {
                Ok(spec) => spec,
                Err(refusal) => return EntryOutcome::Refused(refusal),
            };
            if let Some(similar) = all.values().find(|other| other.spec == spec) {
                return EntryOutcome::Similar(similar.clone());
            }
            let id = id.unwrap_or_else(|| format!("made-{}", all.len()).parse().unwrap());
            all.insert(id.clone(), entry(id.clone(), spec, &call.caller));
            EntryOutcome::Done(all[&id].clone())
        };
        Ok(entries.into_iter().map(&mut create).collect())
    }

    async fn update_entries(&self, call: &Call, changes: Vec<EntryChange>) -> Result<Vec<EntryOutcome>, Refusal> {
        self.note("update_entries", call)?;
        let mut all = self.entries.lock().unwrap();
        let mut update = |change: EntryChange| match all.get_mut(&change.id) {
            None => EntryOutcome::Refused(Refusal::new(Reason::NotFound, "entry not found")),
            Some(entry) => {
                if change.fields.hint {
                    entry.spec.hint = change.spec.hint;
                }
                if change.fields.admin {
                    entry.spec.admin = change.spec.admin;
                }
                entry.revision += 1;
                EntryOutcome::Done(entry.clone())
            }
        };
        Ok(changes.into_iter().map(&mut update).collect())
    }

    async fn delete_entries(&self, call: &Call, ids: Vec<EntryId>) -> Result<Vec<EntryOutcome>, Refusal> {
        self.note("delete_entries", call)?;
        let mut all = self.entries.lock().unwrap();
        let mut delete = |id: EntryId| match all.remove(&id) {
            Some(_) => EntryOutcome::Deleted(id),
            None => EntryOutcome::Refused(Refusal::new(Reason::NotFound, "entry not found")),
        };
        Ok(ids.into_iter().map(&mut delete).collect())
    }

    async fn mint_x509_svid(&self, call: &Call, csr: &[u8], _: u32) -> Result<X509Svid, Refusal> {
        self.note("mint_x509_svid", call)?;
        Ok(x509(csr))
    }

    async fn mint_jwt_svid(&self, call: &Call, id: &SpiffeId, _: &[String], ttl: u32) -> Result<JwtSvid, Refusal> {
        self.note("mint_jwt_svid", call)?;
        Ok(jwt(id.clone(), u64::from(ttl)))
    }

    async fn new_x509_svids(
        &self,
        call: &Call,
        requests: Vec<NewX509Svid>,
    ) -> Result<Vec<Result<X509Svid, Refusal>>, Refusal> {
        self.note("new_x509_svids", call)?;
        let issue = |request: NewX509Svid| {
            if request.entry.as_str() == "foreign" {
                return Err(Refusal::new(Reason::NotFound, "entry not found or not authorized"));
            }
            Ok(x509(&request.csr))
        };
        Ok(requests.into_iter().map(issue).collect())
    }

    async fn new_jwt_svid(&self, call: &Call, _: &EntryId, _: &[String]) -> Result<JwtSvid, Refusal> {
        self.note("new_jwt_svid", call)?;
        Ok(jwt("spiffe://example.org/w".parse().unwrap(), 300))
    }

    async fn bundle(&self, call: &Call) -> Result<TrustBundle, Refusal> {
        self.note("bundle", call)?;
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.entered.notify_one();
            gate.go.notified().await;
        }
        let key = JwtAuthority { public_key: vec![4], key_id: "k".into(), expires_at_secs: 9, tainted: false };
        Ok(TrustBundle {
            trust_domain: domain(),
            x509_authorities: vec![X509Authority { certificate: vec![1, 2], tainted: false }],
            jwt_authorities: vec![key],
            refresh_hint_secs: 300,
            sequence_number: 7,
        })
    }

    async fn exchange(&self, call: &Call, parameters: Vec<(String, String)>) -> TokenAnswer {
        if let Err(refusal) = self.note("exchange", call) {
            return TokenAnswer {
                status: 503,
                body: refusal.detail.into(),
                headers: vec![("retry-after", "1".into())],
            };
        }
        let body = serde_json::to_vec(&parameters).unwrap();
        TokenAnswer { status: 200, body, headers: Vec::new() }
    }

    async fn token_jwks(&self) -> Result<Document, Refusal> {
        self.document(r#"{"keys":[]}"#)
    }

    async fn token_metadata(&self) -> Result<Document, Refusal> {
        self.document(r#"{"issuer":"https://tts.example.org"}"#)
    }

    async fn bundle_document(&self) -> Result<Document, Refusal> {
        self.document(r#"{"keys":[],"spiffe_sequence":7}"#)
    }

    async fn init_cluster(&self, call: &Call) -> Result<ClusterStatus, Refusal> {
        self.note("init_cluster", call)?;
        Ok(status())
    }

    async fn cluster_status(&self, call: &Call) -> Result<ClusterStatus, Refusal> {
        self.note("cluster_status", call)?;
        Ok(status())
    }

    async fn change_member(&self, call: &Call, change: MemberChange) -> Result<MembersChanged, Refusal> {
        self.note("change_member", call)?;
        Ok(MembersChanged { membership: change.node, voters: vec![1], ..MembersChanged::default() })
    }

    async fn transfer_leader(&self, call: &Call, to: Option<u64>, _: ChangeHow) -> Result<u64, Refusal> {
        self.note("transfer_leader", call)?;
        Ok(to.unwrap_or(2))
    }

    async fn drain(&self, call: &Call, undo: bool, _: bool) -> Result<Drained, Refusal> {
        self.note("drain", call)?;
        Ok(Drained { node: 1, drained: !undo, leader: Some(2) })
    }

    async fn cluster_hash(&self, call: &Call, at: Option<u64>) -> Result<ClusterHash, Refusal> {
        self.note("cluster_hash", call)?;
        Ok(ClusterHash { index: at.unwrap_or(9), nodes: vec![(1, Some(vec![7; 32])), (2, None)], agree: true })
    }

    async fn reset_time(&self, call: &Call, _: bool) -> Result<TimeReset, Refusal> {
        self.note("reset_time", call)?;
        Ok(TimeReset { before_millis: 9, after_millis: 5 })
    }

    async fn create_join_token(&self, call: &Call, ttl_secs: u32) -> Result<JoinToken, Refusal> {
        self.note("create_join_token", call)?;
        Ok(JoinToken { text: "secret".into(), expires_at_secs: ttl_secs.into() })
    }

    async fn save_snapshot(&self, call: &Call) -> Result<SnapshotStream, Refusal> {
        self.note("save_snapshot", call)?;
        let chunks = ["one", "two"].map(|chunk| Ok(chunk.into()));
        Ok(SnapshotStream { total: 6, chunks: Box::pin(futures::stream::iter(chunks)) })
    }

    async fn backup_status(&self, call: &Call) -> Result<BackupStatus, Refusal> {
        self.note("backup_status", call)?;
        Ok(BackupStatus { destination: "/backups".into(), next_secs: 7, ..BackupStatus::default() })
    }

    async fn apply_policy(&self, call: &Call, document: String, expected: Option<u64>) -> Result<u64, Refusal> {
        self.note("apply_policy", call)?;
        Ok(expected.unwrap_or(document.len() as u64) + 1)
    }

    async fn policy(&self, call: &Call) -> Result<(u64, String), Refusal> {
        self.note("policy", call)?;
        Ok((3, "rules: []\n".into()))
    }

    async fn authorities(&self, call: &Call) -> Result<Authorities, Refusal> {
        self.note("authorities", call)?;
        Ok(crate::authorities::sample())
    }

    async fn change_authority(
        &self,
        call: &Call,
        change: AuthorityChange,
        dry_run: bool,
    ) -> Result<Authorities, Refusal> {
        self.note(if dry_run { "try_authority" } else { "change_authority" }, call)?;
        Ok(crate::authorities::changed(change))
    }

    async fn recipients(&self, call: &Call) -> Result<RecipientsShown, Refusal> {
        self.note("recipients", call)?;
        Ok(crate::recipients::sample())
    }

    async fn change_recipients(
        &self,
        call: &Call,
        change: RecipientChange,
        dry_run: bool,
    ) -> Result<RecipientsShown, Refusal> {
        self.note(if dry_run { "try_recipients" } else { "change_recipients" }, call)?;
        Ok(RecipientsShown { changed: Some(format!("{change:?}")), ..crate::recipients::sample() })
    }
}

#[async_trait]
impl Ops for Fake {
    async fn diagnose(&self, call: &Call) -> Result<Vec<Check>, Refusal> {
        self.note("diagnose", call)?;
        let check = |verdict: Verdict| Check {
            name: verdict.as_str().into(),
            verdict,
            measured: "3 ms".into(),
            problem: "slow".into(),
            fix: "a faster disk".into(),
        };
        Ok(Verdict::ALL.into_iter().map(check).collect())
    }

    async fn collect_debug(&self, call: &Call) -> Result<Vec<DebugFile>, Refusal> {
        self.note("collect_debug", call)?;
        Ok(vec![DebugFile { name: "log.txt".into(), content: vec![b'x'; 5 << 20] }])
    }

    async fn upgrade_status(&self, call: &Call) -> Result<UpgradeStatus, Refusal> {
        self.note("upgrade_status", call)?;
        Ok(upgrade(1))
    }

    async fn finalize_upgrade(&self, call: &Call, dry_run: bool) -> Result<UpgradeStatus, Refusal> {
        self.note("finalize_upgrade", call)?;
        Ok(upgrade(if dry_run { 1 } else { 2 }))
    }
}

pub(crate) fn upgrade(level: u32) -> UpgradeStatus {
    UpgradeStatus {
        level,
        known: 2,
        stale: false,
        nodes: vec![
            UpgradeNode { id: 1, knows: Some(2), version: Some("0.2.0".into()) },
            UpgradeNode { id: 2, knows: None, version: None },
        ],
        next: vec![UpgradeLevel { level: 2, brings: "more".into() }],
        obstacles: vec!["node 2 does not answer".into()],
    }
}

/// An SVID whose chain is the CSR, so that a test can tell whose answer it is.
fn x509(csr: &[u8]) -> X509Svid {
    X509Svid {
        spiffe_id: "spiffe://example.org/w".parse().unwrap(),
        cert_chain: vec![csr.to_vec()],
        expires_at_secs: 1_800_000_000,
        hint: String::new(),
    }
}

fn jwt(spiffe_id: SpiffeId, ttl_secs: u64) -> JwtSvid {
    JwtSvid {
        spiffe_id,
        token: "a.b.c".into(),
        issued_at_secs: 1_800_000_000,
        expires_at_secs: 1_800_000_000 + ttl_secs,
        hint: "h".into(),
    }
}

fn status() -> ClusterStatus {
    let node = |id, role| NodeStatus {
        id,
        role,
        applied: Some(9),
        lag: None,
        version: Some("0.1.0".into()),
        peer_address: "127.0.0.1:1".into(),
        voter: true,
        last_contact_millis: Some(12),
        draining: false,
        clock_ahead_millis: Some(-3),
        disk: Some("ok".into()),
    };
    ClusterStatus {
        cluster_id: "00112233445566778899aabbccddeeff".into(),
        trust_domain: "example.org".into(),
        answered_by: 1,
        leader: Some(2),
        term: 4,
        stale: true,
        membership: 5,
        notes: vec!["a note".into()],
        nodes: vec![node(1, "follower"), node(2, "leader"), node(3, "learner"), node(4, "unreachable")],
    }
}

/// Health that says what it is told.
#[derive(Default)]
pub(crate) struct FakeHealth {
    pub(crate) problem: Mutex<Option<Refusal>>,
}

impl Health for FakeHealth {
    fn live(&self) -> Result<(), Refusal> {
        Ok(())
    }

    fn ready(&self) -> Result<(), Refusal> {
        self.problem.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn started(&self) -> Result<(), Refusal> {
        self.ready()
    }

    fn metrics(&self) -> String {
        "signet_up 1\n# EOF\n".into()
    }
}
