//! Authorities that rotate: the leader carries out the plan, people change it, every node reports what it holds.
//!
//! What is due and what is allowed is decided in `model`; here keys are made and commands proposed. No request for a
//! credential passes through here.

mod give_way;
mod lead;
mod make;
mod outside;
mod report;
mod rewrap;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use signet_api::service::{Authorities, AuthorityChange, Call};
use signet_model::authority::{Authority, AuthorityKind, Slot};
use signet_model::caller::Caller;
use signet_model::command::{AuthorityRef, Command};
use signet_model::refusal::{Reason, Refusal};
use signet_model::rotation::{Bound, Hierarchy};
use signet_model::time::UnixTime;
use signet_model::{rows, state};
use signet_raft::{Node, Role};

pub(super) use self::make::Maker;
pub(super) use self::report::keep as report;
pub(super) use self::waiting::Waiting;
use super::backends::Backends;
use super::issue::not_initialized;
use super::ledger;
use super::live::LiveState;

/// Makes and changes authorities.
#[derive(Debug)]
pub(crate) struct Rotation {
    pub(crate) node: Node,
    pub(crate) live: Arc<LiveState>,
    pub(crate) backends: Arc<Backends>,
    pub(crate) waiting: Waiting,
}

impl Rotation {
    /// Every authority and the plan.
    ///
    /// # Errors
    /// No quorum, or no trust domain yet.
    pub(crate) async fn show(&self, call: &Call) -> Result<Authorities, Refusal> {
        let (hierarchy, now) = self.look(ledger::timeout(call)).await?;
        Ok(self.told(hierarchy, now, None))
    }

    /// Changes an authority on behalf of `call`'s caller, or shows what that would bring.
    ///
    /// # Errors
    /// Why it was not done. Nothing was changed then, but for [`Reason::DeadlineExceeded`].
    pub(crate) async fn change(
        &self,
        call: &Call,
        change: AuthorityChange,
        dry_run: bool,
    ) -> Result<Authorities, Refusal> {
        let (hierarchy, now) = self.look(ledger::timeout(call)).await?;
        if !dry_run && ledger::done_before(&self.node.view(), call)?.is_some() {
            return Ok(self.told(hierarchy, now, None));
        }
        if let AuthorityChange::RequestCertificate { another: false, .. } = &change
            && let Some(waiting) = hierarchy.certificate_requests.last()
        {
            let changed = AuthorityRef { kind: AuthorityKind::X509Root, id: waiting.id.clone() };
            return Ok(self.told(hierarchy, now, Some(changed)));
        }
        let mut notes = Vec::new();
        let (command, changed) = self.command(&hierarchy, now, change, dry_run, &mut notes).await?;
        let mut told = if dry_run {
            self.told(self.tried(call.caller.clone(), now, command)?, now, changed)
        } else {
            ledger::propose(&self.node, call, command).await?;
            let (hierarchy, now) = self.look(ledger::timeout(call)).await?;
            self.told(hierarchy, now, changed)
        };
        told.notes.extend(notes);
        Ok(told)
    }

    /// Replaces every key that is in nodes' memory, because somebody who knew them should no longer: for the removal of
    /// a node. All three kinds at one log index; keys that were prepared before are thrown away unused.
    ///
    /// Returns at once: the leader makes the new keys within moments, and each takes over as soon as verifiers know it.
    /// The answer says for each of the old ones by when no node signs with it and no verifier accepts it, provided that
    /// the cluster keeps a quorum and the key backend answers. For an issuing CA the latter is the end of its certificate,
    /// unless the root is rotated too (`signet authority rotate --kind x509-root --emergency`).
    ///
    /// # Errors
    /// No quorum: nothing was asked for. [`Reason::DeadlineExceeded`]: it may have been; asking again does no harm.
    pub(crate) async fn rotate_issuing_keys(&self, call: &Call, reason: &str) -> Result<Vec<Bound>, Refusal> {
        let change = AuthorityChange::Rotate {
            kinds: AuthorityKind::IN_MEMORY.to_vec(),
            reason: reason.to_owned(),
            emergency: true,
            revoke_after_secs: None,
        };
        let told = self.change(call, change, false).await?;
        let replaced = |bound: &Bound| {
            let named = |authority: &&Authority| {
                authority.kind == bound.authority.kind
                    && authority.id == bound.authority.id
                    && authority.kind != AuthorityKind::X509Root
            };
            told.hierarchy.authorities.iter().any(|authority| named(&authority))
        };
        Ok(told.bounds.iter().filter(|bound| replaced(bound)).cloned().collect())
    }

