//! The exchange policy: one document at a time, its versions counted.

use minicbor::{Decode, Encode};

use super::{load, store};
use crate::caller::Caller;
use crate::command::Outcome;
use crate::refusal::{Reason, Refusal};
use crate::rows::{Rows, RowsMut, Space};
use crate::stored::StoredFormError;
use crate::time::UnixTime;

use super::Position;

/// The exchange policy as replicated. Stored form.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StoredPolicy {
    /// 1 for the first document, one more for each that follows.
    #[n(0)]
    pub version: u64,
    /// The YAML text, as it was given.
    #[n(1)]
    pub document: String,
    /// Who applied it.
    #[n(2)]
    pub changed_by: Caller,
    /// Cluster time of the change.
    #[n(3)]
    pub changed_at: UnixTime,
}

/// The policy in force, or `None` when none was ever applied.
///
/// # Errors
/// The row is damaged; the node must stop.
pub fn policy(rows: &dyn Rows) -> Result<Option<StoredPolicy>, StoredFormError> {
    load(rows, Space::Policy, IN_FORCE)
}

pub(super) fn replace(
    rows: &mut dyn RowsMut,
    position: Position,
    caller: &Caller,
    document: &str,
    expected_version: Option<u64>,
) -> Result<Outcome, StoredFormError> {
    let present = policy(rows)?.map_or(0, |policy| policy.version);
    if expected_version.is_some_and(|expected| expected != present) {
        let detail = format!("the policy stands at version {present}; read it again before you replace it");
        return Ok(Outcome::Refused(Refusal::new(Reason::Conflict, detail)));
    }
    let version = present + 1;
    let policy =
        StoredPolicy { version, document: document.to_owned(), changed_by: caller.clone(), changed_at: position.at };
    store(rows, Space::Policy, IN_FORCE, &policy);
    Ok(Outcome::Policy { version })
}

const IN_FORCE: &[u8] = b"in force";
