//! What a compact token says.

use super::{Check, Known, Report, span};
use crate::exchange::{Scope, TRANSACTION_TOKEN_TYP};
use crate::json::{self, Object};
use crate::jwks::{Algorithm, KeySet};
use crate::jws::Compact;
use crate::jwt_svid;
use crate::spiffe_id::SpiffeId;
use crate::time::UnixTime;
use crate::verify::{self, Expect, VerifyError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    TransactionToken,
    JwtSvid,
    AccessToken,
    Other,
}

pub(super) fn report(token: &Compact<'_>, known: &Known<'_>, now: UnixTime) -> Report {
    let kind = Kind::of(token);
    let mut checks = match kind {
        Kind::TransactionToken => transaction_token(token, known),
        Kind::JwtSvid => jwt_svid(token, known),
        Kind::AccessToken => vec![access_token(token, known)],
        Kind::Other => vec![
            Check::unknown("kind", "its typ and claims are not those of a transaction token, JWT-SVID or access token"),
            Check::unknown("signature", "the keys of its issuer are not known here"),
        ],
    };
    checks.extend(header(token));
    checks.extend(times(token.claims(), kind, now));
    checks.extend(required(token.claims(), kind));
    Report {
        kind: kind.name().to_owned(),
        header: Some(token.header().clone()),
        claims: Some(token.claims().clone()),
        checks,
    }
}

impl Kind {
    fn of(token: &Compact<'_>) -> Self {
        let typ = token.typ().ok().flatten();
        let spiffe = json::text(token.claims(), "sub").is_some_and(|sub| sub.starts_with("spiffe://"));
        match typ.as_deref() {
            Some(TRANSACTION_TOKEN_TYP) => Self::TransactionToken,
            Some("at+jwt") => Self::AccessToken,
            Some("jwt" | "jose") | None if spiffe => Self::JwtSvid,
            Some(_) | None => Self::Other,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::TransactionToken => "transaction token",
            Self::JwtSvid => "JWT-SVID",
            Self::AccessToken => "access token",
            Self::Other => "token",
        }
    }

    /// The claims without which it is not what it says.
    const fn required(self) -> &'static [&'static str] {
        match self {
            Self::TransactionToken => &["aud", "exp", "iat", "req_wl", "scope", "sub", "txn"],
            Self::JwtSvid => &["aud", "exp", "sub"],
            Self::AccessToken => &["aud", "client_id", "exp", "iat", "iss", "jti", "sub"],
            Self::Other => &[],
        }
    }
}

fn transaction_token(token: &Compact<'_>, known: &Known<'_>) -> Vec<Check> {
    let expect = Expect { algorithms: ASYMMETRIC, types: &[TRANSACTION_TOKEN_TYP], typ_may_be_absent: false };
    let mut checks = vec![signature(token, known.transaction_token_keys, &expect, "the transaction-token keys")];
    let aud = json::text(token.claims(), "aud");
    checks.push(match (known.bundle, aud) {
        (_, None) => Check::of("aud", false, "it must be the name of one trust domain"),
        (None, Some(_)) => Check::unknown("aud", "no bundle was given that says which trust domain this is"),
        (Some(bundle), Some(aud)) if aud == bundle.trust_domain.as_str() => {
            Check::of("aud", true, "it is for this trust domain")
        }
        (Some(bundle), Some(_)) => {
            Check::of("aud", false, format!("it is not for this trust domain, {}", bundle.trust_domain))
        }
    });
    let scope = json::text(token.claims(), "scope").and_then(|scope| scope.parse::<Scope>().ok());
    if scope.is_none_or(|scope| scope.is_empty()) {
        checks.push(Check::of("scope", false, "it must be words separated by one space"));
    }
    checks
}

fn jwt_svid(token: &Compact<'_>, known: &Known<'_>) -> Vec<Check> {
    let keys = known.bundle.map(|bundle| KeySet::from_jwt_authorities(&bundle.jwt_authorities));
    let mut checks = vec![signature(token, keys.as_ref(), &jwt_svid::EXPECT, "the bundle's JWT-SVID keys")];
    let sub = json::text(token.claims(), "sub").unwrap_or_default();
    checks.push(match (sub.parse::<SpiffeId>(), known.bundle) {
        (Err(error), _) => Check::of("sub", false, error.to_string()),
        (Ok(id), _) if id.path().is_empty() => Check::of("sub", false, "it names a trust domain, not a workload"),
        (Ok(id), Some(bundle)) if !id.is_member_of(&bundle.trust_domain) => {
            Check::of("sub", false, format!("it does not belong to trust domain {}", bundle.trust_domain))
        }
        (Ok(_), _) => Check::of("sub", true, "it is the SPIFFE ID of a workload"),
    });
    let header = token.header();
    if header.keys().any(|name| !matches!(name.as_str(), "alg" | "kid" | "typ")) {
        checks.push(Check::of("header", false, "a JWT-SVID's header holds alg, kid and typ, and nothing else"));
    }
    if !header.contains_key("kid") {
        checks.push(Check::of("kid", false, "a JWT-SVID names its key (kid)"));
    }
    if jwt_svid::audiences(token.claims()).is_none() {
        checks.push(Check::of("aud", false, "it must be a text, or a list of texts that is not empty"));
    }
    checks
}

