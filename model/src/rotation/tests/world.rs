//! A cluster without machines: replicated state, nodes that may be cut off, and what was signed and published.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::authority::{Authority, AuthorityKind, KeyId, Life, Slot, StoredKey, WrappedKey};
use crate::caller::Caller;
use crate::command::{AuthorityRef, Command, Outcome, Proposal, RotationSettings, Settings};
use crate::refusal::Refusal;
use crate::rotation::{Action, Hierarchy, Step};
use crate::rows::MemoryRows;
use crate::state::{self, Position};
use crate::stored::{from_bytes, to_bytes};
use crate::time::UnixTime;

pub(super) const START: UnixTime = UnixTime::from_secs(1_000_000);
pub(super) const NODES: [u64; 3] = [1, 2, 3];

/// Everything that a test looks at.
pub(super) struct World {
    pub(super) rows: MemoryRows,
    pub(super) index: u64,
    pub(super) now: UnixTime,
    pub(super) nodes: BTreeMap<u64, Node>,
    pub(super) signed: Vec<Credential>,
    /// Since when each authority that verifiers know has been published.
    pub(super) published: BTreeMap<AuthorityRef, UnixTime>,
    pub(super) revoked: BTreeSet<AuthorityRef>,
    /// Activated when nothing could be signed any more, so without waiting for verifiers.
    pub(super) waived: BTreeSet<AuthorityRef>,
    made: u64,
    /// For whom whoever makes a key wraps it; the first is where roots are made.
    pub(super) recipients: Vec<String>,
}

/// A node signs from what it has applied, while its lease lasts.
pub(super) struct Node {
    pub(super) cut: bool,
    pub(super) view: Hierarchy,
    pub(super) lease_until: UnixTime,
}

pub(super) struct Credential {
    pub(super) key: AuthorityRef,
    /// What verifiers must know to accept it.
    pub(super) anchor: AuthorityRef,
    pub(super) not_after: UnixTime,
}

pub(super) fn settings() -> Settings {
    Settings {
        trust_domain: "example.org".parse().unwrap(),
        cluster_id: "00112233445566778899aabbccddeeff".into(),
        token_issuer: "https://tts.example.org".into(),
        jwt_svid_issuer: String::new(),
        x509_svid_ttl_secs: 60,
        jwt_svid_ttl_secs: 30,
        refresh_hint_secs: 10,
        lease_secs: 4,
        demo: false,
        keys: None,
        rotation: Some(RotationSettings {
            x509_root_secs: 4_000,
            x509_issuing_secs: 400,
            jwt_svid_secs: 400,
            transaction_token_secs: 300,
            publish_secs: 40,
        }),
    }
}

pub(super) fn name(kind: AuthorityKind, id: &str) -> AuthorityRef {
    AuthorityRef { kind, id: id.to_owned() }
}

