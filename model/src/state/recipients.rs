//! Commands about recipients. No key that nodes open is ever left without a recipient that a living voter can use, whoever
//! asks and whatever came between.

use super::authorities::{self, authority};
use super::{Position, authorities as of_kind, load, settings, store};
use crate::authority::{Authority, AuthorityKind, Slot, StoredKey, WrappedKey};
use crate::caller::Caller;
use crate::command::{AuthorityRef, Command, Outcome, Proposal};
use crate::recipient::{BackendState, NodeBackends, Recipient, Recipients, Rewrapped, is_opened_by_nodes, wrappings};
use crate::refusal::{Reason, Refusal};
use crate::rows::{Rows, RowsMut, Space};
use crate::stored::{StoredFormError, from_bytes};
use crate::time::UnixTime;

/// For whom keys are wrapped. Of a trust domain that was made before this was kept: for whom they are.
///
/// # Errors
/// A row is damaged; the node must stop.
pub fn recipients(rows: &dyn Rows) -> Result<Recipients, StoredFormError> {
    match load(rows, Space::Meta, RECIPIENTS)? {
        Some(recipients) => Ok(recipients),
        None => found(rows, None),
    }
}

/// What every node last said of its backends, in the order of their ids.
///
/// # Errors
/// A row is damaged; the node must stop.
pub fn backends(rows: &dyn Rows) -> Result<Vec<NodeBackends>, StoredFormError> {
    rows.scan(Space::Meta, BACKENDS, None, usize::MAX).iter().map(|(_, value)| from_bytes(value)).collect()
}

/// Notes for whom the first authorities are wrapped.
pub(super) fn establish(rows: &mut dyn RowsMut, at: UnixTime) -> Result<(), StoredFormError> {
    let first = found(rows, Some(at))?;
    store(rows, Space::Meta, RECIPIENTS, &first);
    Ok(())
}

/// What the authorities themselves tell.
fn found(rows: &dyn Rows, at: Option<UnixTime>) -> Result<Recipients, StoredFormError> {
    let mut found = Recipients::default();
    let mut root = None;
    for kind in AuthorityKind::ALL {
        for authority in of_kind(rows, *kind)? {
            for wrapped in wrappings(&authority) {
                if !found.has(&wrapped.recipient) {
                    let (id, added_at) = (wrapped.recipient.clone(), at.unwrap_or(authority.created_at));
                    found.list.push(Recipient { id, added_at, added_by: None });
                }
            }
            if authority.kind == AuthorityKind::X509Root && authority.slot == Slot::Active {
                root = Some(authority);
            }
        }
    }
    let home = root.and_then(|root| found.list.iter().find(|one| Recipients::holds(&one.id, &root)).cloned());
    found.roots = home.map(|home| home.id).unwrap_or_default();
    Ok(found)
}

pub(super) fn apply(
    rows: &mut dyn RowsMut,
    position: Position,
    proposal: &Proposal,
) -> Result<Outcome, StoredFormError> {
    if settings(rows)?.is_none() {
        let refusal =
            Refusal::new(Reason::NotInitialized, "this cluster has no trust domain yet: run `signet cluster init`");
        return Ok(Outcome::Refused(refusal));
    }
    let change = Change { recipients: recipients(rows)?, position, caller: &proposal.caller };
    let done = match &proposal.command {
        Command::AddRecipient { recipient, wrapped, roots, expected_version } => {
            change.add(rows, recipient, wrapped, *roots, *expected_version)?
        }
        Command::RemoveRecipient { recipient, expected_version, voters, force } => {
            change.remove(rows, recipient, *expected_version, voters, *force)?
        }
        Command::RewrapKeys { wrapped } => change.rewrap(rows, wrapped)?,
        Command::ReportBackends { node, backends } => change.report(rows, *node, backends),
        Command::PlaceRoots { recipient, expected_version } => change.place(rows, recipient, *expected_version)?,
        Command::Establish { .. }
        | Command::CreateEntries { .. }
        | Command::UpdateEntries { .. }
        | Command::DeleteEntries { .. }
        | Command::ApplyPolicy { .. }
        | Command::RecordIssuance { .. }
        | Command::Remember { .. }
        | Command::PrepareAuthority { .. }
        | Command::ActivateAuthority { .. }
        | Command::TaintAuthority { .. }
        | Command::RevokeAuthority { .. }
        | Command::RetireAuthority { .. }
        | Command::RequestRotation { .. }
        | Command::ReportUnwrapped { .. }
        | Command::KeepCertificateRequest { .. }
        | Command::DropCertificateRequest { .. } => {
            Err(Refusal::new(Reason::Internal, "not a command about recipients"))
        }
    };
    Ok(done.map_or_else(Outcome::Refused, |()| Outcome::Done))
}

