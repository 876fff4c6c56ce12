//! Demo users' access tokens (RFC 9068).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use zeroize::Zeroizing;

use super::Token;
use super::demo;
use super::demo_key::DemoKey;
use super::pointer;
use super::report::Report;
use crate::cli::{Failure, print_text};
use crate::clock;

/// The claims of an access token (RFC 9068 §2.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct AccessToken {
    iss: String,
    sub: String,
    aud: String,
    client_id: &'static str,
    jti: String,
    iat: u64,
    exp: u64,
    scope: String,
}

impl AccessToken {
    /// A token of `issuer` for `user`.
    ///
    /// # Errors
    /// The system gave no random bytes.
    pub(super) fn new(
        issuer: &str,
        trust_domain: &str,
        user: &str,
        scope: &str,
        ttl_secs: u64,
    ) -> Result<Self, Failure> {
        let iat = clock::now().secs();
        let mut jti = [0u8; 16];
        aws_lc_rs::rand::fill(&mut jti).map_err(|_| Failure::new("io", "the system gave no random bytes"))?;
        Ok(Self {
            iss: issuer.to_owned(),
            sub: user.to_owned(),
            aud: demo::audience(trust_domain),
            client_id: demo::CLIENT_ID,
            jti: URL_SAFE_NO_PAD.encode(jti),
            iat,
            exp: iat.saturating_add(ttl_secs),
            scope: scope.to_owned(),
        })
    }
}

/// `signet dev token`
pub(super) fn print(args: &Token) -> Result<(), Failure> {
    let folder = pointer::find(args.data.as_deref())?;
    let report = Report::read(&folder)?;
    let token = sign(&DemoKey::open(&folder)?, &report, args)?;
    print_text(&token)
}

fn sign(key: &DemoKey, report: &Report, args: &Token) -> Result<Zeroizing<String>, Failure> {
    if args.user.is_empty() || args.ttl.is_zero() {
        return Err(Failure::usage("--user needs a name and --ttl at least 1s"));
    }
    let scope = args.scope.clone().unwrap_or_else(|| report.token.scopes.join(" "));
    let issuer = &report.demo_issuer.issuer;
    key.sign_access_token(&AccessToken::new(issuer, &report.trust_domain, &args.user, &scope, args.ttl.as_secs())?)
}
