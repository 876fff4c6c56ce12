//! What a token or certificate is, and what is wrong with it, in words: for `signet token inspect`.

use serde::Serialize;

use crate::json::Object;
use crate::jwks::KeySet;
use crate::svid::TrustBundle;
use crate::time::UnixTime;

/// What is known for checking.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// The trust domain's bundle.
    pub bundle: Option<&'a TrustBundle>,
    /// The keys of transaction tokens.
    pub transaction_token_keys: Option<&'a KeySet>,
}

/// What was found. Holds no signature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What it is: `transaction token`, `JWT-SVID`, `access token`, `X.509-SVID`, ….
    pub kind: String,
    /// The token's header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<Object>,
    /// The token's claims, or what the certificate says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<Object>,
    /// What was checked, in the order of importance.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub what: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// In words.
    pub words: String,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it must be.
    Ok,
    /// Wrong: do not accept it.
    Problem,
    /// Could not be checked with what is known here.
    Unknown,
}

impl Report {
    /// Whether nothing is wrong and nothing remained unchecked.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.checks.iter().all(|check| check.verdict == Verdict::Ok)
    }
}

/// Looks at a compact token, or at a certificate (chain) in PEM or DER.
#[must_use]
pub fn inspect(input: &[u8], known: &Known<'_>, now: UnixTime) -> Report {
    let _ = (input, known, now);
    todo!()
}
