//! What a token or certificate is, and what is wrong with it, in words: for `signet token inspect`.

mod certificate;
mod token;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;

use crate::json::Object;
use crate::jwks::KeySet;
use crate::jws::Compact;
use crate::svid::TrustBundle;
use crate::time::UnixTime;

/// What is known for checking.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// The trust domain's bundle.
    pub bundle: Option<&'a TrustBundle>,
    /// The keys of transaction tokens.
    pub transaction_token_keys: Option<&'a KeySet>,
    /// The keys of the issuer of access tokens.
    pub issuer_keys: Option<&'a KeySet>,
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
    let pem = CertificateDer::pem_slice_iter(input).collect::<Result<Vec<_>, _>>().unwrap_or_default();
    if !pem.is_empty() {
        return certificate::report(&pem, known, now);
    }
    if input.first() == Some(&DER_SEQUENCE) {
        return certificate::report(&[input], known, now);
    }
    let Ok(text) = std::str::from_utf8(input) else {
        return Report::unreadable("it is neither text nor a certificate in DER");
    };
    match Compact::parse(text.trim()) {
        Ok(token) => token::report(&token, known, now),
        Err(error) => Report::unreadable(error.to_string()),
    }
}

impl Report {
    fn unreadable(words: impl Into<String>) -> Self {
        let check = Check { what: "form", verdict: Verdict::Problem, words: words.into() };
        Self { kind: "unreadable".to_owned(), header: None, claims: None, checks: vec![check] }
    }
}

impl Check {
    fn of(what: &'static str, good: bool, words: impl Into<String>) -> Self {
        Self { what, verdict: if good { Verdict::Ok } else { Verdict::Problem }, words: words.into() }
    }

    fn unknown(what: &'static str, words: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Unknown, words: words.into() }
    }
}

/// `3 min 20 s`, for people.
fn span(secs: u64) -> String {
    match (secs / 86_400, secs / 3600 % 24, secs / 60 % 60, secs % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

/// The first byte of every certificate in DER.
const DER_SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests;
