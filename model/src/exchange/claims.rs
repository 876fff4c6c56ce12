//! What a transaction token says, and the answer that carries it (draft-ietf-oauth-transaction-tokens-11 §§9, 11.4).

use serde::Serialize;

use super::request::TXN_TOKEN;
use super::{Endpoint, Grant, OAuthError, Request, Subject};
use crate::json::Object;
use crate::spiffe_id::SpiffeId;
use crate::time::UnixTime;

/// `typ` of transaction tokens.
pub const TRANSACTION_TOKEN_TYP: &str = "txntoken+jwt";

/// The names of a new transaction token, random or ordered by time, chosen by the caller of this room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIds {
    /// `txn`: stays the same when the token is replaced.
    pub txn: String,
    /// `jti`: of this token alone.
    pub jti: String,
}

/// The claims of a transaction token to be signed. Field order is the order on the wire.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TransactionClaims {
    /// Who made it.
    pub iss: String,
    /// When it was made, seconds since the epoch.
    pub iat: u64,
    /// When it ends, seconds since the epoch.
    pub exp: u64,
    /// The trust domain.
    pub aud: String,
    /// The transaction.
    pub txn: String,
    /// This token.
    pub jti: String,
    /// On whose behalf.
    pub sub: String,
    /// What may be done.
    pub scope: String,
    /// Who asked for it.
    pub req_wl: SpiffeId,
    /// The request's surroundings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rctx: Option<Object>,
    /// The transaction's details.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tctx: Option<Object>,
}

impl TransactionClaims {
    /// The claims that follow from a grant. The token ends with the subject token at the latest.
    ///
    /// # Errors
    /// The subject token has expired.
    pub fn new(
        endpoint: &Endpoint,
        request: &Request,
        caller: &SpiffeId,
        subject: &Subject,
        grant: &Grant,
        ids: TokenIds,
        now: UnixTime,
    ) -> Result<Self, OAuthError> {
        subject.check_time(now)?;
        let exp = now.after(grant.lifetime).min(subject.expires_at).secs();
        if exp <= now.secs() {
            return Err(super::subject::expired());
        }
        Ok(Self {
            iss: endpoint.token_issuer.clone(),
            iat: now.secs(),
            exp,
            aud: endpoint.trust_domain.to_string(),
            txn: ids.txn,
            jti: ids.jti,
            sub: subject.sub.clone(),
            scope: grant.scope.to_string(),
            req_wl: caller.clone(),
            rctx: request.request_context.clone(),
            tctx: request.request_details.clone(),
        })
    }
}

/// The body of a successful answer (RFC 8693 §2.2.1).
#[must_use]
pub fn response(token: &str, claims: &TransactionClaims, request: &Request) -> Vec<u8> {
    let mut answer = serde_json::json!({
        "access_token": token,
        "issued_token_type": TXN_TOKEN,
        "token_type": "N_A",
        "expires_in": claims.exp.saturating_sub(claims.iat),
    });
    if let (Some(answer), false) = (answer.as_object_mut(), claims.scope == request.scope_text) {
        answer.insert("scope".to_owned(), claims.scope.clone().into());
    }
    answer.to_string().into_bytes()
}
