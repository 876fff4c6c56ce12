//! Whether a rule allows the exchange, and how much of it.

use std::time::Duration;

use super::{OAuthError, Request, Scope, Subject};
use crate::policy::Policy;
use crate::spiffe_id::SpiffeId;

/// What a rule allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The rule.
    pub rule_id: String,
    /// The scope of the transaction token.
    pub scope: Scope,
    /// How long it may last, if the subject token does.
    pub lifetime: Duration,
}

/// The first rule of the document that lets `caller` exchange this subject token for the scope it asks for.
///
/// # Errors
/// `unauthorized_client`: no rule for this caller. `invalid_request`: none for this subject token. `invalid_scope`: the
/// scope is wider than the subject token's, or than any rule's.
pub fn decide(policy: &Policy, caller: &SpiffeId, subject: &Subject, request: &Request) -> Result<Grant, OAuthError> {
    let _ = (policy, caller, subject, request);
    todo!()
}