    /// The hierarchy and cluster time, as a quorum confirms them.
    pub(super) async fn look(&self, timeout: Duration) -> Result<(Hierarchy, UnixTime), Refusal> {
        let grant = self.node.lease(timeout).await.map_err(ledger::not_read)?;
        let hierarchy = state::hierarchy(&self.node.view()).map_err(ledger::damaged)?.ok_or_else(not_initialized)?;
        Ok((hierarchy, grant.cluster_time))
    }

    async fn command(
        &self,
        hierarchy: &Hierarchy,
        now: UnixTime,
        change: AuthorityChange,
        dry_run: bool,
        notes: &mut Vec<String>,
    ) -> Result<(Command, Option<AuthorityRef>), Refusal> {
        let epoch = |authority: &AuthorityRef| hierarchy.epoch(authority.kind);
        Ok(match change {
            AuthorityChange::Prepare { kind } => {
                let authority =
                    if dry_run { sketch(hierarchy, kind, now) } else { self.make(hierarchy, kind, false, now).await? };
                let name = AuthorityRef { kind, id: authority.id.clone() };
                (Command::PrepareAuthority { authority, expected_epoch: hierarchy.epoch(kind) }, Some(name))
            }
            AuthorityChange::Activate { authority, force } => {
                let waits_for = self.living_voters().await;
                let (expected_epoch, name) = (epoch(&authority), authority.clone());
                (Command::ActivateAuthority { authority, expected_epoch, waits_for, force }, Some(name))
            }
            AuthorityChange::Taint { authority } => {
                let (expected_epoch, name) = (epoch(&authority), authority.clone());
                (Command::TaintAuthority { authority, expected_epoch }, Some(name))
            }
            AuthorityChange::Revoke { authority, force } => {
                let (expected_epoch, name) = (epoch(&authority), authority.clone());
                (Command::RevokeAuthority { authority, expected_epoch, force }, Some(name))
            }
            AuthorityChange::Rotate { kinds, reason, emergency, revoke_after_secs } => {
                (Command::RequestRotation { kinds, reason, emergency, revoke_after_secs }, None)
            }
            AuthorityChange::RequestCertificate { subject, .. } => {
                let maker = self.maker(hierarchy, false, now);
                let request = if dry_run { maker.sketch_request(&subject)? } else { maker.request(&subject).await? };
                let name = AuthorityRef { kind: AuthorityKind::X509Root, id: request.id.clone() };
                (Command::KeepCertificateRequest { request }, Some(name))
            }
            AuthorityChange::DropCertificateRequest { id } => {
                let name = AuthorityRef { kind: AuthorityKind::X509Root, id: id.clone() };
                (Command::DropCertificateRequest { id }, Some(name))
            }
            AuthorityChange::Import { chain, key } => {
                let maker = self.maker(hierarchy, false, now);
                let authority = maker.imported(&chain, key, &hierarchy.certificate_requests, notes).await?;
                let name = AuthorityRef { kind: authority.kind, id: authority.id.clone() };
                (Command::PrepareAuthority { expected_epoch: hierarchy.epoch(authority.kind), authority }, Some(name))
            }
        })
    }