pub(super) fn wrapping(recipient: &str) -> WrappedKey {
    WrappedKey { recipient: recipient.to_owned(), blob: recipient.as_bytes().to_vec() }
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            rows: MemoryRows::default(),
            index: 0,
            now: START,
            nodes: BTreeMap::new(),
            signed: Vec::new(),
            published: BTreeMap::new(),
            revoked: BTreeSet::new(),
            waived: BTreeSet::new(),
            made: 0,
            recipients: vec!["file:a".into()],
        };
        let mut authorities = Vec::new();
        for (kind, slot) in [
            (AuthorityKind::X509Root, Slot::Active),
            (AuthorityKind::X509Root, Slot::Prepared),
            (AuthorityKind::X509Issuing, Slot::Active),
            (AuthorityKind::JwtSvid, Slot::Active),
            (AuthorityKind::TransactionToken, Slot::Active),
        ] {
            let root = if kind == AuthorityKind::X509Issuing { "1".to_owned() } else { String::new() };
            let mut authority = world.new_authority(&settings(), kind, root);
            authority.slot = slot;
            authorities.push(authority);
        }
        world.apply(Command::Establish { settings: settings(), authorities }).unwrap();
        let view = world.hierarchy();
        for node in NODES {
            world.nodes.insert(node, Node { cut: false, view: view.clone(), lease_until: START });
        }
        // What was published at the start, verifiers have known for ever.
        for since in world.published.values_mut() {
            *since = UnixTime::default();
        }
        world.report_all();
        world
    }

    pub(super) fn hierarchy(&self) -> Hierarchy {
        state::hierarchy(&self.rows).unwrap().unwrap()
    }

    pub(super) fn active(&self, kind: AuthorityKind) -> AuthorityRef {
        name(kind, &self.hierarchy().active(kind).unwrap().id)
    }

    pub(super) fn apply(&mut self, command: Command) -> Result<(), Refusal> {
        self.apply_as(Caller::Node { node: 1 }, command)
    }

    pub(super) fn apply_as(&mut self, caller: Caller, command: Command) -> Result<(), Refusal> {
        self.index += 1;
        let proposal = Proposal { caller, command, request: None };
        let proposal: Proposal = from_bytes(&to_bytes(&proposal)).unwrap();
        let before = self.rows.clone();
        let position = Position { index: self.index, at: self.now };
        match state::apply(&mut self.rows, position, &proposal).unwrap() {
            Outcome::Done => {}
            Outcome::Refused(refusal) => {
                assert_eq!(self.rows, before, "a refused command changed something: {refusal}");
                return Err(refusal);
            }
            other @ (Outcome::Entries(_)
            | Outcome::Policy { .. }
            | Outcome::Remembered { .. }
            | Outcome::Recorded { .. }) => panic!("{other:?}"),
        }
        self.note_published();
        self.catch_up();
        Ok(())
    }

    fn note_published(&mut self) {
        let hierarchy = self.hierarchy();
        let bundle = state::trust_bundle(&self.rows).unwrap().unwrap();
        let mut known: BTreeSet<AuthorityRef> =
            bundle.jwt_authorities.iter().map(|key| name(AuthorityKind::JwtSvid, &key.key_id)).collect();
        // A test's certificate is its id.
        let roots = bundle.x509_authorities.iter().map(|root| String::from_utf8(root.certificate.clone()).unwrap());
        known.extend(roots.map(|id| name(AuthorityKind::X509Root, &id)));
        known.extend(hierarchy.of(AuthorityKind::TransactionToken).map(|key| name(key.kind, &key.id)));
        self.published.retain(|authority, _| known.contains(authority));
        for authority in known {
            self.published.entry(authority).or_insert(self.now);
        }
    }

    /// Nodes that are not cut off apply what there is and renew their lease.
    pub(super) fn catch_up(&mut self) {
        let (view, until) = (self.hierarchy(), self.now.after(Duration::from_secs(settings().lease_secs.into())));
        for node in self.nodes.values_mut().filter(|node| !node.cut) {
            node.view = view.clone();
            node.lease_until = until;
        }
    }

    pub(super) fn pass(&mut self, secs: u64) {
        self.catch_up();
        self.now = self.now.after(Duration::from_secs(secs));
        self.catch_up();
    }

    pub(super) fn new_authority(&mut self, settings: &Settings, kind: AuthorityKind, issuer: KeyId) -> Authority {
        self.made += 1;
        let id = self.made.to_string();
        let not_after = self.now.after(settings.authority_lifetime(kind));
        Authority {
            kind,
            slot: Slot::Prepared,
            public_key: Vec::new(),
            certificate: id.clone().into_bytes(),
            id,
            key: match kind {
                AuthorityKind::X509Root => StoredKey::InBackend {
                    backend: "file".into(),
                    reference: vec![1],
                    recipient: self.recipients.first().cloned(),
                },
                AuthorityKind::X509Issuing | AuthorityKind::JwtSvid | AuthorityKind::TransactionToken => {
                    let wrapped = self.recipients.iter().map(|recipient| wrapping(recipient));
                    StoredKey::Wrapped { for_recipients: wrapped.collect() }
                }
            },
            created_at: self.now,
            not_after,
            life: Life { issuer, ..Life::default() },
            outside: None,
        }
    }

    pub(super) fn prepare(&mut self, kind: AuthorityKind) -> Result<AuthorityRef, Refusal> {
        let hierarchy = self.hierarchy();
        let root = hierarchy.active(AuthorityKind::X509Root).unwrap().clone();
        let issuer = if kind == AuthorityKind::X509Issuing { root.id.clone() } else { String::new() };
        let mut authority = self.new_authority(&hierarchy.settings, kind, issuer);
        if kind == AuthorityKind::X509Issuing {
            authority.not_after = authority.not_after.min(root.not_after);
            authority.outside = root.above_issuing();
        }
        let prepared = name(kind, &authority.id);
        self.apply(Command::PrepareAuthority { authority, expected_epoch: hierarchy.epoch(kind) })?;
        Ok(prepared)
    }

    pub(super) fn activate(&mut self, authority: &AuthorityRef, waits_for: &[u64], force: bool) -> Result<(), Refusal> {
        let ended = self.hierarchy().active(authority.kind).is_none_or(|active| active.not_after <= self.now);
        let expected_epoch = self.hierarchy().epoch(authority.kind);
        let waits_for = waits_for.to_vec();
        self.apply(Command::ActivateAuthority { authority: authority.clone(), expected_epoch, waits_for, force })?;
        if ended || force {
            self.waived.insert(authority.clone());
        }
        Ok(())
    }

    pub(super) fn taint(&mut self, authority: &AuthorityRef) -> Result<(), Refusal> {
        let expected_epoch = self.hierarchy().epoch(authority.kind);
        self.apply(Command::TaintAuthority { authority: authority.clone(), expected_epoch })
    }

    pub(super) fn revoke(&mut self, authority: &AuthorityRef) -> Result<(), Refusal> {
        let expected_epoch = self.hierarchy().epoch(authority.kind);
        self.apply(Command::RevokeAuthority { authority: authority.clone(), expected_epoch, force: false })?;
        self.revoked.insert(authority.clone());
        Ok(())
    }

    pub(super) fn retire(&mut self, authority: &AuthorityRef) -> Result<(), Refusal> {
        let expected_epoch = self.hierarchy().epoch(authority.kind);
        self.apply(Command::RetireAuthority { authority: authority.clone(), expected_epoch })
    }

    pub(super) fn request(
        &mut self,
        kinds: &[AuthorityKind],
        emergency: bool,
        revoke_after_secs: Option<u32>,
    ) -> Result<(), Refusal> {
        self.apply(Command::RequestRotation {
            kinds: kinds.to_vec(),
            reason: "a test".into(),
            emergency,
            revoke_after_secs,
        })
    }

    /// Every node that is not cut off says which keys it has unwrapped.
    pub(super) fn report_all(&mut self) {
        for node in NODES {
            self.report(node);
        }
    }

    pub(super) fn report(&mut self, node: u64) {
        if self.nodes[&node].cut {
            return;
        }
        let all = self.hierarchy().authorities;
        let memory = all.iter().filter(|authority| authority.kind != AuthorityKind::X509Root);
        let authorities = memory.map(|authority| name(authority.kind, &authority.id)).collect();
        self.apply(Command::ReportUnwrapped { node, authorities }).unwrap();
    }

    /// Does what the plan says is due, as the leader does: one step, then a new plan.
    pub(super) fn lead(&mut self) {
        for _ in 0..50 {
            let alive: Vec<u64> = NODES.into_iter().filter(|node| !self.nodes[node].cut).collect();
            let plan = self.hierarchy().plan(self.now);
            let due: Vec<Step> = plan.into_iter().filter(|step| step.due <= self.now).collect();
            if !due.iter().any(|step| self.carry_out(step, &alive)) {
                return;
            }
        }
        panic!("the plan never comes to an end: {:#?}", self.hierarchy().plan(self.now));
    }

    fn carry_out(&mut self, step: &Step, alive: &[u64]) -> bool {
        let which = step.id.as_ref().map(|id| name(step.kind, id));
        let done = match (step.action, which) {
            (Action::Prepare, _) => self.prepare(step.kind).map(drop),
            (Action::Import, _) | (_, None) => return false,
            // Voters may not have unwrapped it yet: tried again.
            (Action::Activate, Some(which)) => return self.activate(&which, alive, false).is_ok(),
            (Action::Taint, Some(which)) => self.taint(&which),
            (Action::Retire, Some(which)) => self.retire(&which),
            (Action::Discard | Action::Revoke, Some(which)) => self.revoke(&which),
        };
        done.unwrap_or_else(|refusal| panic!("{step:?} was planned and refused: {refusal}"));
        true
    }

    /// `node` signs something that would like to live for `ttl_secs`.
    pub(super) fn sign(&mut self, node: u64, kind: AuthorityKind, ttl_secs: u64) {
        let node = &self.nodes[&node];
        let active = node.view.active(kind).unwrap();
        if self.now >= node.lease_until || self.now >= active.not_after || !active.life.unwrapped_by.contains(&1) {
            return;
        }
        let key = name(kind, &active.id);
        let anchor = match kind {
            AuthorityKind::X509Issuing => name(AuthorityKind::X509Root, &active.life.issuer),
            AuthorityKind::X509Root | AuthorityKind::JwtSvid | AuthorityKind::TransactionToken => key.clone(),
        };
        let since = self.published.get(&anchor);
        let caches = Duration::from_secs((settings().refresh_hint_secs + settings().lease_secs).into());
        let waived = self.waived.contains(&anchor);
        assert!(since.is_some(), "{key} signs, and verifiers do not know {anchor}");
        assert!(
            waived || since.is_some_and(|since| self.now.since(*since) >= caches),
            "{key} signs at {:?}, and some verifiers do not know {anchor} yet, published at {since:?}",
            self.now
        );
        let not_after = self.now.after(Duration::from_secs(ttl_secs)).min(active.not_after);
        self.signed.push(Credential { key, anchor, not_after });
    }

    /// What must hold at any time.
    pub(super) fn check(&self) {
        let hierarchy = self.hierarchy();
        for kind in AuthorityKind::ALL {
            let active = hierarchy.of(*kind).filter(|authority| authority.slot == Slot::Active).count();
            assert_eq!(active, 1, "{kind}: {active} are active");
        }
        for credential in self.signed.iter().filter(|credential| credential.not_after > self.now) {
            let revoked = self.revoked.contains(&credential.key) || self.revoked.contains(&credential.anchor);
            assert_ne!(
                self.published.contains_key(&credential.anchor),
                revoked,
                "{} signed what is valid until {:?}; it is {:?}",
                credential.key,
                credential.not_after,
                self.now
            );
        }
    }
}