/// Either done, or refused with nothing changed; the outer error is a damaged row.
type Done = Result<Result<(), Refusal>, StoredFormError>;

/// A command about to change the recipients.
struct Change<'a> {
    recipients: Recipients,
    position: Position,
    caller: &'a Caller,
}

impl Change<'_> {
    fn add(
        mut self,
        rows: &mut dyn RowsMut,
        id: &str,
        wrapped: &[Rewrapped],
        roots: bool,
        expected_version: u64,
    ) -> Done {
        let mut keys = keys(rows)?;
        if let Err(refusal) = self.may_add(id, &keys, wrapped, expected_version) {
            return Ok(Err(refusal));
        }
        for key in &mut keys {
            if let Some(new) = wrapped.iter().find(|new| new.authority == name(key)) {
                put_wrapping(rows, key, &new.wrapped);
            }
        }
        let added = Recipient { id: id.to_owned(), added_at: self.position.at, added_by: Some(self.caller.clone()) };
        self.recipients.list.push(added);
        if roots {
            id.clone_into(&mut self.recipients.roots);
        }
        self.keep(rows);
        Ok(Ok(()))
    }

    fn may_add(
        &self,
        id: &str,
        keys: &[Authority],
        wrapped: &[Rewrapped],
        expected_version: u64,
    ) -> Result<(), Refusal> {
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            return Err(Refusal::invalid(format!("recipient: between 1 and {MAX_ID_BYTES} bytes")));
        }
        if self.recipients.has(id) {
            return Err(Refusal::new(Reason::AlreadyExists, format!("{id} is a recipient already")));
        }
        self.stands_at(expected_version)?;
        if self.recipients.list.len() >= MAX_RECIPIENTS {
            return Err(precondition(format!(
                "there are {MAX_RECIPIENTS} recipients already, and every key is wrapped for each: remove one first"
            )));
        }
        let covered =
            |key: &&Authority| wrapped.iter().any(|new| new.authority == name(key) && new.wrapped.recipient == id);
        match keys.iter().filter(|key| is_opened_by_nodes(key)).find(|key| !covered(key)) {
            None => Ok(()),
            Some(key) => Err(Refusal::new(
                Reason::Conflict,
                format!("{} was made meanwhile and is not wrapped for {id}; look again and retry", name(key)),
            )),
        }
    }

    fn remove(mut self, rows: &mut dyn RowsMut, id: &str, expected_version: u64, voters: &[u64], force: bool) -> Done {
        let (keys, roots, reports) = (keys(rows)?, of_kind(rows, AuthorityKind::X509Root)?, backends(rows)?);
        let allowed = self
            .may_remove(id, expected_version, &roots, &keys)
            .and_then(|()| self.opens_without(id, &keys, &living(&reports, voters), force));
        if let Err(refusal) = allowed {
            return Ok(Err(refusal));
        }
        for mut key in keys {
            if let StoredKey::Wrapped { for_recipients } = &mut key.key
                && for_recipients.iter().any(|wrapped| wrapped.recipient == id)
            {
                for_recipients.retain(|wrapped| wrapped.recipient != id);
                authorities::put(rows, &key);
            }
        }
        self.recipients.list.retain(|recipient| recipient.id != id);
        self.keep(rows);
        Ok(Ok(()))
    }

    fn may_remove(
        &self,
        id: &str,
        expected_version: u64,
        roots: &[Authority],
        keys: &[Authority],
    ) -> Result<(), Refusal> {
        self.is_one(id)?;
        self.stands_at(expected_version)?;
        if self.recipients.list.len() == 1 {
            return Err(precondition(format!(
                "{id} is the only recipient: without it no node could open a key; add another first"
            )));
        }
        if self.recipients.roots == id {
            return Err(precondition(format!(
                "new roots are made in the backend of {id}: choose another first (`signet recipient place-roots OTHER`)"
            )));
        }
        let holds = |slot| roots.iter().find(|root| root.slot == slot && Recipients::holds(id, root));
        if let Some(root) = holds(Slot::Active) {
            return Err(precondition(format!(
                "the active {} is in the backend of {id} and cannot leave it: rotate the root first (`signet authority rotate --kind x509-root`)",
                name(root)
            )));
        }
        if let Some(root) = holds(Slot::Prepared) {
            return Err(precondition(format!(
                "the standby {} is in the backend of {id}: the leader replaces it by one where roots are made now, see `signet authority show`; retry when it is gone",
                name(root)
            )));
        }
        let signs_there = |key: &&Authority| key.slot != Slot::Retiring && Recipients::holds(id, key);
        if let Some(key) = keys.iter().find(signs_there) {
            return Err(precondition(format!(
                "{} is in the backend of {id} and cannot leave it: its successor is made where roots are made now, so rotate it first (`signet authority rotate --kind {}`)",
                name(key),
                key.kind
            )));
        }
        Ok(())
    }

    /// Whether every key can be opened by a living voter without `id`; unless `force`, by each of them.
    fn opens_without(
        &self,
        id: &str,
        keys: &[Authority],
        living: &[(u64, Option<&NodeBackends>)],
        force: bool,
    ) -> Result<(), Refusal> {
        for key in keys.iter().filter(|key| is_opened_by_nodes(key) && !wrappings(key).is_empty()) {
            let others: Vec<&str> = wrappings(key)
                .iter()
                .map(|wrapped| wrapped.recipient.as_str())
                .filter(|other| *other != id && self.recipients.has(other))
                .collect();
            if others.is_empty() {
                return Err(precondition(format!(
                    "{id} is the only recipient that {} is wrapped for: the leader wraps it for the others as soon as it can use them, see `signet recipient list`; retry then",
                    name(key)
                )));
            }
            let opens = |report: &Option<&NodeBackends>| {
                report.is_some_and(|report| others.iter().any(|other| report.opens(other)))
            };
            if !living.iter().any(|(_, report)| opens(report)) {
                return Err(precondition(format!(
                    "no living voter can use {others:?}, so nobody could open {} without {id}: see `signet recipient list` for why",
                    name(key)
                )));
            }
            if let Some((node, _)) = living.iter().find(|(_, report)| !opens(report)).filter(|_| !force) {
                return Err(precondition(format!(
                    "node {node} can use none of {others:?}, and without {id} it would be sealed at its next start: add one of them to its keys.recipients and restart it, or see `signet recipient list` for why it cannot; --force does without that node"
                )));
            }
        }
        Ok(())
    }

    fn rewrap(&self, rows: &mut dyn RowsMut, wrapped: &[Rewrapped]) -> Done {
        for new in wrapped.iter().filter(|new| self.recipients.has(&new.wrapped.recipient)) {
            if let Some(mut key) = authority(rows, &new.authority)?.filter(is_opened_by_nodes) {
                put_wrapping(rows, &mut key, &new.wrapped);
            }
        }
        Ok(Ok(()))
    }

    fn report(&self, rows: &mut dyn RowsMut, node: u64, backends: &[BackendState]) -> Result<(), Refusal> {
        if backends.len() > MAX_RECIPIENTS {
            return Err(Refusal::invalid(format!("backends: at most {MAX_RECIPIENTS}")));
        }
        let report = NodeBackends { node, at: self.position.at, backends: backends.to_vec() };
        store(rows, Space::Meta, &backends_key(node), &report);
        Ok(())
    }

    fn place(mut self, rows: &mut dyn RowsMut, id: &str, expected_version: u64) -> Done {
        let allowed = self.is_one(id).and_then(|()| self.stands_at(expected_version));
        if let Err(refusal) = allowed {
            return Ok(Err(refusal));
        }
        if !backends(rows)?.iter().any(|report| report.opens(id)) {
            let detail = format!("no node can use {id}, so no root could be made there: see `signet recipient list`");
            return Ok(Err(precondition(detail)));
        }
        id.clone_into(&mut self.recipients.roots);
        self.keep(rows);
        Ok(Ok(()))
    }

    fn is_one(&self, id: &str) -> Result<(), Refusal> {
        if self.recipients.has(id) {
            return Ok(());
        }
        let detail = format!("{id} is no recipient; `signet recipient list` shows those there are");
        Err(Refusal::new(Reason::NotFound, detail))
    }

    fn stands_at(&self, expected_version: u64) -> Result<(), Refusal> {
        if self.recipients.version == expected_version {
            return Ok(());
        }
        Err(Refusal::new(Reason::Conflict, "the recipients were changed meanwhile; look again and retry"))
    }

    fn keep(mut self, rows: &mut dyn RowsMut) {
        self.recipients.version += 1;
        store(rows, Space::Meta, RECIPIENTS, &self.recipients);
    }
}