    /// The hierarchy as it would be after `command`.
    pub(super) fn tried(&self, caller: Caller, now: UnixTime, command: Command) -> Result<Hierarchy, Refusal> {
        use rows::{Rows as _, RowsMut as _, Space};
        let view = self.node.view();
        let mut copy = rows::MemoryRows::default();
        for space in [Space::Meta, Space::Authorities] {
            for (key, value) in view.scan(space, &[], None, usize::MAX) {
                copy.put(space, &key, value);
            }
        }
        let position = state::Position { index: view.index() + 1, at: now };
        let proposal = signet_model::command::Proposal { caller, command, request: None };
        if let signet_model::command::Outcome::Refused(refusal) =
            state::apply(&mut copy, position, &proposal).map_err(ledger::damaged)?
        {
            return Err(refusal);
        }
        state::hierarchy(&copy).map_err(ledger::damaged)?.ok_or_else(not_initialized)
    }

    fn maker<'a>(&'a self, hierarchy: &'a Hierarchy, content: bool, now: UnixTime) -> Maker<'a> {
        let recipients = &hierarchy.recipients;
        Maker { settings: &hierarchy.settings, backends: &self.backends, recipients, content, now }
    }

    /// A new authority, prepared.
    async fn make(
        &self,
        hierarchy: &Hierarchy,
        kind: AuthorityKind,
        content: bool,
        now: UnixTime,
    ) -> Result<Authority, Refusal> {
        let maker = self.maker(hierarchy, content, now);
        match kind {
            AuthorityKind::X509Root => maker.root(Slot::Prepared).await,
            AuthorityKind::X509Issuing => {
                let root = hierarchy.active(AuthorityKind::X509Root).ok_or_else(|| {
                    Refusal::new(Reason::FailedPrecondition, "there is no active root to sign an issuing CA")
                })?;
                maker.x509_issuing(root, Slot::Prepared).await
            }
            AuthorityKind::JwtSvid | AuthorityKind::TransactionToken => maker.token_key(kind, Slot::Prepared).await,
        }
    }

    fn told(&self, hierarchy: Hierarchy, now: UnixTime, changed: Option<AuthorityRef>) -> Authorities {
        let (plan, bounds) = (hierarchy.plan(now), hierarchy.bounds(now));
        let notes = self.waiting.note().into_iter().chain(self.backends.notes()).collect();
        Authorities { now, plan, bounds, hierarchy, changed, kms_calls: self.backends.calls.in_the_last_hour(), notes }
    }

    /// The voters that answer now.
    pub(super) async fn living_voters(&self) -> Vec<u64> {
        let voters: Vec<u64> =
            self.node.local_status().peers.into_iter().filter(|peer| peer.voter).map(|peer| peer.id).collect();
        let status = self.node.cluster_status(ASK).await;
        let lives = |role| match role {
            Role::Leader | Role::Follower | Role::Candidate => true,
            Role::Waiting | Role::Learner | Role::Unreachable => false,
        };
        let living = status.nodes.into_iter().filter(|node| lives(node.role)).map(|node| node.id);
        living.filter(|node| voters.contains(node)).collect()
    }
}

/// What a new authority would be like, without a key, for a plan.
fn sketch(hierarchy: &Hierarchy, kind: AuthorityKind, now: UnixTime) -> Authority {
    let active = hierarchy.active(AuthorityKind::X509Root);
    let root = active.filter(|_| kind == AuthorityKind::X509Issuing);
    let end = now.after(hierarchy.settings.authority_lifetime(kind));
    let mut life = signet_model::authority::Life::default();
    if let Some(root) = root {
        life.issuer.clone_from(&root.id);
    }
    Authority {
        kind,
        id: "to-be-made".to_owned(),
        slot: Slot::Prepared,
        public_key: Vec::new(),
        certificate: Vec::new(),
        key: signet_model::authority::StoredKey::Wrapped { for_recipients: Vec::new() },
        created_at: now,
        not_after: root.map_or(end, |root| end.min(root.not_after)),
        life,
        outside: root.and_then(Authority::above_issuing),
    }
}

/// How long to wait for members that may be gone.
const ASK: Duration = Duration::from_secs(1);
