//! Whether a rule allows the exchange, and how much of it.

use std::time::Duration;

use super::{OAuthCode, OAuthError, Request, Scope, Subject, SubjectSource};
use crate::policy::{Policy, Rule, Sought};
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
    if !policy.knows_caller(caller) {
        let description = format!("no rule of the exchange policy is for {caller}");
        return Err(OAuthError::new(OAuthCode::UnauthorizedClient, "no_rule_for_caller", description));
    }
    if subject.scope.as_ref().is_some_and(|scope| !request.scope.is_within(scope)) {
        return Err(OAuthError::scope("scope_exceeds_subject", "exceeds subject_token scope"));
    }
    let sought = match &subject.source {
        SubjectSource::Issuer(issuer) => Sought::AccessToken { issuer: &issuer.issuer, audiences: &subject.audiences },
        SubjectSource::JwtSvid(id) => Sought::JwtSvid(id),
    };
    let rules = policy.rules_for(caller, sought);
    let Some(first) = rules.first() else {
        let description = format!("no rule lets {caller} redeem tokens of this issuer and audience or identity");
        return Err(OAuthError::request("no_rule_for_subject", description));
    };
    let allows = |rule: &&&Rule| ceiling(rule, subject).is_some_and(|ceiling| request.scope.is_within(ceiling));
    let Some(rule) = rules.iter().find(allows) else {
        return Err(if rules.iter().all(|rule| ceiling(rule, subject).is_none()) {
            let description = "subject_token has no scope, and no rule gives it a ceiling (default_scopes)";
            OAuthError::scope("scope_unknown", description)
        } else {
            let description = format!("exceeds what the policy allows, for instance by rule {}", first.id);
            OAuthError::scope("scope_exceeds_rule", description)
        });
    };
    Ok(Grant { rule_id: rule.id.clone(), scope: request.scope.clone(), lifetime: rule.lifetime })
}

fn ceiling<'r>(rule: &'r Rule, subject: &Subject) -> Option<&'r Scope> {
    if subject.scope.is_some() { Some(&rule.scopes) } else { rule.default_scopes.as_ref() }
}
