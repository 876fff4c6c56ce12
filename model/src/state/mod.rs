//! How commands change replicated state, and how to read it.
//!
//! [`apply`] is deterministic: it knows no clock, no dice, no configuration, only the rows, the command, its log index
//! and the cluster time that the log gives it. A refusal is an outcome like any other.

mod authorities;
mod entries;
mod issuance;
mod outside;
mod policy;
mod recipients;
mod requests;
mod rotation;
#[cfg(test)]
mod tests;
mod verify;

use minicbor::{Decode, Encode};

pub use authorities::{authorities, epoch, trust_bundle};
pub use entries::{children, entries_by_spiffe_id, entry, list, merged};
pub use issuance::{IssuanceBatch, committed_position, issuance_batches};
pub use policy::{StoredPolicy, policy};
pub use recipients::{backends, recipients};
pub use requests::first_outcome;
pub use rotation::hierarchy;
pub use verify::{Findings, SHOWN_PROBLEMS, SpaceFindings, verify};

use crate::command::{Command, Outcome, Proposal, Settings};
use crate::refusal::{Reason, Refusal};
use crate::rows::{Rows, RowsMut, Space};
use crate::stored::{StoredFormError, from_bytes, to_bytes};
use crate::time::UnixTime;

/// Where in the log a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The log index.
    pub index: u64,
    /// Cluster time: it never runs backwards.
    pub at: UnixTime,
}

/// Carries out one command, or refuses it and changes nothing. A command with an idempotency key is carried out once.
///
/// # Errors
/// A row is not what this program wrote. The state is damaged or was written by a newer program: the node must stop.
pub fn apply(rows: &mut dyn RowsMut, position: Position, proposal: &Proposal) -> Result<Outcome, StoredFormError> {
    match &proposal.request {
        None => carry_out(rows, position, proposal),
        Some(request) => {
            requests::once(rows, position, &proposal.caller, request, |rows| carry_out(rows, position, proposal))
        }
    }
}

fn carry_out(rows: &mut dyn RowsMut, position: Position, proposal: &Proposal) -> Result<Outcome, StoredFormError> {
    match &proposal.command {
        Command::Establish { settings, authorities } => establish(rows, position, settings, authorities),
        Command::CreateEntries { entries } => entries::create(rows, position, &proposal.caller, entries),
        Command::UpdateEntries { changes } => entries::update(rows, position, &proposal.caller, changes),
        Command::DeleteEntries { ids } => entries::delete(rows, ids),
        Command::ApplyPolicy { document, expected_version } => {
            policy::replace(rows, position, &proposal.caller, document, *expected_version)
        }
        Command::RecordIssuance { node, first, records, not_after_secs } => {
            issuance::record(rows, position, *node, *first, records, *not_after_secs)
        }
        Command::Remember { answer } => Ok(Outcome::Remembered { answer: answer.clone() }),
        Command::PrepareAuthority { .. }
        | Command::ActivateAuthority { .. }
        | Command::TaintAuthority { .. }
        | Command::RevokeAuthority { .. }
        | Command::RetireAuthority { .. }
        | Command::RequestRotation { .. }
        | Command::ReportUnwrapped { .. }
        | Command::KeepCertificateRequest { .. }
        | Command::DropCertificateRequest { .. } => rotation::apply(rows, position, proposal),
        Command::AddRecipient { .. }
        | Command::RemoveRecipient { .. }
        | Command::RewrapKeys { .. }
        | Command::ReportBackends { .. }
        | Command::PlaceRoots { .. } => recipients::apply(rows, position, proposal),
    }
}

/// What holds for the whole cluster, or `None` before the trust domain was made.
///
/// # Errors
/// As for [`apply`].
pub fn settings(rows: &dyn Rows) -> Result<Option<Settings>, StoredFormError> {
    load(rows, Space::Meta, SETTINGS)
}

fn establish(
    rows: &mut dyn RowsMut,
    position: Position,
    settings: &Settings,
    first: &[crate::authority::Authority],
) -> Result<Outcome, StoredFormError> {
    if let Some(present) = self::settings(rows)? {
        let detail = format!("this cluster already has the trust domain {}", present.trust_domain);
        return Ok(Outcome::Refused(Refusal::new(Reason::AlreadyExists, detail)));
    }
    store(rows, Space::Meta, SETTINGS, settings);
    for authority in first {
        authorities::add_first(rows, position, authority)?;
    }
    recipients::establish(rows, position.at)?;
    Ok(Outcome::Done)
}

fn load<T: for<'b> Decode<'b, ()>>(rows: &dyn Rows, space: Space, key: &[u8]) -> Result<Option<T>, StoredFormError> {
    rows.row(space, key).map(|bytes| from_bytes(&bytes)).transpose()
}

fn store<T: Encode<()>>(rows: &mut dyn RowsMut, space: Space, key: &[u8], value: &T) {
    rows.put(space, key, to_bytes(value));
}

const SETTINGS: &[u8] = b"settings";