impl Recipients {
    /// Keeps of a new authority's wrappings those for recipients that still are some.
    pub(super) fn keep_wrappings(&self, new: &mut Authority) -> Result<(), Refusal> {
        let name = name(new);
        let StoredKey::Wrapped { for_recipients } = &mut new.key else { return Ok(()) };
        let before = for_recipients.len();
        for_recipients.retain(|wrapped| self.has(&wrapped.recipient));
        if before > 0 && for_recipients.is_empty() {
            let detail = format!("the recipients were changed while {name} was made; retry");
            return Err(Refusal::new(Reason::Conflict, detail));
        }
        Ok(())
    }
}

/// Every authority that is no root.
fn keys(rows: &dyn Rows) -> Result<Vec<Authority>, StoredFormError> {
    let mut keys = Vec::new();
    for kind in AuthorityKind::IN_MEMORY {
        keys.extend(of_kind(rows, *kind)?);
    }
    Ok(keys)
}

fn living<'a>(reports: &'a [NodeBackends], voters: &[u64]) -> Vec<(u64, Option<&'a NodeBackends>)> {
    voters.iter().map(|voter| (*voter, reports.iter().find(|report| report.node == *voter))).collect()
}

fn put_wrapping(rows: &mut dyn RowsMut, key: &mut Authority, new: &WrappedKey) {
    let StoredKey::Wrapped { for_recipients } = &mut key.key else { return };
    for_recipients.retain(|wrapped| wrapped.recipient != new.recipient);
    for_recipients.push(new.clone());
    authorities::put(rows, key);
}

fn name(authority: &Authority) -> AuthorityRef {
    AuthorityRef { kind: authority.kind, id: authority.id.clone() }
}

fn precondition(detail: String) -> Refusal {
    Refusal::new(Reason::FailedPrecondition, detail)
}

fn backends_key(node: u64) -> Vec<u8> {
    [BACKENDS, &node.to_be_bytes()].concat()
}

const RECIPIENTS: &[u8] = b"recipients";
const BACKENDS: &[u8] = b"backends/";
const MAX_ID_BYTES: usize = 256;
/// Each costs a call of its backend for every key that is made.
const MAX_RECIPIENTS: usize = 8;