fn access_token(token: &Compact<'_>, known: &Known<'_>) -> Check {
    let expect = Expect { algorithms: ASYMMETRIC, types: &["at+jwt"], typ_may_be_absent: false };
    signature(token, known.issuer_keys, &expect, "its issuer's keys")
}

fn signature(token: &Compact<'_>, keys: Option<&KeySet>, expect: &Expect<'_>, whose: &str) -> Check {
    let Some(keys) = keys else { return Check::unknown("signature", format!("{whose} were not given")) };
    match verify::verify(token, keys, expect) {
        Ok(key) => Check::of("signature", true, format!("made by one of {whose} ({})", key.algorithm().name())),
        Err(VerifyError::UnknownKey) => Check::of("signature", false, format!("its key (kid) is not among {whose}")),
        Err(error) => Check::of("signature", false, error.to_string()),
    }
}

/// What is wrong with a header whoever signed it.
fn header(token: &Compact<'_>) -> Vec<Check> {
    let mut checks = Vec::new();
    let header = token.header();
    match json::text(header, "alg") {
        Some(alg) if Algorithm::named(alg).is_some() => {}
        Some("none" | "None" | "NONE") => checks.push(Check::of("alg", false, "it is not signed at all")),
        Some(alg) if alg.starts_with("HS") => {
            checks.push(Check::of(
                "alg",
                false,
                "it is signed with a shared secret: whoever verifies it could have made it",
            ));
        }
        Some(_) | None => {
            checks.push(Check::of("alg", false, "it is missing or not a signature algorithm that we know"))
        }
    }
    for name in ["jwk", "jku", "x5u", "x5c"] {
        if header.contains_key(name) {
            checks.push(Check::of(name, false, "the header brings a key along, which nobody should believe"));
        }
    }
    for name in ["crit", "b64", "zip"] {
        if header.contains_key(name) {
            checks.push(Check::of(name, false, "the header asks for an extension that is not supported"));
        }
    }
    checks
}

fn times(claims: &Object, kind: Kind, now: UnixTime) -> Vec<Check> {
    let mut checks = Vec::new();
    let exp = match jwt_svid::numeric_date(claims, "exp") {
        Ok(Some(exp)) if exp <= now => {
            checks.push(Check::of("exp", false, format!("it expired {} ago", span(now.since(exp).as_secs()))));
            Some(exp)
        }
        Ok(Some(exp)) => {
            checks.push(Check::of("exp", true, format!("valid for another {}", span(exp.since(now).as_secs()))));
            Some(exp)
        }
        Ok(None) if kind == Kind::Other => {
            checks.push(Check::of("exp", false, "it never expires"));
            None
        }
        Ok(None) => None,
        Err(()) => {
            checks.push(Check::of("exp", false, "it is not a number of seconds since 1970"));
            None
        }
    };
    for name in ["iat", "nbf"] {
        match jwt_svid::numeric_date(claims, name) {
            Ok(Some(time)) if time > now => {
                let words = format!("it lies {} ahead: is a clock wrong?", span(time.since(now).as_secs()));
                checks.push(Check::of(name, false, words));
            }
            Ok(Some(time)) if name == "iat" => {
                let lifetime = exp.map_or(0, |exp| exp.since(time).as_secs());
                if kind == Kind::TransactionToken && lifetime > MAX_TRANSACTION_SECS {
                    checks.push(Check::of("exp", false, "a transaction token lives five minutes at most"));
                }
            }
            Ok(_) => {}
            Err(()) => checks.push(Check::of(name, false, "it is not a number of seconds since 1970")),
        }
    }
    checks
}

fn required(claims: &Object, kind: Kind) -> Vec<Check> {
    let missing: Vec<&str> = kind.required().iter().copied().filter(|name| !claims.contains_key(*name)).collect();
    match (kind, missing.is_empty()) {
        (Kind::Other, _) => Vec::new(),
        (_, true) => {
            vec![Check::of("claims", true, format!("all that are needed are there: {}", kind.required().join(", ")))]
        }
        (_, false) => vec![Check::of("claims", false, format!("missing: {}", missing.join(", ")))],
    }
}

const ASYMMETRIC: &[Algorithm] = Algorithm::ALL;
const MAX_TRANSACTION_SECS: u64 = 300;
