//! What a certificate says.

use serde_json::Value;

use super::{Check, Known, Report, Verdict, span};
use crate::json::Object;
use crate::time::UnixTime;
use crate::x509::peer::{self, Inspection, TrustAnchors};

pub(super) fn report<C: AsRef<[u8]>>(chain: &[C], known: &Known<'_>, now: UnixTime) -> Report {
    let anchors = known.bundle.map(|bundle| {
        let roots = bundle.x509_authorities.iter().map(|authority| authority.certificate.as_slice());
        TrustAnchors::new(bundle.trust_domain.clone(), roots)
    });
    let (anchors, bundle_problem) = match anchors {
        None => (None, None),
        Some(Ok(anchors)) => (Some(anchors), None),
        Some(Err(error)) => (None, Some(error.to_string())),
    };
    let found = peer::inspect(chain, anchors.as_ref(), now);
    let mut checks: Vec<Check> =
        found.problems.iter().map(|problem| Check::of("certificate", false, problem)).collect();
    if checks.is_empty() {
        checks.push(Check::of("certificate", true, "it is as an X.509-SVID must be"));
    }
    match (&anchors, bundle_problem) {
        (Some(_), _) if found.problems.is_empty() => {
            checks.push(Check::of("chain", true, "it leads to a trust anchor of the bundle"));
        }
        (Some(_), _) => {}
        (None, Some(problem)) => checks.push(Check::unknown("chain", format!("the bundle cannot be used: {problem}"))),
        (None, None) => checks.push(Check::unknown("chain", "no bundle was given to check it against")),
    }
    if found.not_after_secs > now.secs() {
        let words = format!("valid for another {}", span(found.not_after_secs - now.secs()));
        checks.push(Check { what: "lifetime", verdict: Verdict::Ok, words });
    }
    let kind = if found.spiffe_id.is_some() { "X.509-SVID" } else { "certificate" };
    Report { kind: kind.to_owned(), header: None, claims: Some(claims(&found, chain.len())), checks }
}

fn claims(found: &Inspection, chain: usize) -> Object {
    let mut claims = Object::new();
    let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    if let Some(id) = &found.spiffe_id {
        set("spiffe_id", id.to_string().into());
    }
    set("subject", found.subject.as_str().into());
    set("issuer", found.issuer.as_str().into());
    set("serial", found.serial.as_str().into());
    set("not_before", found.not_before_secs.into());
    set("not_after", found.not_after_secs.into());
    set("dns_names", found.dns_names.clone().into());
    set("authority_id", found.authority_id.as_str().into());
    set("certificates", chain.into());
    claims
}
